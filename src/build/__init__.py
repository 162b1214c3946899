"""From a configuration to objects. `build_recognizer` is imported on first use: composing needs Hydra, not PyTorch."""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "build_recognizer":
        from src.build.network import build_recognizer

        return build_recognizer
    raise AttributeError(f"module 'src.build' has no attribute {name!r}")
