"""Strict reader of the safetensors format, and a writer.

A file is 8 bytes with the header's length (little-endian), a JSON header with each tensor's type, shape and place,
and one block of values that the tensors cover without gaps or overlaps (https://huggingface.co/docs/safetensors).
Everything is checked against the file's size before any value is read.
"""

import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.errors import UserError
from src.files import without_duplicates
from src.text import printable

LENGTH = 8  # bytes in front, which give the header's length
LONGEST_HEADER = 100_000_000  # bytes; the limit of the format
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
    return read_with_metadata(path)[0]


def read_with_metadata(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    """The tensors of a safetensors file and the words that its header says about them.

    Raises:
        UserError: as `read`.
    """
    try:
        return _read(path)
    except ValueError as error:
        raise UserError(f"{path}: damaged safetensors file: {error}; get it again") from error


def write(path: Path, tensors: Mapping[str, Tensor], metadata: Mapping[str, str]) -> None:
    """Write tensors on the CPU as a safetensors file, the header padded to eight bytes as the format advises."""
    header: dict[str, Any] = {"__metadata__": dict(metadata)} if metadata else {}
    types = {dtype: name for name, dtype in DTYPES.items()}
    place = 0
    for name, tensor in tensors.items():
        end = place + tensor.numel() * tensor.element_size()
        header[name] = {"dtype": types[tensor.dtype], "shape": list(tensor.shape), "data_offsets": [place, end]}
        place = end
    text = json.dumps(header).encode()
    text += b" " * (-len(text) % LENGTH)
    with path.open("wb") as file:
        file.write(len(text).to_bytes(LENGTH, "little") + text)
        for tensor in tensors.values():
            file.write(tensor.contiguous().flatten().view(torch.uint8).numpy().data)


def _read(path: Path) -> tuple[dict[str, Tensor], dict[str, str]]:
    size = path.stat().st_size
    with path.open("rb") as file:
        length = int.from_bytes(file.read(LENGTH), "little")
        if length > min(LONGEST_HEADER, size - LENGTH):
            raise ValueError(f"its header claims {length:,} bytes, the file has {size:,}")
        header = _json_object(file.read(length))
        entries = _entries(header, size - LENGTH - length)
        tensors = {}
        for name, dtype, shape, start, end in entries:
            file.seek(LENGTH + length + start)
            values = bytearray(file.read(end - start))
            if len(values) != end - start:
                raise ValueError("it has become shorter while it was read")
            flat = torch.frombuffer(values, dtype=dtype) if values else torch.empty(0, dtype=dtype)
            tensors[name] = flat.reshape(shape)
    about = header.get("__metadata__", {})
    return tensors, about if isinstance(about, dict) else {}


def _entries(header: dict[str, Any], available: int) -> list[tuple[str, torch.dtype, list[int], int, int]]:
    """Name, type, shape, start and end of each tensor, in the order of their places; ValueError for nonsense."""
    entries = []
    for name, entry in header.items():
        if name != "__metadata__":
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
