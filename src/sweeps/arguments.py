"""The words of a table's command line: which are for the sweep, which for its jobs."""

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import yaml

from src.build.compose import config_folders
from src.errors import UsageError
from src.text import printable

FOR_THE_SWEEP = ("experiments", "rows", "seeds", "dry_run", "experiment.overrides")
LISTS = ("rows", "seeds")  # `rows=a,b` means `rows=[a,b]`
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
    for word in words:
        key, _, name = word.partition("=")
        if key != "experiments":
            continue
        for folder in config_folders(words):
            file = Path(folder, "experiments", f"{name}.yaml")
            if file.is_file() and _has_rows(file):
                return True
    return False


def with_sweeper(words: Sequence[str]) -> list[str]:
    """The words, with the sweeper for lists of values where `-m` asks for a sweep and nothing says which."""
    chosen = any(word.lstrip("+").startswith(("experiments=", "hydra/sweeper=")) for word in words)
    lists = not chosen and ("-m" in words or "--multirun" in words)
    return [*words, "hydra/sweeper=lists"] if lists else list(words)


def is_dry_run(words: Iterable[str]) -> bool:
    """Whether the words ask to print what would run."""
    return any(word.lower() == "dry_run=true" for word in words)


def _has_rows(file: Path) -> bool:
    try:
        return "experiment" in (yaml.safe_load(file.read_text(encoding="utf-8")) or {})
    except (yaml.YAMLError, ValueError):  # Hydra, which reads it next, says where
        return False


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
