"""The words of a table's command line, and overrides of several origins."""

from pathlib import Path

import pytest
from src.build.compose import compose, merged
from src.command_line.words import quote
from src.errors import UsageError
from src.sweeps.arguments import is_dry_run, listed_values, pack, split_arguments


def test_options_of_the_sweep_are_told_from_those_of_its_jobs() -> None:
    words = ["experiments=table1", "seeds=0,1", "rows=[bert]", "dry_run=true", "data.root=/x", "recipe.lr={a:1,b:2}"]
    options = split_arguments(words)
    assert options.experiment == "table1"
    assert options.seeds == [0, 1]
    assert options.rows == ["bert"]
    assert options.dry_run
    assert options.jobs == ["data.root=/x", "recipe.lr={a:1,b:2}"]
    with pytest.raises(UsageError, match="only rows and seeds"):
        split_arguments(["optim=sgd,adamw"])


@pytest.mark.parametrize("seeds", ["one", "-1", "1.5", str(2**32)])
def test_seeds_are_whole_numbers(seeds: str) -> None:
    with pytest.raises(UsageError, match="whole numbers"):
        split_arguments([f"seeds={seeds}"])


def test_options_of_jobs_do_not_have_to_exist_in_the_sweeps_own_configuration(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    words = [
        "experiments=table5",
        "data.split=2",
        "rows=average",
        "hydra/launcher=basic",
        "recipe.lr={sgd: 1e-3, adamw: 1}",
    ]
    kept = pack([*words, "data.root='/a b'"], quote)
    assert kept[:-1] == ["experiments=table5", "rows=['average']", "hydra/launcher=basic"]
    assert list(compose([kept[0], kept[-1]]).experiment.overrides) == [words[1], words[4], "data.root='/a b'"]
    for others in (["experiments=lr_search", "model=i3d"], ["model=i3d", "pooling=bert"], ["experiments=none"]):
        assert pack(others, quote) == others
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "own.yaml").write_text("experiment: {}")
    monkeypatch.setenv("LATE_PLUGINS", str(tmp_path))
    assert pack(["experiments=own", "seed=1"], quote) == ["experiments=own", "++experiment.overrides=['seed=1']"]


def test_lists_are_read_with_or_without_brackets() -> None:
    assert listed_values("[a, b]") == listed_values("a,b") == ["a", "b"]
    assert listed_values("a") == listed_values("['a']") == ["a"]
    assert listed_values(None) == listed_values("null") == []


def test_a_dry_run_in_any_spelling() -> None:
    assert all(is_dry_run(["seed=1", f"dry_run={word}"]) for word in ("true", "True", "TRUE"))
    assert not is_dry_run(["dry_run=false", "seed=1"])


def test_later_overrides_hold() -> None:
    assert merged(["a=1", "+b=2"], ["a=3"], ["b=4"]) == ["a=3", "b=4"]
