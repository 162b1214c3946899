"""Commands alike: help, exit codes, mistakes in one line, and what people who know Hydra expect."""

import ast
import os
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from src.__main__ import COMMANDS
from src.command_line.hydra import _flags_last, composed
from src.config import CONF, EXPERIMENTS, ROOT
from src.errors import UsageError

HEAVY = ("torch", "pytorch_lightning", "torchvision", "decord", "av", "matplotlib", "wandb", "cv2")
OPTION_COMMANDS = ("evaluate", "predict", "export", "web", "demo")
SMALL = ("model=tiny", "pooling=average", "logger=csv", "dry_run=true")

# Runs a command and then says which of the heavy packages it has imported.
WATCHED = f"""
import runpy, sys
sys.argv = ["python -m src." + sys.argv[1], *sys.argv[2:]]
try:
    runpy.run_module(sys.argv[0].partition("-m ")[2], run_name="__main__", alter_sys=False)
finally:
    heavy = [name for name in {HEAVY} if name in sys.modules]
    print("imported:", *heavy, file=sys.stderr)
"""


def run(folder: Path, command: str, *words: str, watched: bool = False) -> subprocess.CompletedProcess[str]:
    """A whole process of a command, started in `folder`."""
    start = ["-c", WATCHED, command] if watched else ["-m", f"src.{command}" if command else "src"]
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "LATE_FULL_ERROR": "0", "HYDRA_FULL_ERROR": "0"}
    command_line = [sys.executable, *start, *words]
    return subprocess.run(command_line, cwd=folder, capture_output=True, text=True, env=environment)


def is_empty(folder: Path) -> bool:
    return not any(folder.iterdir())


def starts_as_command(file: Path) -> bool:
    """Whether the module ends in `if __name__ == "__main__"`."""
    tests = [node.test for node in ast.parse(file.read_text()).body if isinstance(node, ast.If)]
    return any(ast.unparse(test) == "__name__ == '__main__'" for test in tests)


def test_the_list_of_commands_is_whole(tmp_path: Path) -> None:
    files = {path.stem for path in (ROOT / "src").glob("*.py") if path.stem != "__main__" and starts_as_command(path)}
    assert set(COMMANDS) == files
    listed = run(tmp_path, "")
    assert listed.returncode == 0
    for name, about in COMMANDS.items():
        assert f"  {name} " in listed.stdout
        assert about in listed.stdout
        assert "\n" not in about


@pytest.mark.parametrize("command", ["train", *OPTION_COMMANDS])
def test_help_has_options_and_examples_and_imports_nothing_heavy(command: str, tmp_path: Path) -> None:
    for flag in ("--help", "-h"):
        result = run(tmp_path, command, flag, watched=True)
        assert result.returncode == 0
        assert result.stderr.split() == ["imported:"], result.stderr
        assert result.stdout.startswith(f"usage: python -m src.{command}")
        assert result.stdout.partition("examples:\n")[2].count(f"  python -m src.{command}") >= 2
    assert is_empty(tmp_path)


def test_prepare_answers_without_torch(tmp_path: Path) -> None:
    for words, code in ((["--help"], 0), (["data=folder"], 2), (["data=folder", "data.root=nowhere"], 1)):
        result = run(tmp_path, "prepare", *words, watched=True)
        assert result.returncode == code
        assert "torch" not in result.stderr.splitlines()[-1], result.stderr
    assert is_empty(tmp_path)


def test_help_of_train_lists_every_group_and_default(tmp_path: Path) -> None:
    text = run(tmp_path, "train", "--help").stdout
    assert "[slowfast]" in text
    for name in ("model=", "pooling=", "data=", "weights=", "recipe=", "trainer=", "seed: 0", "on_divergence: stop"):
        assert name in text


