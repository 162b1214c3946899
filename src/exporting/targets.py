"""Formats of exported files, and what can be refused before a network is read. Needs no PyTorch."""

from pathlib import Path

from src import extras
from src.errors import UsageError, UserError

ENDINGS = {"onnx": ".onnx", "torch_export": ".pt2", "safetensors": ".safetensors"}
PRECISIONS = ("float32", "float16")
NEEDS = {"onnx": ("onnx", "onnxruntime", "onnxscript")}  # format → modules of the extra
UNSTATED = "not stated"  # licence


def check(kind: str, out: Path) -> None:
    """Refuse a file that could not be written.

    Raises:
        UsageError: another ending than the format's.
        UserError: the extra is not installed, or `out` cannot be a file.
    """
    extras.require(f"format={kind}", "export", *NEEDS.get(kind, ()))
    if out.suffix != ENDINGS[kind]:
        raise UsageError(f"out={out}: a file of format={kind} ends in {ENDINGS[kind]}")
    if out.is_dir():
        raise UserError(f"out={out} is a folder; give a file in it")
    if not out.absolute().parent.is_dir():
        raise UserError(f"out={out}: there is no folder {out.absolute().parent}; make it first")


def default_name(kind: str) -> str:
    """What a file is called that has been given no name."""
    return f"network{ENDINGS[kind]}"
