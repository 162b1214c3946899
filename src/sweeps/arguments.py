"""The words of a table's command line: which are for the sweep, which for its jobs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from src import plugins
from src.errors import UsageError
from src.text import printable

FOR_THE_SWEEP = ("experiments", "rows", "seeds", "dry_run", "experiment.overrides")
LISTS = ("rows", "seeds")  # `rows=a,b` means `rows=[a,b]`
MULTIRUN = ("-m", "--multirun")
SHOWING = ("--cfg", "-c", "--info", "-i", "--shell-completion", "-sc", "--hydra-help")  # flags that run nothing
FOR_HYDRA = ("-", "hydra.", "hydra/")  # how flags and options of Hydra itself begin


@dataclass(frozen=True)
class SweepOptions:
    """What a command line says of a sweep.

    rows, seeds: those to run; empty: all, the experiment's own.
    jobs: overrides for every job.
    """

    experiment: str | None = None
    rows: list[str] = field(default_factory=list)
    seeds: list[int] = field(default_factory=list)
    dry_run: bool = False
    jobs: list[str] = field(default_factory=list)


def pack(words: Sequence[str], quote: Callable[[str], str]) -> list[str]:
    """The words of a table's command line with those for its jobs packed into one, `++experiment.overrides=[…]`.

    quote: writes a word as Hydra's grammar takes it. The words may be options of a model or data set that the rows
    choose and the sweep's own configuration does not have, and Hydra would refuse them.
    """
    if not is_table(words):
        return list(words)
    kept, jobs = [], []
    for word in words:
        key, _, value = word.partition("=")
        is_flag = "=" not in word or word.lstrip("+~").startswith(FOR_HYDRA)
        if key in LISTS:
            kept.append(f"{key}=[{','.join(quote(one) for one in listed_values(value))}]")
        elif is_flag or key in FOR_THE_SWEEP:
            kept.append(word)
        else:
            jobs.append(word)
    return [*kept, f"++experiment.overrides=[{','.join(quote(word) for word in jobs)}]"]


def is_table(words: Sequence[str]) -> bool:
    """Whether `experiments=` names a file with rows. There are other files: a search for values has none."""
    file = _experiment(words)
    if file is None or "experiment" not in _content(file):
        return False
    return not any(word.startswith("hydra/sweeper=") for word in _for_hydra(file))


def with_sweeper(words: Sequence[str]) -> list[str]:
    """The words, with what makes a sweep of them where they ask for one.

    An experiment is a sweep over its rows, with the words for Hydra that stand in its file as `experiment.hydra`: its
    launcher, or another sweeper. Words of the command line take their place. Where `-m` asks for a sweep and nothing
    says which, it is over lists of values. (Hydra 1.4 wants to know these before it composes, so that they cannot be
    options of Hydra in the experiment's file.)
    """
    asked = bool(set(MULTIRUN) & set(words))
    file = _experiment(words)
    if file is None:
        chosen = any(word.lstrip("+").startswith("hydra/sweeper=") for word in words)
        return [*words, "hydra/sweeper=lists"] if asked and not chosen else list(words)
    typed = {word.partition("=")[0].lstrip("+") for word in words}
    added = []
    for word in ["hydra/sweeper=table", *_for_hydra(file)] if is_table(words) else _for_hydra(file):
        key = word.partition("=")[0]
        # Options of a launcher that is not taken are not, either.
        of_another = key.startswith("hydra.") and "/".join(key.split(".")[:2]) in typed
        if key not in typed and not of_another:
            added.append(word)
    shows = any(word.partition("=")[0] in SHOWING for word in words)
    return [*words, *added, *([] if asked or shows else ["--multirun"])]


def is_dry_run(words: Iterable[str]) -> bool:
    """Whether the words ask to print what would run."""
    return any(word.lower() == "dry_run=true" for word in words)


def _experiment(words: Sequence[str]) -> Path | None:
    """The file that `experiments=` names; None where there is none."""
    for word in words:
        key, _, name = word.partition("=")
        if key == "experiments" and (file := plugins.choice("experiments", name)) is not None:
            return file
    return None


def _for_hydra(file: Path) -> list[str]:
    """The words of a command line that stand in an experiment's file."""
    said = _content(file).get("experiment")
    words = said.get("hydra") if isinstance(said, dict) else None
    return [str(word) for word in words] if isinstance(words, list) else []


def _content(file: Path) -> dict[str, Any]:
    try:
        content = yaml.safe_load(file.read_text(encoding="utf-8"))
    except (yaml.YAMLError, ValueError):  # Hydra, which reads it next, says where
        return {}
    return content if isinstance(content, dict) else {}


def split_arguments(words: Iterable[str]) -> SweepOptions:
    """Command-line words → what they say of the sweep and of its jobs.

    Raises:
        UsageError: an override with several values, or seeds that are not numbers.
    """
    own: dict[str, str] = {}
    jobs = []
    for word in words:
        key, _, value = word.lstrip("+").partition("=")
        if key in FOR_THE_SWEEP:
            own[key] = value
        elif not value.startswith(("[", "{", "'", '"')) and "," in value:
            raise UsageError(f"{printable(word)}: in an experiment only rows and seeds take several values")
        else:
            jobs.append(word)
    return SweepOptions(
        experiment=own.get("experiments"),
        rows=listed_values(own.get("rows")),
        seeds=[_seed(seed) for seed in listed_values(own.get("seeds"))],
        dry_run=is_dry_run(f"{key}={value}" for key, value in own.items()),
        jobs=jobs,
    )


def _seed(text: str) -> int:
    if not text.isdecimal() or int(text) >= 2**32:
        raise UsageError(f"seeds={printable(text)}: seeds are whole numbers from 0 to {2**32 - 1}")
    return int(text)


def listed_values(text: str | None) -> list[str]:
    """`a,b`, `[a,b]` or `a` → its parts; nothing → an empty list."""
    parts = [part.strip(" '\"") for part in (text or "").strip("[] ").split(",")]
    return [part for part in parts if part not in ("", "null")]
