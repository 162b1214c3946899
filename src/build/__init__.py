"""From a configuration to objects: `compose` a configuration, `build_recognizer` a network.

Both are imported on first use: composing needs Hydra only, a network needs PyTorch.
"""

from typing import Any


def __getattr__(name: str) -> Any:
    if name == "compose":
        from src.build.compose import compose

        return compose
    if name == "build_recognizer":
        from src.build.network import build_recognizer

        return build_recognizer
    raise AttributeError(name)
