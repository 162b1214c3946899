"""A process that computes on the CPU keeps its memory."""

import ctypes
import subprocess
import sys

import pytest
from src.config import ROOT

FAULTS = """
import ctypes, resource, sys
from types import SimpleNamespace
from src.build.devices import keep_memory

keep_memory(SimpleNamespace(type=sys.argv[1]))
libc = ctypes.CDLL(None)
libc.malloc.restype = ctypes.c_void_p

def pages(size=1 << 27):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    place = libc.malloc(ctypes.c_size_t(size))
    ctypes.memset(ctypes.c_void_p(place), 1, size)
    libc.free(ctypes.c_void_p(place))
    return resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before

print(pages(), pages())
"""


@pytest.mark.skipif(
    not sys.platform.startswith("linux") or not hasattr(ctypes.CDLL(None), "mallopt"), reason="not glibc"
)
@pytest.mark.parametrize(("device", "kept"), [("cpu", True), ("cuda", False)])
def test_memory_that_is_free_is_not_asked_for_again(device: str, kept: bool) -> None:
    said = subprocess.run(
        [sys.executable, "-c", FAULTS, device], cwd=ROOT, capture_output=True, text=True, check=True
    ).stdout
    first, again = map(int, said.split())
    assert first > 0 and (again < first / 10) == kept
