"""Every option that conf/ offers is declared once, and a wrong value of any is refused with one that works."""

import math
from collections.abc import Iterator
from functools import cache
from pathlib import Path
from typing import Any

import pytest
import yaml
from hydra.core.override_parser.overrides_parser import OverridesParser
from omegaconf import DictConfig, OmegaConf
from src import options
from src.build.compose import check, compose
from src.command_line.hydra import composed
from src.command_line.words import normalise
from src.config import CONF
from src.errors import UsageError
from src.options import OPTIONS, declared, leaves

GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name != "hydra")
PREPARE_ONLY = ("flow",)
WRONG = ("no such value", "", -1, 0, 2.5, -0.5, True, None, [], ["x"], [1, 2, 3], math.nan, math.inf, 10**12)


def choices(group: str) -> list[str]:
    return sorted(path.stem for path in (CONF / group).glob("*.yaml") if path.stem != "base")


def every_choice() -> Iterator[Any]:
    """(configuration, choice) for each file of each group, in the other's defaults."""
    for group in GROUPS:
        name = "prepare" if group in PREPARE_ONLY else "train"
        for choice in choices(group):
            if group == "clip":  # follows from data
                yield pytest.param(name, f"data={choice}", id=f"clip={choice}")
            else:
                yield pytest.param(name, f"{group}={choice}", id=f"{group}={choice}")
    yield pytest.param("prepare", "data=ucf101", id="prepare")


def concrete(name: str) -> str:
    """One option that a pattern matches."""
    return name.replace("*", "x")


def nested(name: str, value: Any) -> dict[str, Any]:
    *parents, leaf = name.split(".")
    content: dict[str, Any] = {leaf: value}
    for parent in reversed(parents):
        content = {parent: content}
    return content


@cache
def chosen(word: str, name: str) -> DictConfig:
    """The configuration with one choice."""
    return compose([word], name)


@pytest.mark.parametrize(("name", "word"), every_choice())
def test_every_option_of_every_choice_is_declared(name: str, word: str) -> None:
    cfg = chosen(word, name)
    for option in OmegaConf.missing_keys(cfg):
        OmegaConf.update(cfg, option, "somewhere")
    content: Any = OmegaConf.to_container(cfg, resolve=True)
    undeclared = [option for option, _ in leaves(content) if declared(option) is None]
    assert not undeclared


@pytest.mark.parametrize(("name", "word"), every_choice())
def test_what_conf_offers_is_accepted(name: str, word: str) -> None:
    cfg = chosen(word, name)
    for option in OmegaConf.missing_keys(cfg):
        OmegaConf.update(cfg, option, "somewhere")
    check(cfg)


REFUSING = [name for name, option in OPTIONS.items() if not all(option.values.accepts(value) for value in WRONG)]


def test_most_options_refuse_something() -> None:
    assert len(REFUSING) > 80


@pytest.mark.parametrize("name", REFUSING)
def test_a_wrong_value_is_refused_with_one_that_works(name: str) -> None:
    values, name = OPTIONS[name].values, concrete(name)
    for wrong in WRONG:
        if values.accepts(wrong):
            continue
        with pytest.raises(UsageError) as refusal:
            options.check(nested(name, wrong))
        message = str(refusal.value)
        assert message.startswith(f"{name}={options.typed(wrong)}: {name} takes {values.what}; ")
        example = message.rpartition(f"; for example {name}=")[2]
        if message.endswith("; leave it out"):
            assert not values.accepts(values.example)
            continue
        (typed,) = normalise([f"{name}={example}"])
        assert values.accepts(OverridesParser.create().parse_override(typed).value()), message


@pytest.mark.parametrize("name", sorted({name.rpartition(".")[0] for name in OPTIONS} - OPTIONS.keys() - {""}))
def test_a_group_of_options_is_no_value(name: str) -> None:
    for wrong in (5, None, "x", [1]):
        with pytest.raises(UsageError, match=f"{name} is a group of options"):
            options.check(nested(name, wrong))


def test_options_in_the_place_of_a_value_are_refused() -> None:
    with pytest.raises(UsageError, match=r"seed\.a=1: seed takes a whole number"):
        options.check({"seed": {"a": 1}})


SLOWFAST = ("model=slowfast", "pooling=bert_late_fusion")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ("trainer.precision=fp16", "32-true"),
        ("trainer.strategy=dp", "ddp"),
        ("trainer.accelerator=gpux", "trainer.accelerator=gpu"),
        ("seed=-1", "from 0 to 4294967295"),
        ("seed=4294967296", "from 0 to 4294967295"),
        ("seed=2**32", "from 0 to 4294967295"),
        ("recipe.lr.adamw=nan", "above 0"),
        ("recipe.lr.adamw=-1e-3", "above 0"),
        ("recipe.lr=0.1", "group of options"),
        ("optim.optimizer.lr=inf", "above 0"),
        ("data.workers=-1", "from 0 to"),
        ("data.workers=x", "from 0 to"),
        ("recipe.accumulate=0", "from 1 to"),
        ("recipe.epochs=1.5", "recipe.epochs takes a whole number"),
        ("trainer.overfit_batches=2", "limit_train_batches"),
        ("+trainer.overfit_batches=2", "limit_train_batches"),
        ("+trainer.callbacks=[]", "the program sets it"),
        ("trainer.limit_val_batches=1.5", "share of the batches"),
        ("test.crops=4", "1, 3, 10"),
        ("data.decoder=vlc", "pyav, decord"),
        ("modality.name=audio", "rgb, flow"),
        ("trainer=5", "trainer can be: default"),
        ("model=null", "slowfast"),
        ("seed=0,1", "add -m"),
        ("trainer.devices=1000000", "from 1 to 1024"),
        ("data.workers=100000", "from 0 to 1024"),
        (f"recipe.epochs={10**26}", "from 1 to 1000000000"),
        ("optim.optimizer.weight_decay=abc", "a number from 0"),
        ("schedule.scheduler.patience=-1", "from 0 to"),
        ("schedule.scheduler.factor=2", "above 0 and below 1"),
        ("schedule.monitor=val/nonsense", "val/loss, val/top1"),
        ("pooling.head.layers=abc", "from 1 to"),
        ("pooling.head.mask_rate=1.5", "probability"),
        ("model.backbone.blocks=[]", "a list, each a whole number"),
        ("model.backbone.alpha=0", "from 1 to"),
    ],
)
def test_values_that_other_programs_would_refuse(words: str, said: str) -> None:
    with pytest.raises(UsageError) as refusal:
        composed([*SLOWFAST, words, "dry_run=true"])
    assert said in str(refusal.value)
    assert words.partition("=")[0].lstrip("+") in str(refusal.value)


@pytest.mark.parametrize(
    "word",
    ["trainer.check_val_every_n_epoch=2", "trainer.limit_val_batches=0", "seed=4294967295", "+trainer.max_steps=1"],
)
def test_values_that_work(word: str) -> None:
    composed([word])


def test_groups_have_files() -> None:
    assert {"model", "pooling", "data", "trainer", "flow"} <= set(GROUPS)
    for path in CONF.rglob("*.yaml"):
        yaml.safe_load(path.read_text(encoding="utf-8"))
    assert not [path for path in CONF.rglob("*") if path.is_symlink()], "links break in archives and on Windows"
    assert Path(CONF.parent / "experiments").is_dir()
