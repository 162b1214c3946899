"""Small runs on features, in this process."""

import io
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import torch
from rich.console import Console
from src.build.network import build_recognizer
from src.frozen.build import feature_data
from src.frozen.data import FeatureData
from src.models.recognizer import Recognizer
from src.training import loop

from tests.small_runs import CLIP
from tests.training_runs import composed

PHASES = ("train", "val", "test")
CPU = torch.device("cpu")


def words(root: Path, features: Path | str, *more: str) -> list[str]:
    """Overrides for the smallest frozen network on a folder of videos."""
    settings = ["logger=csv", "recipe.epochs=2", "recipe.batch_size=4", "data.workers=0", "trainer.accelerator=cpu"]
    kept = ["freeze=backbone", f"features.root={features}"]
    return ["model=tiny", "pooling=concat", "data=folder", f"data.root={root}", *CLIP, *settings, *kept, *more]


def unfilled(overrides: Sequence[str], rank: int = 0, world: int = 1) -> tuple[FeatureData, Recognizer]:
    """Data as features, of which none is there yet, and the network."""
    cfg = composed(tuple(overrides)).copy()
    module, clips = loop.assemble(cfg)
    return feature_data(cfg, clips, module.recognizer, CPU, rank, world), module.recognizer


def filled(overrides: Sequence[str], phases: Sequence[str] = PHASES) -> FeatureData:
    """Data as features, computed."""
    data, _ = unfilled(overrides)
    data.fill(phases, Console(quiet=True))
    return data


def said(data: FeatureData, phases: Sequence[str] = PHASES) -> str:
    """What filling prints."""
    text = io.StringIO()
    data.fill(phases, Console(file=text, width=500))
    return text.getvalue()


def shards(features: Path) -> dict[str, bytes]:
    """Every shard by its place."""
    paths = [path for path in sorted(features.rglob("*.safetensors")) if not path.name.startswith(".")]
    return {str(path.relative_to(features)): path.read_bytes() for path in paths}


def leftovers(features: Path) -> list[str]:
    """Locks and temporary files."""
    return [path.name for path in features.rglob(".*")]


def tensors(data: FeatureData) -> dict[str, list[torch.Tensor]]:
    """Phase and name of a video → its features."""
    found = {}
    for phase, features in data.phases.items():
        for position, video in enumerate(features.videos):
            if position not in features.unreadable:
                found[f"{phase} {video.name}"] = features.maps(position)
    return found


def close(one: torch.Tensor, other: torch.Tensor, tolerance: float = 1e-4) -> bool:
    """Whether the greatest difference is small beside the greatest number."""
    return bool((one - other).abs().max() <= tolerance * other.abs().max())


def warm(recognizer: Recognizer) -> Recognizer:
    """Batch norms that have seen data, so that their statistics are told from those of a batch."""
    generator = np.random.default_rng(0)
    for name, buffer in recognizer.named_buffers():
        if name.endswith("running_mean"):  # of either sign, or a ReLU behind it lets nothing pass
            buffer.copy_(torch.from_numpy(generator.uniform(-0.5, 0.5, buffer.shape)))
        elif name.endswith("running_var"):
            buffer.copy_(torch.from_numpy(generator.uniform(0.5, 1.5, buffer.shape)))
    return recognizer


def built(overrides: Sequence[str]) -> Recognizer:
    """The network of overrides alone."""
    return warm(build_recognizer(composed(tuple(overrides)).copy(), 5))