REFUSED = {
    "unknown choice": ("train", ["model=foo"], ["model=foo", "slowfast"]),
    "unknown head": ("train", ["pooling=brt"], ["pooling=brt", "bert_late_fusion", "average"]),
    "wrong type": ("train", ["seed=one"], ["seed=one", "whole number", "seed=1"]),
    "misspelt option": ("train", ["trainer.max_epoch=3"], ["trainer.max_epoch", "max_epochs"]),
    "misspelt group": ("train", ["modell=i3d"], ["modell", "model,"]),
    "option of another data set": ("train", ["data=hmdb51", "data.chek=1"], ["no option chek", "check_counts"]),
    "missing": ("train", ["data=folder"], ["data.root has no value"]),
    "flag": ("train", ["--bogus"], ["--bogus", "--help"]),
    "no value": ("train", ["model"], ["model", "option=value"]),
    "several values": ("train", ["seed=0,1"], ["seed=0,1", "-m"]),
    "no experiment": ("train", ["experiments=table8"], ["experiments=table8", "mini_table1"]),
    "no such file of conf": ("train", ["--config-name=foo"], ["foo.yaml", "--config-name"]),
    "option taken away": ("train", ["~seed", "model=tiny"], ["seed: Key 'seed'"]),
    "dry run": ("train", ["seed=-1", "dry_run=true"], ["seed=-1"]),
    "choice of several runs": ("train", ["-m", "model=tiny,foo"], ["model=foo"]),
    "value of several runs": ("train", ["-m", "seed=0,one", "model=tiny"], ["seed=one"]),
    "unknown to evaluate": ("evaluate", ["--run=x"], ["--run=x", "run="]),
    "misspelt for evaluate": ("evaluate", ["runn=x"], ["runn=x", "did you mean run="]),
    "no run given": ("evaluate", [], ["run="]),
    "no video given": ("predict", ["run=x"], ["video="]),
    "wrong number": ("predict", ["run=x", "video=y", "top=0"], ["top=0"]),
    "no format given": ("export", ["run=x"], ["format="]),
    "unknown format": ("export", ["run=x", "format=tflite"], ["format=tflite", "onnx"]),
    "wrong value for the demo": ("demo", ["seed=one"], ["seed=one", "whole number"]),
    "what the demo compares": ("demo", ["pooling=lstm"], ["pooling=lstm", "src.train"]),
    "a word for the demo": ("demo", ["fast"], ["fast", "--help"]),
}


@pytest.mark.parametrize("case", REFUSED)
def test_wrong_usage_is_one_line_and_exit_code_2(case: str, tmp_path: Path) -> None:
    command, words, expected = REFUSED[case]
    result = run(tmp_path, command, *words, watched=True)
    line, imported = result.stderr.splitlines()
    assert result.returncode == 2
    assert line.startswith("error: ")
    for text in expected:
        assert text in line
    assert imported == "imported:", "a refusal imports nothing heavy"
    assert result.stdout == ""
    assert is_empty(tmp_path)


def test_what_is_not_there_is_exit_code_1(tmp_path: Path) -> None:
    for command, words in {
        "evaluate": ["run=nowhere"],
        "predict": ["run=nowhere", "video=x"],
        "export": ["run=nowhere", "format=safetensors"],
        "train": ["model=tiny", "data=folder", "data.root=nowhere"],
    }.items():
        result = run(tmp_path, command, *words)
        assert result.returncode == 1
        assert "nowhere" in result.stderr
        assert len(result.stderr.splitlines()) == 1, result.stderr
        assert not (tmp_path / "outputs").exists() or not list(tmp_path.glob("outputs/*"))


@pytest.mark.parametrize("name", ["LATE_FULL_ERROR", "HYDRA_FULL_ERROR"])
def test_the_traceback_can_be_had(name: str, tmp_path: Path) -> None:
    environment = {**os.environ, "PYTHONPATH": str(ROOT), name: "1"}
    command = [sys.executable, "-m", "src.train", "seed=one"]
    result = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
    assert result.returncode != 0
    assert "Traceback" in result.stderr
    assert "seed=one" in result.stderr.splitlines()[-1]


