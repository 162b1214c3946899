"""The page about a run, and the hub it goes to."""

import json
import shutil
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from src import export as command
from src.errors import UserError
from src.exporting import card
from src.exporting import export as exporting
from src.prediction import hub as client
from src.runs import records
from src.runs.folder import RunFolder
from src.runs.records import Changed, Order, Shuffled
from src.scores import Scores
from src.statistics import wilson

from tests.hub_server import Hub, hub
from tests.networks import opened
from tests.small_runs import CLASSES, exit_of, own_videos, train_here, write_classes

Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    base = tmp_path_factory.mktemp("run")
    return train_here([*own_videos(write_classes(base / "videos")), f"run_dir={base / 'run'}"])


def page(run: RunFolder) -> str:
    return card.card(run, exporting.describe(opened(f"run={run}"), "float32", "CC0", "abc"))


def run_export(*words: str) -> int:
    return exit_of(command.COMMAND, command.export, *words)


def test_the_page_says_what_the_run_says(run: RunFolder, capsys: Capture) -> None:
    assert run_export(f"run={run}", "card=true") == 0
    text = (run.exports / "README.md").read_text()
    results, record = run.read_results(), run.read_run()
    assert results is not None and record is not None and results.metrics is not None
    low, high = wilson(round(results.metrics["top1"] * 3 / 100), 3)
    expected = [
        *("tiny and average", f"Classes, in the order of the outputs: {', '.join(sorted(CLASSES))}."),
        *(results.identity, results.data.test.sha256, "holdout", "random weights", "6 for training"),
        f"| top-1 | {results.metrics['top1']:.2f} | {100 * low:.2f} to {100 * high:.2f} |",
        f"{results.cost.params / 1e6:.4g} M",
        *("license: unknown", "not stated", "src.predict run=network.safetensors"),
    ]
    for words in expected:
        assert words in text, words
    assert "order of time" not in text
    assert str(run.path.parent) not in text


def test_a_page_lies_beside_its_file(run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "jumps.safetensors"
    assert run_export(f"run={run}", "format=safetensors", f"out={out}", "card=true") == 0
    assert "run=jumps.safetensors" in (tmp_path / "README.md").read_text()
    assert run_export(f"run={run}", "card=true", f"out={tmp_path}") == 1


def test_confusions_and_order_where_there_are_any(run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy")))
    results = copy.read_results()
    assert results is not None
    scores = Scores.load(copy.scores)
    wrong = np.eye(3, dtype=np.float32)[[1, 1, 2]]  # of the three test videos, which have the labels 0, 1 and 2
    names = ["a|b", "<script>alert(1)</script>", "`c`"]
    order = np.argsort(scores.labels)
    Scores(names, scores.videos, scores.labels[order], wrong, scores.views).save(copy.scores)

    def change(*steps: int) -> Changed:
        return Changed(list(steps), top1=33.33, drop=33.33, only_true=1, only_changed=0, p=1.0)

    hidden = [change(step) for step in range(3)]
    sensitivity = Order(3, 66.67, Shuffled(33.33, None, 33.33, 1.0, [change(1, 0, 2)]), change(2, 1, 0), hidden)
    data = replace(results.data, classes=names)
    changed = replace(results, data=data, metrics={"top1": 66.6667}, tested=3, order=sensitivity)
    records.write(copy.results, changed)
    text = page(copy)
    assert "| a\\|b | \\<script>alert(1)\\</script> | 1 of 1 | 100 |" in text
    assert "## How much the order of time matters" in text
    assert "<script>" not in text.replace("\\<script>", "")


def test_a_run_that_has_not_been_tested_has_no_page(run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy")))
    copy.results.unlink()
    with pytest.raises(UserError, match="not been tested"):
        page(copy)


@pytest.mark.parametrize(("hits", "count"), [(0, 3), (3, 3), (50, 100), (1, 1000)])
def test_wilsons_interval(hits: int, count: int) -> None:
    """It holds the shares p for which the observed one is at most z standard errors of p away."""
    low, high = wilson(hits, count)
    assert 0 <= low <= hits / count <= high <= 1
    for p in (low, high):
        if 0 < p < 1:
            assert abs(hits / count - p) == pytest.approx(1.959964 * (p * (1 - p) / count) ** 0.5, rel=1e-5)


@pytest.fixture
def server(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Hub]:
    constants = pytest.importorskip("huggingface_hub.constants")
    with hub() as running:
        monkeypatch.setattr(constants, "ENDPOINT", running.address)
        monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "cache"))
        monkeypatch.setattr(constants, "HF_HUB_DISABLE_XET", True)
        address = running.address + "/{repo_id}/resolve/{revision}/{filename}"
        monkeypatch.setattr(constants, "HUGGINGFACE_CO_URL_TEMPLATE", address)
        monkeypatch.setenv("HF_TOKEN", "secret")
        yield running


def test_a_network_goes_to_the_hub_and_comes_back(server: Hub, run: RunFolder, capsys: Capture) -> None:
    assert run_export(f"run={run}", "hub=me/jumps", "licence=CC0") == 0
    assert f"{server.address}/me/jumps" in capsys.readouterr().out
    there = server.repositories["me/jumps"]
    assert sorted(there) == ["README.md", "config.json", "model.safetensors"]
    assert server.private == {"me/jumps"}
    assert json.loads(there["config.json"])["classes"] == sorted(CLASSES)
    assert b"license: other" in there["README.md"]
    assert there["model.safetensors"][8:9] == b"{"
    assert str(run.path.parent).encode() not in b"".join(there.values())

    there["pytorch_model.bin"] = b"a pickle that nobody reads"
    server.requests.clear()
    first, again = opened(f"run={run}"), opened("hub=me/jumps")
    assert again.classes == first.classes
    clip = torch.randint(0, 256, (2, 3, 8, 32, 32), dtype=torch.uint8)
    assert torch.equal(again.recognizer(clip), first.recognizer(clip))
    assert {request.rpartition("/")[2] for request in server.requests} == {"model.safetensors"}


def test_what_the_hub_refuses_is_one_line(
    server: Hub, run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: Capture
) -> None:
    with pytest.raises(UserError, match=r"hub=me/nothing: cannot be downloaded"):
        opened("hub=me/nothing")
    server.repositories["me/pickle"] = {"model.safetensors": b"\x80\x04nonsense" * 9}
    with pytest.raises(UserError, match="damaged"):
        opened("hub=me/pickle")
    monkeypatch.setenv("HF_TOKEN", "wrong")
    assert run_export(f"run={run}", "hub=me/jumps") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "hf auth login" in line
    assert server.repositories.get("me/jumps") is None
    assert list(run.exports.glob("*unfinished*")) == []


def test_a_network_is_named_once(run: RunFolder) -> None:
    with pytest.raises(UserError, match="leave run="):
        opened("hub=me/jumps", f"run={run}")


def test_nothing_else_can_be_uploaded(run: RunFolder) -> None:
    pytest.importorskip("huggingface_hub")
    with pytest.raises(ValueError, match="only"):
        client.push("me/jumps", {"best.ckpt": run.best})


def test_a_missing_extra_is_named(run: RunFolder, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    with pytest.raises(UserError, match="--extra hub"):
        opened("hub=me/jumps")
