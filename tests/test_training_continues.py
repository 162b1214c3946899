"""Checkpoints that a run cannot go on from: one line, and every file of the run they are of stays as it was."""

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from src.errors import UserError
from src.runs.folder import RunFolder

from tests.training_runs import cut, own_videos, train

Content = dict[str, Any]


@pytest.fixture
def interrupted(tree: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    """A run of three epochs that was cut off in its second."""
    monkeypatch.chdir(tmp_path)
    with cut(monkeypatch, 1, None):
        train(own_videos(tree, "average"), "run")
    return RunFolder(Path("run"))


def digests(folder: Path) -> dict[str, str]:
    found = {}
    for path in sorted(folder.rglob("*")):
        if path.is_file():
            found[str(path)] = hashlib.sha256(path.read_bytes()).hexdigest()
    return found


def assert_refused(words: list[str], run_dir: str, match: str) -> None:
    before = digests(Path())
    with pytest.raises(UserError, match=match) as refused:
        train(words, run_dir)
    assert "\n" not in str(refused.value)
    assert digests(Path()) == before


@pytest.mark.parametrize(
    ("words", "match"),
    [
        (["optim=sgd"], "is of another optimizer, .* weights=file weights.path=run/checkpoints/last.ckpt"),
        (["freeze=backbone"], "other parameters that are trained"),
        (["recipe.epochs=0"], "epochs"),
        (["model.clip.crop=40", "pooling=bert"], "does not fit this network"),
    ],
)
def test_another_run_cannot_go_on_from_it(interrupted: RunFolder, tree: Path, words: list[str], match: str) -> None:
    assert_refused([*own_videos(tree, "average"), *words, f"ckpt_path={interrupted}"], "new", match)
    assert not Path("new").exists()


def doctored(name: str, value: Any = None) -> Callable[[Content], None]:
    """Replace what a checkpoint says; None leaves it out."""

    def change(content: Content) -> None:
        content.pop(name)
        if value is not None:
            content[name] = value

    return change


def only_weights(content: Content) -> None:
    for name in set(content) - {"state_dict"}:
        del content[name]


def one_group_more(content: Content) -> None:
    content["optimizer_states"][0]["param_groups"].append({"params": []})


DAMAGE: dict[str, tuple[Callable[[Content], None], str]] = {
    "weights only": (only_weights, "has no epoch, .* to go on from; start a new run from its weights"),
    "no optimizer": (doctored("optimizer_states"), "has no optimizer_states"),
    "no progress": (doctored("loops"), "has no loops"),
    "no callbacks": (doctored("callbacks", [1]), "has no callbacks"),
    "no number": (doctored("epoch", "one"), "has no epoch"),
    "two optimizers": (doctored("optimizer_states", [{}, {}]), "another optimizer"),
    "another optimizer": (one_group_more, "another optimizer"),
    "no tensors": (doctored("state_dict", {"recognizer.classifier.weight": 1}), "other things than tensors"),
    "no network": (doctored("state_dict", [1]), "cannot be read"),
}


@pytest.mark.parametrize("damage", DAMAGE)
def test_a_checkpoint_that_lacks_something_is_refused(interrupted: RunFolder, tree: Path, damage: str) -> None:
    change, match = DAMAGE[damage]
    content = torch.load(interrupted.last, weights_only=True)
    change(content)
    torch.save(content, interrupted.last)
    assert_refused(own_videos(tree, "average"), "run", match)


@pytest.mark.parametrize("share", [0.0, 0.5, 0.99])
def test_a_checkpoint_that_was_cut_off_is_refused(interrupted: RunFolder, tree: Path, share: float) -> None:
    whole = interrupted.last.read_bytes()
    interrupted.last.write_bytes(whole[: int(share * len(whole))])
    match = "cannot be read .* or remove it to start anew" if share else "is empty; .* or remove it to start anew"
    assert_refused(own_videos(tree, "average"), "run", match)
    interrupted.last.write_bytes(whole)
    assert train(own_videos(tree, "average"), "run")[1].epochs == 3