def test_cfg_prints_the_configuration_and_starts_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "train", "--cfg", "job", "model=tiny", "seed=3")
    assert result.returncode == 0
    printed = yaml.safe_load(result.stdout)
    assert printed["seed"] == 3
    assert printed["model"]["name"] == "tiny"
    assert is_empty(tmp_path)


def test_options_may_stand_before_and_behind_flags() -> None:
    assert _flags_last(["seed=1", "-m", "model=tiny"]) == ["seed=1", "model=tiny", "-m"]
    assert _flags_last(["--cfg", "job", "seed=1", "--resolve", "seed=1"]) == [
        "seed=1",
        "seed=1",
        "--cfg",
        "job",
        "--resolve",
    ]


def test_flags_that_mean_nothing() -> None:
    with pytest.raises(UsageError, match="unrecognized arguments: --bogus; --help"):
        _flags_last(["--bogus", "dry_run=true"])


def test_words_without_a_meaning() -> None:
    with pytest.raises(UsageError, match="type option=value"):
        composed(["=3"])
    with pytest.raises(UsageError, match=r"seed: .*'nonsense' not found"):
        composed(["seed=${nonsense}"])


@pytest.mark.parametrize(
    ("word", "hint"),
    [("trainer.devices=0,1", ""), ("model=a,b", ""), ("data.scales=1,0.5", ", or type data.scales=[1,0.5]")],
)
def test_a_hint_for_several_values_is_one_that_works(word: str, hint: str) -> None:
    with pytest.raises(UsageError) as refusal:
        composed([word])
    assert str(refusal.value) == f"{word}: several values; add -m for a run each{hint}"


def test_lists_of_values_are_a_run_each_and_a_dry_run_leaves_nothing(tmp_path: Path) -> None:
    result = run(tmp_path, "train", "-m", *SMALL, "seed=0,1", "optim=sgd,adamw")
    assert result.returncode == 0
    lines = [line for line in result.stdout.splitlines() if "parameters" in line]
    assert len(lines) == len({line.split()[0] for line in lines}) == 4
    assert is_empty(tmp_path)


@pytest.mark.parametrize(
    "word", [pytest.param("experiments=mini_table1", marks=pytest.mark.slow), "experiment=mini_table1"]
)
def test_a_table_is_found_beside_conf(word: str, tmp_path: Path) -> None:
    result = run(tmp_path, "train", word, "rows=bert,average", "seeds=0", "dry_run=true")
    assert result.returncode == 0
    assert [line.split()[0] for line in result.stdout.splitlines()[1:]] == ["average", "bert"]
    assert is_empty(tmp_path)


def test_only_the_one_folder_beside_conf_is_a_group() -> None:
    assert composed(["experiments=table5"]).experiment.name == "table5"
    assert not (CONF / "experiments").exists()
    for word in ("experiments=../conf/model/tiny", "src=train", "tests=x"):
        with pytest.raises(UsageError, match=r"does not exist|no option"):
            composed([word])
    assert (EXPERIMENTS / "table5.yaml").is_file()


def test_shell_completion(tmp_path: Path) -> None:
    script = run(tmp_path, "train", "--shell-completion", "install=bash")
    assert script.returncode == 0
    assert run(tmp_path, "train", "-sc", "install=bash").stdout == script.stdout
    assert run(tmp_path, "train", "-sc").returncode == 2
    asked = """
    COMP_WORDS=("$PYTHON" -m src.train "$TYPED"); COMP_CWORD=3; COMP_LINE="${COMP_WORDS[*]}"; _late_temporal
    echo "${COMPREPLY[@]}"
    """
    for typed, offered in {"model=r": "model=r2plus1d", "experiments=mini_table": "experiments=mini_table1"}.items():
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHON": sys.executable, "TYPED": typed}
        command = ["bash", "-c", script.stdout + asked]
        answer = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, env=environment)
        assert offered in answer.stdout.split(), answer.stderr
