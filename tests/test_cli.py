"""The user's mistakes on the command line: one line, non-zero exit, no traceback."""

import subprocess
import sys
from pathlib import Path

import pytest
from src import cli
from src.config import ROOT
from src.train import main


def refusal(monkeypatch: pytest.MonkeyPatch, tmp_path: Path, *arguments: str) -> str:
    """What `python -m src.train *arguments` says when it refuses."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(sys, "argv", ["src.train", *arguments])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "0")
    with pytest.raises(SystemExit) as exit_:
        main()
    return str(exit_.value.code)


@pytest.mark.parametrize(
    ("arguments", "expected"),
    [
        (["pooling=brt"], ["pooling=brt", "bert_late_fusion", "average"]),
        (["trainer.max_epoch=3"], ["trainer.max_epoch", "max_epochs"]),
        (["modell=i3d"], ["modell", "model,"]),
        (["seed=one"], ["seed"]),
        (["model=r2plus1d", "reduction=frmb"], ["reduction", "none"]),
        (["data=folder", "data.root=/nowhere/at/all"], ["/nowhere/at/all"]),
        (["data=folder"], ["data.root"]),
        (["ckpt_path=none.ckpt"], ["none.ckpt"]),
        (["ckpt_path=last"], ["last checkpoint"]),
        (["data.decoder=vlc", "model=tiny", "data.train=8", "data.val=8", "data.test=8"], ["vlc", "decord, pyav"]),
        (["pooling.head.heads=7"], ["heads", "7"]),
        (["data=hmdb51", "data.chek=1"], ["no option chek in data", "check_counts"]),
        (["experiments=table5", "data.chek=1"], ["no option chek in data", "check_counts"]),
        (["experiments=table5", "rows=brt"], ["rows=brt", "bert_late_fusion"]),
        (["experiments=table8"], ["experiments=table8", "mini_table1"]),
        (["weights=file", "weights.path=/nowhere.pth"], ["/nowhere.pth"]),
    ],
)
def test_one_line_that_names_the_thing_and_what_exists(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, arguments: list[str], expected: list[str]
) -> None:
    message = refusal(monkeypatch, tmp_path, *arguments)
    assert message.startswith("error: ")
    assert len(message.splitlines()) == 1, message
    for word in expected:
        assert word in message
    assert not list(tmp_path.glob("outputs/*/checkpoints")), "a refused run leaves nothing behind"


def test_a_whole_process_says_it_without_a_traceback() -> None:
    command = [sys.executable, "-m", "src.train", "pooling=brt"]
    result = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert result.returncode == 1
    assert len(result.stderr.splitlines()) == 1, result.stderr


def test_the_traceback_can_be_had(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(sys, "argv", ["src.train", "pooling=brt"])
    monkeypatch.setenv("HYDRA_FULL_ERROR", "1")
    with pytest.raises(Exception, match="pooling/brt"):
        main()


def test_key_value_options_are_parted_from_overrides() -> None:
    values, rest = cli.options(["run=x", "data.root=a=b", "top=3"], {"run": None, "top": "5", "out": None})
    assert values == {"run": "x", "top": "3", "out": None}
    assert rest == ["data.root=a=b"]
