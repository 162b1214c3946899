"""Whether an exported file gives what the network gives, on real clips."""

from collections.abc import Callable
from dataclasses import asdict, dataclass
from importlib.metadata import version
from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig
from torch import Tensor

from src import files
from src.build.data import usable_lists
from src.build.recorded import compose_recorded
from src.data import ordered_motions
from src.data.annotations import Video
from src.data.dataset import Clips, Source
from src.errors import UserError
from src.exporting.formats import Portable
from src.prediction import onnx_file
from src.prediction.network import Network, of_exported

CLIPS = 4
TOLERANCE = 1e-3  # of the largest logit
EMBEDDED = {"train": 8, "val": 8, "test": 8, "frames": 32, "size": 56}  # the smallest set


@dataclass(frozen=True)
class Check:
    """How far a file is from the network that it was made of.

    clips: which clips both were given.
    difference: the largest difference of two logits over the largest logit.
    same_top1: clips for which both name the same class, of `number`.
    rounding: the same difference to the network before its weights were rounded to float16.
    """

    file: str
    sha256: str
    tool: str
    clips: str
    number: int
    tolerance: float
    difference: float
    same_top1: int
    rounding: float | None

    def words(self) -> str:
        """One line for the terminal."""
        rounded = "" if self.rounding is None else f"; rounding to float16 changes {self.rounding:.1e}"
        return (
            f"checked with {self.tool} on {self.clips}: largest difference {self.difference:.1e} of the largest logit "
            f"(allowed {self.tolerance:g}), same class {self.same_top1} of {self.number}{rounded}"
        )

    def write(self, path: Path) -> None:
        """As JSON, whole or not at all."""
        files.write_json(path, asdict(self))


def real_clips(network: Network) -> tuple[Tensor, str]:
    """Up to CLIPS clips (N, C, T, H, W) uint8, of the test videos of its data where they can be read, and whose.

    Which classes these have is of no matter. Else those of the embedded data; for flow, two of their colours.
    """
    source = Source(network.clip, network.modality, network.cfg.data.decoder)
    clips = _clips(_test_videos(network.cfg), source)
    if clips:
        return torch.stack(clips), f"{len(clips)} test clips of {network.cfg.data.name}"
    source = Source(network.clip, "rgb", network.cfg.data.decoder)
    clips = _clips(ordered_motions.lists(None, 0, **EMBEDDED).test, source)
    channels = 2 if network.modality == "flow" else 3
    return torch.stack(clips)[:, :channels], f"{len(clips)} clips of the embedded data"


def _test_videos(cfg: DictConfig) -> list[Video]:
    try:
        return usable_lists(cfg, training=False).test
    except Exception:  # they are gone, or elsewhere; readers of the user's own say so in any way
        return []


def _clips(videos: list[Video], source: Source) -> list[Tensor]:
    """The clips in the middle of up to CLIPS videos, which are evenly spread over the list."""
    found: list[Tensor] = []
    reader = Clips(videos, source, train=False, seed=0, flip=False, scales=(1.0,))
    for index in np.linspace(0, len(videos) - 1, min(len(videos), CLIPS)).astype(int).tolist():
        clip = reader[0, index].clip
        if clip is not None:
            found.append(clip[0])
    return found


def check(kind: str, path: Path, network: Network, portable: Portable, clips: Tensor, named: str) -> Check:
    """Compare what a file gives with what the network gives, whose weights are rounded first if the file's are.

    Raises:
        UserError: they differ by more than TOLERANCE.
    """
    opened, tool = _open(kind, path)
    with torch.inference_mode():
        exact = network.recognizer(clips.to(network.device)).float().cpu().numpy()
        want = portable(clips).numpy() if portable.halved else exact
        got = opened(clips).numpy()
        alone = opened(clips[:1]).numpy()  # another number of clips
    difference = max(_relative(got, want), _relative(alone, want[:1]))
    if not difference <= TOLERANCE:
        raise UserError(
            f"{path.name}: {tool} gives logits that differ from the network's by {difference:.1e} of the largest one "
            f"on {named}, more than {TOLERANCE:g}; nothing is kept"
        )
    same = int((got.argmax(1) == exact.argmax(1)).sum())
    rounding = _relative(want, exact) if portable.halved else None
    return Check(path.name, files.sha256(path), tool, named, len(clips), TOLERANCE, difference, same, rounding)


def _open(kind: str, path: Path) -> tuple[Callable[[Tensor], Tensor], str]:
    """The network in a file that has just been written, and the program that runs it."""
    if kind == "onnx":
        return onnx_file.load(path)[0], f"ONNX Runtime {version('onnxruntime')}"
    if kind == "torch_export":
        return torch.export.load(path).module(), f"torch.export of PyTorch {torch.__version__}"
    reopened = of_exported(path, lambda said: compose_recorded(said.overrides))  # as src.predict opens it
    return reopened.recognizer, f"PyTorch {torch.__version__}"


def _relative(got: NDArray[np.float32], want: NDArray[np.float32]) -> float:
    return float(np.abs(got - want).max() / max(np.abs(want).max(), 1e-12))
