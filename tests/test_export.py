"""A network written to a file that others run, and that file asked again."""

import json
import re
import shutil
from pathlib import Path
from typing import Any

import pytest
import torch
from src import export as command
from src.build import rebuilding
from src.build.compose import compose
from src.errors import UserError
from src.exporting import checking
from src.exporting import export as exporting
from src.models.weights import safetensors
from src.prediction.exported import Exported, understood
from src.runs.folder import RunFolder

from tests.networks import clips, export, opened, random_network
from tests.small_runs import CLASSES, exit_of, own_videos, train_here, write_classes
from tests.tiny import options, tiny

HEADS = ("average", "bert_late_fusion", "bert_early_fusion")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    base = tmp_path_factory.mktemp("run")
    return train_here([*own_videos(write_classes(base / "videos")), "pooling=bert", f"run_dir={base / 'run'}"])


def run_export(*words: object) -> int:
    return exit_of(command.COMMAND, command.export, *map(str, words))


@pytest.mark.parametrize("precision", ["float32", "float16"])
def test_safetensors_hold_the_whole_network(run: RunFolder, tmp_path: Path, capsys: Capture, precision: str) -> None:
    out = tmp_path / "net.safetensors"
    words = ["format=safetensors", f"out={out}", f"precision={precision}", "licence=CC BY 4.0"]
    assert run_export(f"run={run}", *words) == 0
    assert "3 test clips of folder" in capsys.readouterr().out
    check = json.loads((tmp_path / "net.safetensors.check.json").read_text())
    assert check["difference"] <= check["tolerance"] == 1e-3
    assert (check["rounding"] is None) == (precision == "float32")

    first, again = opened(f"run={run}"), opened(f"run={out}")
    assert again.classes == first.classes == sorted(CLASSES)
    assert again.clip == first.clip
    clip = clips(3, first)
    torch.testing.assert_close(again.recognizer(clip), first.recognizer(clip), rtol=1e-2, atol=1e-2)
    assert torch.equal(again.recognizer(clip), first.recognizer(clip)) == (precision == "float32")
    known = understood(safetensors.read_with_metadata(out)[1], out)
    assert known.licence == "CC BY 4.0"
    assert known.identity == run.read_run().identity  # type: ignore[union-attr]
    assert str(run.path.parent) not in out.read_bytes().decode("latin-1")
    half = out.stat().st_size < 0.6 * sum(4 * p.numel() for p in first.with_parts().parameters())
    assert half == (precision == "float16")


def test_a_file_is_replaced_whole_and_lies_with_the_run_by_default(run: RunFolder) -> None:
    run.exports.mkdir(exist_ok=True)
    out = run.exports / "network.safetensors"
    out.write_text("old")
    assert run_export(f"run={run}", "format=safetensors") == 0
    assert opened(f"run={out}").classes == sorted(CLASSES)
    assert sorted(path.name for path in run.exports.iterdir()) == [out.name, f"{out.name}.check.json"]


@pytest.mark.parametrize("model", options("model"))
def test_what_rebuilds_a_network_needs_no_paths(model: str) -> None:
    head = HEADS[options("model").index(model) % len(HEADS)]
    changed = [*tiny(model), f"pooling={head}", "test.crops=10", "data=folder", "data.root=/home/me/videos", "seed=3"]
    cfg = compose([word for word in changed if not word.startswith("data.num")])
    words = rebuilding.overrides(cfg)
    again = compose(words)
    for part in ("model.backbone", "model.clip", "model.mean", "pooling.head", "pooling.fusion", "reduction", "test"):
        assert _select(again, part) == _select(cfg, part), part
    assert not any("/" in word for word in words)


def _select(cfg: Any, name: str) -> Any:
    from omegaconf import OmegaConf

    container = OmegaConf.to_container(cfg, resolve=True)
    for key in name.split("."):
        container = container[key]  # type: ignore[index,call-overload]
    return container


@pytest.mark.parametrize(
    ("words", "code", "said"),
    [
        (["run=RUN"], 2, "which format"),
        (["model=tiny", "card=true"], 2, "give run=FOLDER"),
        (["run=RUN", "hub=name"], 2, "give user/name"),
        (["run=RUN", "hub=../x/y"], 2, "give user/name"),
        (["run=RUN", "format=tflite"], 2, "one of onnx, torch_export, safetensors"),
        (["run=RUN", "format=safetensors", "precision=int8"], 2, "float16"),
        (["run=RUN", "format=safetensors", "out=net.onnx"], 2, "ends in .safetensors"),
        (["run=RUN", "format=safetensors", "out=no/where.safetensors"], 1, "there is no folder"),
        (["run=RUN", "format=safetensors", "out=folder.safetensors"], 1, "is a folder"),
        (["run=RUN", "run=RUN", "format=safetensors"], 2, "one network"),
        (["run=RUN", "format=safetensors", "checkpoint=other.ckpt"], 1, "other.ckpt"),
        (["run=nowhere", "format=safetensors"], 1, "there is no run"),
    ],
)
def test_mistakes_are_one_line(
    run: RunFolder,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: Capture,
    words: list[str],
    code: int,
    said: str,
) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "folder.safetensors").mkdir()
    assert run_export(*[word.replace("RUN", str(run)) for word in words]) == code
    (line,) = capsys.readouterr().err.splitlines()
    assert said in line


