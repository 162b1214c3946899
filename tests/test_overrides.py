"""The words of a table's command line."""

import pytest
from src.build import compose
from src.errors import UserError
from src.overrides import listed, merged, set_aside, split_arguments


def test_arguments_of_the_sweep_are_parted_from_those_of_its_jobs():
    words = [
        "experiments=table1",
        "seeds=0,1",
        "rows=[bert]",
        "data.root=/x",
        "recipe.lr={a:1,b:2}",
    ]
    own, others = split_arguments(words)
    assert own == {"experiments": "table1", "seeds": "0,1", "rows": "[bert]"}
    assert others == ["data.root=/x", "recipe.lr={a:1,b:2}"]
    with pytest.raises(UserError, match="only rows and seeds"):
        split_arguments(["optim=sgd,adamw"])


def test_options_of_jobs_do_not_have_to_exist_in_the_sweeps_own_configuration(tmp_path):
    words = [
        "experiments=table5",
        "data.split=2",
        "rows=average",
        "hydra/launcher=basic",
        "recipe.lr={sgd: 1e-3, adamw: 1}",
    ]
    kept = set_aside([*words, "data.root='/a b'"])
    assert kept[:-1] == ["experiments=table5", "rows=average", "hydra/launcher=basic"]
    assert list(compose([kept[0], kept[-1]]).experiment.overrides) == [words[1], words[4], "data.root='/a b'"]
    for others in (["experiments=lr_search", "model=i3d"], ["model=i3d", "pooling=bert"], ["experiments=none"]):
        assert set_aside(others) == others
    (tmp_path / "experiments").mkdir()
    (tmp_path / "experiments" / "own.yaml").write_text("experiment: {}")
    words = ["--config-dir", str(tmp_path), "experiments=own"]
    assert set_aside([*words, "seed=1"]) == [*words, "experiment.overrides=['seed=1']"]


def test_lists_are_read_with_or_without_brackets():
    assert listed("[a, b]") == listed("a,b") == ["a", "b"]
    assert listed("a") == ["a"]
    assert listed(None) == listed("null") == []


def test_later_overrides_hold():
    assert merged(["a=1", "+b=2"], ["a=3"], ["b=4"]) == ["a=3", "b=4"]
