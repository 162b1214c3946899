"""The words of a table's command line: which speak of the sweep, which of its jobs."""

import argparse
import itertools
from collections.abc import Iterable
from pathlib import Path

import yaml

from src.config import CONF
from src.errors import UserError

OWN = ("experiments", "rows", "seeds", "dry_run", "experiment.overrides")  # options of the sweep, not of its jobs
HYDRAS = ("-", "hydra.", "hydra/")  # how flags and options of Hydra itself begin


def set_aside(words: list[str]) -> list[str]:
    """The words of a table's command line with those for its jobs packed into one, `experiment.overrides=[…]`.

    They may be options of a model or data set that the rows choose and the sweep's own configuration does not have.
    """
    if not _is_table(words):
        return words
    flags = [word for word in words if "=" not in word or word.lstrip("+~").startswith(HYDRAS)]
    jobs = [word for word in words if word not in flags and word.partition("=")[0] not in OWN]
    quoted = ",".join("'" + word.replace("'", r"\'") + "'" for word in jobs)
    return [*(word for word in words if word not in jobs), f"experiment.overrides=[{quoted}]"]


def _is_table(words: list[str]) -> bool:
    """Whether `experiments=` names a file with rows, which is not the only kind: a search for values has none."""
    parser = argparse.ArgumentParser(add_help=False, allow_abbrev=False)
    parser.add_argument("--config-dir", "-cd", default=CONF)
    folders = [parser.parse_known_args(words)[0].config_dir, CONF]
    names = [word.partition("=")[2] for word in words if word.startswith("experiments=")]
    files = [Path(folder, "experiments", f"{name}.yaml") for name in names for folder in folders]
    for file in filter(Path.is_file, files):
        try:
            return "experiment" in (yaml.safe_load(file.read_text()) or {})
        except yaml.YAMLError:  # Hydra, which reads it next, says where
            return False
    return False


def split_arguments(arguments: Iterable[str]) -> tuple[dict[str, str], list[str]]:
    """Command-line words → (options of the sweep itself, overrides for every job).

    Raises:
        UserError: an override with several values.
    """
    own, others = {}, []
    for word in arguments:
        key, _, value = word.partition("=")
        if key in OWN:
            own[key] = value
        elif not value.startswith(("[", "{", "'", '"')) and "," in value:
            raise UserError(
                f"{word}: in an experiment only rows and seeds take several values; start one per value"
            )
        else:
            others.append(word)
    return own, others


def listed(text: str | None) -> list[str]:
    """`a,b`, `[a,b]` or `a` → its parts; nothing → an empty list."""
    return [part.strip() for part in (text or "").strip("[] ").split(",") if part.strip() not in ("", "null")]


def merged(*groups: Iterable[str]) -> list[str]:
    """Overrides of several origins; where two set the same option the later one holds."""
    chosen: dict[str, str] = {}
    for word in itertools.chain(*groups):
        key = word.partition("=")[0].lstrip("+~")
        chosen.pop(key, None)
        chosen[key] = word
    return list(chosen.values())
