"""What defines a run: its meaning, not its spelling.

The description is a plain list of options and values, without the places of classes in the code. Two runs with equal
descriptions are one run, in one folder. `src/options.py` declares which options belong in it. Lists of one's own count
by their content (names, labels, sources), wherever they lie, and weights files by theirs.
"""

import hashlib
import json
from functools import cache
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src import files
from src.build.data import pairs_file, read_lists
from src.data.annotations import Lists, list_digest
from src.options import declared, leaves

VERSION = 3  # of the description; raise it when the same description would give other numbers


def describe(cfg: DictConfig) -> dict[str, Any]:
    """Option → value of everything that defines the run, sorted by name.

    Raises:
        UserError: lists of one's own cannot be read.
    """
    config: Any = OmegaConf.to_container(cfg, resolve=True, enum_to_str=True)
    description: dict[str, Any] = {"version": VERSION}
    for name, value in leaves(config):
        option = declared(name)
        if option is None or (option.defines and value != option.since):
            description[name] = value
    for name, target in _foreign_targets(config):
        description[name] = target
    if _lists_are_own(cfg):
        description["data.lists"] = _digest_of_lists(read_lists(cfg))
    if description.get("data.flip_labels", "auto") != "auto":
        description["data.flip_labels"] = _digest_of_file(str(pairs_file(cfg)))
    if "weights.path" in description:
        description["weights.path"] = _digest_of_file(str(description["weights.path"]))
    return dict(sorted(description.items()))


def identity(description: dict[str, Any]) -> str:
    """Twelve hex digits of a description."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:12]


def title(cfg: DictConfig) -> str:
    """What the run is, in a few words fit for a file name."""
    parts = [str(cfg.model.name), str(cfg.pooling.name), str(cfg.data.name)]
    if cfg.modality.name != "rgb":
        parts.append(cfg.modality.name)
    if cfg.data.get("split"):
        parts.append(f"split{cfg.data.split}")
    return files.safe_name("-".join([*parts, f"seed{cfg.seed}"]))


def _foreign_targets(node: Any, name: str = "") -> list[tuple[str, str]]:
    """(option, class) of components that are not this project's own, which `name` already tells apart."""
    if not isinstance(node, dict):
        return []
    found = []
    target = node.get("_target_")
    if isinstance(target, str) and not target.startswith("src."):
        found.append((f"{name}._target_", target))
    for key, value in node.items():
        found += _foreign_targets(value, f"{name}.{key}" if name else str(key))
    return found


def _lists_are_own(cfg: DictConfig) -> bool:
    """Whether the name of the data set and its split do not say which videos it has."""
    data = cfg.data
    return bool(data.own_lists) or data.get("check_counts") is False or bool(data.get("allow_missing"))


def _digest_of_lists(lists: Lists) -> str:
    sides = {"train": lists.train, "val": lists.val or [], "test": lists.test}
    content: dict[str, Any] = {side: list_digest(videos) for side, videos in sides.items()}
    content["groups"] = sorted({(video.name, video.group) for videos in sides.values() for video in videos})
    content["classes"] = lists.classes
    return hashlib.sha256(json.dumps(content).encode()).hexdigest()


def _digest_of_file(path: str) -> str:
    """SHA-256 of a file; its path where there is none, which is refused before anything starts."""
    file = files.home_expanded(path)
    return _sha256(file, file.stat().st_mtime_ns) if file.is_file() else path


@cache
def _sha256(path: Path, modified: int) -> str:
    return files.sha256(path)
