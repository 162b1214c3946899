"""Small networks that were never trained, as checkpoints, and videos for them."""

from pathlib import Path

import pytest
import torch
from src.build import build_recognizer
from src.command_line import network
from src.prediction.network import Network
from src.runs.trained import KEY, Description

from tests.conftest import write_video
from tests.small_runs import CLIP

CLASSES = ["hop", "jump", "skip [b]"]


def write_checkpoint(path: Path, *overrides: str, seed: int = 0) -> Path:
    """A checkpoint as a run writes it, with random weights."""
    words = ["model=tiny", "pooling=average", "data=folder", "data.root=.", *CLIP, *overrides]
    torch.manual_seed(seed)
    state = build_recognizer(words, num_classes=len(CLASSES)).state_dict()
    state["classifier.weight"] *= 20  # so that videos differ
    named = {f"recognizer.{name}": tensor for name, tensor in state.items()}
    torch.save({"state_dict": named, KEY: Description("a network", words, CLASSES).stored()}, path)
    return path


@pytest.fixture(scope="session")
def checkpoint(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return write_checkpoint(tmp_path_factory.mktemp("checkpoint") / "net.ckpt")


@pytest.fixture(scope="session")
def opened(checkpoint: Path) -> Network:
    return network.of_file(str(checkpoint), ["data.workers=0", "test.view_batch=3"])


@pytest.fixture(scope="session")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Videos of 5 to 41 frames, one with a name that terminals would obey, and files that are no videos."""
    root = tmp_path_factory.mktemp("inputs")
    for number, name in enumerate(("a.mp4", "b.mp4", "in/c.mp4", "in/\x1b[31m.mp4")):
        write_video(root / name, 5 + 12 * number, seed=number, g="8", bf="0")
    (root / "in" / "d.mp4").write_text("no video")
    (root / "notes.txt").write_text("no video")
    return root
