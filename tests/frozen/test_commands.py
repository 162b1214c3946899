"""python -m src.features, and commands on a run with a frozen backbone."""

import json
from pathlib import Path

import pytest
import torch
from src import evaluate, features, predict
from src.build.compose import compose
from src.build.recorded import compose_recorded
from src.errors import UsageError, UserError
from src.runs.folder import RunFolder
from src.scores import Scores

from tests.frozen.made import leftovers, shards, words
from tests.small_runs import exit_of
from tests.training_runs import train


def run(*overrides: str) -> None:
    features.features(compose(list(overrides), "features"))


def test_the_command_fills_what_training_reads(
    videos: Path, kept: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    own = words(videos, tmp_path / "features", f"features.export={tmp_path}/exported")
    run(*own)
    said = capsys.readouterr().out
    assert "features: 12 videos to compute" in said and "clips/s" in said
    assert f"features of 12 of 12 videos are in {tmp_path}/features" in said
    assert "rows of features, index.csv and README.md" in said
    assert shards(tmp_path / "features") == shards(kept) and leftovers(tmp_path / "features") == []
    assert (tmp_path / "exported" / "index.csv").is_file()
    train(own[:-1], tmp_path / "run")
    assert "to compute" not in capsys.readouterr().out
    with pytest.raises(UserError, match="there is something there; give a new folder"):
        run(*own)


def test_left_out_videos_are_counted(videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import shutil

    shutil.copytree(videos, tmp_path / "videos")
    (tmp_path / "videos" / "val" / "run" / "0.mp4").write_bytes(b"none")
    run(*words(tmp_path / "videos", tmp_path / "features", "data.on_error=skip"))
    assert "features of 11 of 12 videos are in" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("word", "message"),
    [
        ("freeze=none", "freeze=none: features are those of a whole frozen backbone; give freeze=backbone"),
        ("freeze.last=stage1", "only freeze=stages ends at a part"),
        ("trainer.devices=2", "one process uses one device; start the command once for each"),
        ("features.dtype=float8", "features.dtype takes one of float32, float16"),
        ("features.precision=bf16-true", "features.precision takes one of 32-true, bf16-mixed, 16-mixed"),
        ("trainer.precision=bf16-true", "take trainer.precision=bf16-mixed, or features.cache=false"),
        ("features.clips=0", "features.clips takes a whole number from 1 to"),
        ("features.keep=all", "features.keep takes one of auto, tokens, maps"),
    ],
)
def test_wrong_options_are_one_line(word: str, message: str, videos: Path, tmp_path: Path) -> None:
    own = [other for other in words(videos, tmp_path / "features") if not other.startswith("trainer.")]
    with pytest.raises(UsageError) as refused:
        run(*own, word)
    assert message in str(refused.value) and "\n" not in str(refused.value)
    assert not (tmp_path / "features").exists()


@pytest.fixture
def frozen(videos: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> RunFolder:
    folder, _ = train(words(videos, tmp_path / "features"), tmp_path / "run")
    monkeypatch.chdir(tmp_path)
    return folder


def test_evaluate_and_predict_work_on_clips(
    frozen: RunFolder, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    before = shards(tmp_path / "features")
    assert exit_of(evaluate.COMMAND, evaluate.evaluate, f"run={frozen}") == 0
    (found,) = (frozen.path / "evaluations").glob("*/scores/test.npz")
    one, other = Scores.load(found), Scores.load(frozen.scores)
    assert one.videos == other.videos
    assert abs(one.scores - other.scores).max() <= 1e-4 * abs(other.scores).max()
    assert exit_of(predict.COMMAND, predict.predict, f"run={frozen}", f"video={videos}/test/run/0.mp4") == 0
    assert "jump" in capsys.readouterr().out
    assert shards(tmp_path / "features") == before


def test_recorded_places_of_features_are_not_written_to(frozen: RunFolder, videos: Path, tmp_path: Path) -> None:
    record = json.loads(frozen.run.read_text())
    record["overrides"] += [f"features.root={tmp_path}/elsewhere"]
    frozen.run.write_text(json.dumps(record))
    assert compose_recorded(record["overrides"]).features.root is None
    assert compose_recorded(record["overrides"], ["features.root=/mine"]).features.root == "/mine"
    assert exit_of(evaluate.COMMAND, evaluate.evaluate, f"run={frozen}") == 0
    assert not (tmp_path / "elsewhere").exists()
    record["overrides"] += [f"+features.export={tmp_path}/elsewhere"]
    frozen.run.write_text(json.dumps(record))
    words = [f"run={frozen}", f"video={videos}/test/run/0.mp4"]
    exit_of(evaluate.COMMAND, evaluate.evaluate, words[0])
    exit_of(predict.COMMAND, predict.predict, *words)
    assert not (tmp_path / "elsewhere").exists()


def test_the_backbone_in_a_checkpoint_is_the_one_of_the_features(frozen: RunFolder) -> None:
    states = [torch.load(path, weights_only=True)["state_dict"] for path in (frozen.best, frozen.last)]
    trunk = [name for name in states[0] if name.startswith("recognizer.backbone.")]
    assert trunk and all(torch.equal(states[0][name], states[1][name]) for name in trunk)
