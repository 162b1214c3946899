"""Strict reader and writer of the safetensors format.

A file is 8 bytes with the header's length (little-endian), a JSON header with each tensor's type, shape and place,
and one block of values that the tensors cover without gaps or overlaps (https://huggingface.co/docs/safetensors).
Everything is checked against the file's size before any value is read.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any, BinaryIO

import torch
from torch import Tensor

from src import files
from src.errors import UserError
from src.text import printable

LENGTH = 8  # bytes in front, which give the header's length
LONGEST_HEADER = 100_000_000  # bytes; the limit of the format
METADATA = "__metadata__"  # of the header: texts by name
ALIGNMENT = 8  # bytes; the values begin at a multiple of it
MOST_DIMENSIONS = 8
LARGEST_DIMENSION = 2**40
DTYPES = {
    "F64": torch.float64,
    "F32": torch.float32,
    "F16": torch.float16,
    "BF16": torch.bfloat16,
    "I64": torch.int64,
    "I32": torch.int32,
    "I16": torch.int16,
    "I8": torch.int8,
    "U8": torch.uint8,
    "BOOL": torch.bool,
}


def looks_like(start: bytes) -> bool:
    """Whether a file that begins with these bytes (at least 9) has a JSON object as its header."""
    return start[LENGTH : LENGTH + 1] == b"{"


def read(path: Path) -> dict[str, Tensor]:
    """The tensors of a safetensors file, on the CPU.

    Raises:
        UserError: the header is damaged, or promises something else than the file holds.
    """
    try:
        return _read(path)
    except ValueError as error:
        raise _damaged(path, error) from error


def metadata(path: Path) -> dict[str, str]:
    """The texts that a file carries beside its tensors.

    Raises:
        UserError: the header is damaged, or holds something else than texts there.
    """
    try:
        with path.open("rb") as file:
            texts = _json_object(_header(file, path.stat().st_size)).get(METADATA, {})
        if not isinstance(texts, dict) or not all(isinstance(text, str) for text in texts.values()):
            raise ValueError(f"{METADATA} holds something else than texts")
    except ValueError as error:
        raise _damaged(path, error) from error
    return texts


def write(path: Path, tensors: Mapping[str, Tensor], texts: Mapping[str, str]) -> None:
    """Write tensors, and texts beside them, whole or not at all. Larger types come first, so that all are aligned."""
    names = {dtype: name for name, dtype in DTYPES.items()}
    order = sorted(tensors, key=lambda name: (-tensors[name].element_size(), name))
    header: dict[str, Any] = {METADATA: dict(texts)}
    place = 0
    for name in order:
        tensor = tensors[name]
        end = place + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": names[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header, ensure_ascii=False).encode("utf-8", "replace")
    text += b" " * (-(LENGTH + len(text)) % ALIGNMENT)
    with files.replacing(path) as temporary, temporary.open("wb") as file:
        file.write(len(text).to_bytes(LENGTH, "little"))
        file.write(text)
        for name in order:
            values = tensors[name].detach().cpu().contiguous().flatten()
            file.write(values.view(torch.uint8).numpy().data)


def _header(file: BinaryIO, size: int) -> bytes:
    """The header of a file of `size` bytes, behind which the values begin."""
    length = int.from_bytes(file.read(LENGTH), "little")
    if length > min(LONGEST_HEADER, size - LENGTH):
        raise ValueError(f"its header claims {length:,} bytes, the file has {size:,}")
    return file.read(length)


def _damaged(path: Path, error: ValueError) -> UserError:
    return UserError(f"{path}: damaged safetensors file: {error}; get it again")


def _read(path: Path) -> dict[str, Tensor]:
    size = path.stat().st_size
    with path.open("rb") as file:
        header = _header(file, size)
        length = len(header)
        entries = _entries(header, size - LENGTH - length)
        tensors = {}
        for name, dtype, shape, start, end in entries:
            file.seek(LENGTH + length + start)
            values = bytearray(file.read(end - start))
            if len(values) != end - start:
                raise ValueError("it has become shorter while it was read")
            flat = torch.frombuffer(values, dtype=dtype) if values else torch.empty(0, dtype=dtype)
            tensors[name] = flat.reshape(shape)
    return tensors


def _entries(header: bytes, available: int) -> list[tuple[str, torch.dtype, list[int], int, int]]:
    """Name, type, shape, start and end of each tensor, in the order of their places; ValueError for nonsense."""
    entries = []
    for name, entry in _json_object(header).items():
        if name != METADATA:
            dtype, shape, start, end = _entry(name, entry)
            entries.append((name, dtype, shape, start, end))
    entries.sort(key=lambda entry: entry[3:])
    place = 0
    for name, _, _, start, end in entries:
        if start != place:
            raise ValueError(f"the values of {_shown(name)} overlap those of another tensor or leave a gap")
        place = end
    if place != available:
        raise ValueError(f"its tensors take {place:,} bytes, the file holds {available:,}")
    return entries


def _json_object(header: bytes) -> dict[str, Any]:
    def without_duplicates(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
        result = dict(pairs)
        if len(result) != len(pairs):
            raise ValueError("a name appears twice in its header")
        return result

    try:
        content = json.loads(header.decode(), object_pairs_hook=without_duplicates)
    except (UnicodeDecodeError, json.JSONDecodeError, RecursionError) as error:
        raise ValueError("its header is not valid JSON") from error
    if not isinstance(content, dict):
        raise ValueError("its header is not a JSON object")
    return content


def _entry(name: str, entry: Any) -> tuple[torch.dtype, list[int], int, int]:
    """Type, shape, start and end of one tensor."""
    if not isinstance(entry, dict) or set(entry) != {"dtype", "shape", "data_offsets"}:
        raise ValueError(f"{_shown(name)} needs dtype, shape and data_offsets")
    dtype = entry["dtype"]
    if not isinstance(dtype, str) or dtype not in DTYPES:
        raise ValueError(f"{_shown(name)} has the type {_shown(dtype)}, which weights cannot have")
    shape = _sizes(entry["shape"])
    offsets = _sizes(entry["data_offsets"])
    if shape is None or len(shape) > MOST_DIMENSIONS:
        raise ValueError(f"{_shown(name)} has an impossible shape")
    if offsets is None or len(offsets) != 2:
        raise ValueError(f"{_shown(name)} has impossible data_offsets")
    start, end = offsets
    if end - start != math.prod(shape) * DTYPES[dtype].itemsize:
        raise ValueError(f"{_shown(name)} has a shape of another size than its values")
    return DTYPES[dtype], shape, start, end


def _sizes(value: Any) -> list[int] | None:
    """`value` if it is a list of sizes, else None; `true` counts as no size."""
    if not isinstance(value, list):
        return None
    return value if all(type(size) is int and 0 <= size < LARGEST_DIMENSION for size in value) else None


def _shown(value: object) -> str:
    return printable(value)[:80]
