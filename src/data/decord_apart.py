"""decord, with its FFmpeg kept apart from PyAV's.

decord loads its library with all symbols global. PyAV, imported later, would then call decord's FFmpeg and encoders in
place of those that it was built for: nearly the same versions, and memory goes wrong where their structures differ.
"""

import ctypes
import importlib
from typing import Any


def _imported() -> Any:
    before = ctypes.RTLD_GLOBAL
    ctypes.RTLD_GLOBAL = ctypes.RTLD_LOCAL  # type: ignore[misc]
    try:
        return importlib.import_module("decord")
    finally:
        ctypes.RTLD_GLOBAL = before  # type: ignore[misc]


decord = _imported()
