"""The words of a command line as a person types them."""

import random
import shlex
from pathlib import Path

import pytest
from hydra.core.override_parser.overrides_parser import OverridesParser
from src.command_line.hydra import composed
from src.command_line.words import normalise, quote, shown_word, unquote
from src.errors import UsageError

CHARACTERS = "ab/ ().,=&#'\"\\:;{}[]~^$+*?|<>%@!`-_0é\t"
PATHS = [
    "/x/My Videos (2024)",
    "/x/a&b #1",
    "/x/it's",
    "/x/x,y",
    "/x/a=b",
    "2024",
    "1e5",
    "true",
    "./a",
    "a//b/../c",
    "/x/[b]{c}",
    "/x/a\\b",
    "/x/end\\",
    "/x/'",
    "/x/\\'",
    'say "hi"',
    "/x/a:b",
    "/x/é ü",
    "/x/a|b;c>d",
    "/x/-m",
    "/x/$HOME",
    "/x/a\tb",
    "/x/bytes-\udcff",
]


@pytest.mark.parametrize("path", PATHS)
def test_paths_are_taken_as_they_stand(path: str) -> None:
    cfg = composed(["data=folder", f"data.root={path}", f"data.csv={path}", f"run_dir={path}", f"ckpt_path={path}"])
    assert [cfg.data.root, cfg.data.csv, cfg.run_dir, cfg.ckpt_path] == [path] * 4


@pytest.mark.parametrize(
    "pattern", [r"^(S\d+)_", r"(.+?)_c\d{2}", r"^[a-z]{1,3}(\d)$", "a|b", r"it's\b", r"(?P<g>\w+)"]
)
def test_patterns_are_taken_as_they_stand(pattern: str) -> None:
    assert composed(["data=folder", "data.root=/x", f"data.group_pattern={pattern}"]).data.group_pattern == pattern


def test_home_is_expanded(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/me (2)")
    cfg = composed(["data=folder", "data.root=~/my clips", "run_dir=~", "weights=file", "weights.path=~/w.pth"])
    assert cfg.data.root == "/home/me (2)/my clips"
    assert cfg.run_dir == "/home/me (2)"
    assert cfg.weights.path == "/home/me (2)/w.pth"


def test_any_text_survives_quoting() -> None:
    """A thousand texts of the characters that shells and grammars care for."""
    chosen = random.Random(0)
    texts = ["".join(chosen.choices(CHARACTERS, k=chosen.randint(1, 12))) for _ in range(1000)]
    assert [unquote(quote(text)) for text in texts] == texts
    assert [shlex.split(shown_word(f"x={text}")) for text in texts] == [[f"x={quote(text)}"] for text in texts]
    parser = OverridesParser.create()
    assert [parser.parse_override(f"x={quote(text)}").value() for text in texts] == texts


def test_quoted_words_and_null_stay_as_they_are() -> None:
    words = ["data.root='/x y'", 'data.root="/x y"', "data.csv=null", "seed=1", "-m", "--cfg=job", "model=tiny"]
    assert normalise(words) == words


def test_under_multirun_a_comma_means_several_values() -> None:
    assert normalise(["-m", "data.root=a,b"]) == ["-m", "data.root=a,b"]
    assert normalise(["-m", "logger=csv,wandb"]) == ["-m", "logger=csv,wandb"]


@pytest.mark.parametrize(
    ("word", "loggers"),
    [
        ("logger=csv", {"csv"}),
        ("logger=csv,wandb", {"csv", "wandb"}),
        ("logger=[wandb,csv]", {"csv", "wandb"}),
        ("logger=null", {"csv"}),
    ],
)
def test_one_logger_or_several(word: str, loggers: set[str]) -> None:
    assert set(composed([word]).logger) == loggers


def test_experiment_is_experiments() -> None:
    assert normalise(["experiment=mini_table1"]) == ["experiments=mini_table1"]
    assert normalise(["experiment=my-own"]) == ["experiments=my-own"]


@pytest.mark.parametrize("value", ["my run (2)", "it's", "(", "x y=z", 'say "hi"', "$HOME ("])
def test_the_answer_shows_the_words_to_type(value: str) -> None:
    """Text options are read by Hydra's grammar; what is shown works in a shell."""
    with pytest.raises(UsageError, match="type ") as refusal:
        composed([f"logger.wandb.name={value}"])
    shown = str(refusal.value).rpartition("; type ")[2]
    assert composed(shlex.split(shown)).logger.wandb.name == value


def test_paths_of_prepare(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/me")
    words = normalise(["archives=~/Down loads (1)", "data.root=/x, y"])
    assert [unquote(word.partition("=")[2]) for word in words] == ["/me/Down loads (1)", "/x, y"]


def test_a_folder_of_configuration_may_have_any_name(tmp_path: Path) -> None:
    assert normalise([f"--config-dir={tmp_path}/a b"]) == [f"--config-dir={tmp_path}/a b"]