def test_a_missing_extra_is_named(run: RunFolder, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setattr("importlib.util.find_spec", lambda name: None)
    assert run_export(f"run={run}", "format=onnx") == 1
    (line,) = capsys.readouterr().err.splitlines()
    assert "onnxruntime" in line and "--extra export" in line


def test_a_run_without_a_checkpoint(run: RunFolder, tmp_path: Path, capsys: Capture) -> None:
    copy = RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy")))
    shutil.rmtree(copy.checkpoints)
    assert run_export(f"run={copy}", "format=safetensors") == 1
    assert "best.ckpt" in capsys.readouterr().err


def test_a_file_that_differs_is_not_kept(run: RunFolder, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(checking, "TOLERANCE", -1.0)
    out = tmp_path / "net.safetensors"
    with pytest.raises(UserError, match="differ"):
        export(opened(f"run={run}"), "safetensors", out)
    assert list(tmp_path.iterdir()) == []


def test_a_head_on_frozen_tokens_comes_back_as_one(tmp_path: Path) -> None:
    words = [*tiny("i3d"), "model.clip.crop=64", "model.clip.frame_size=[64,64]"]  # maps of 2 × 2 positions
    words += ["pooling=nonlocal_concat_fc", "reduction=none", "freeze=backbone", "features.keep=tokens"]
    first = random_network(*words)
    torch.nn.init.ones_(first.with_parts().pooling.heads[0].block.norm.weight)  # else the block is the identity
    export(first, "safetensors", tmp_path / "net.safetensors")
    again = opened(f"run={tmp_path / 'net.safetensors'}")
    clip = clips(2, first)
    torch.testing.assert_close(again.recognizer(clip), first.recognizer(clip), rtol=1e-5, atol=1e-6)


def test_clips_to_check_with_need_not_be_of_the_networks_classes(tree: Path, tmp_path: Path) -> None:
    found = random_network(*tiny("tiny"), "data=folder", f"data.root={tree}")
    assert not set(found.classes) & {"hop", "skip", "jump"}
    assert re.fullmatch("[1-4] test clips of folder", export(found, "safetensors", tmp_path / "net.safetensors").clips)


def test_the_weights_are_never_overwritten(run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    export(opened(f"run={run}"), "safetensors", out)
    with pytest.raises(UserError, match="weights come from"):
        export(opened(f"run={out}"), "safetensors", out)


def test_texts_survive_and_damaged_ones_are_refused(run: RunFolder) -> None:
    about = exporting.describe(opened(f"run={run}"), "float32", "", "abc")
    texts = about.texts()
    assert understood(texts, Path("x")) == about
    wrong: list[dict[str, str]] = [
        {name: text for name, text in texts.items() if name != "form"},
        texts | {"form": "2"},
        texts | {"title": 3},  # type: ignore[dict-item]
        texts | {"classes": "[]"},
        texts | {"classes": "[1]"},
        texts | {"classes": "[" * 100_000},
        texts | {"clip": '{"frames": -1, "stride": 1, "crop": 8, "frame_size": [8, 8], "keep_aspect": false}'},
        texts | {"overrides": "null"},
        texts | {"title": "x" * (1 << 25)},
    ]
    for one in wrong:
        with pytest.raises(UserError, match="x: "):
            understood(one, Path("x"))


def test_what_a_file_says_brings_in_no_code(run: RunFolder, tmp_path: Path) -> None:
    out = tmp_path / "net.safetensors"
    export(opened(f"run={run}"), "safetensors", out)
    about: Exported = understood(safetensors.read_with_metadata(out)[1], out)
    for override in ("+model.backbone._target_=os.system", "hydra.run.dir=/", "data.lists._target_=os.system"):
        texts = about.texts() | {"overrides": json.dumps([*about.overrides, override])}
        safetensors.write(out, safetensors.read(out), texts)
        with pytest.raises(UserError, match="refused"):
            opened(f"run={out}")


@pytest.mark.slow
def test_torch_export_files_are_written_and_never_read(run: RunFolder, tmp_path: Path) -> None:
    out, found = tmp_path / "net.pt2", opened(f"run={run}")
    assert export(found, "torch_export", out).difference < 1e-4
    said = dict.fromkeys(["classes.txt"], "")
    module = torch.export.load(out, extra_files=said).module()
    assert json.loads(said["classes.txt"]) == sorted(CLASSES)
    for count in (1, 3):
        clip = clips(count, found)
        torch.testing.assert_close(module(clip), found.recognizer(clip), rtol=1e-3, atol=1e-4)
    with pytest.raises(UserError, match="can hold code"):
        opened(f"run={out}")
