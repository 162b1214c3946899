"""Published weights that cannot be had, and those that stand in for them.

What defines a run follows from its configuration, and the file of its weights is part of it. So the choice between a
published file and its fallback is made before a run has its identity: the run becomes the one that `weights=FALLBACK`
makes, in its records as well. A file that is in the cache is taken without asking anybody, so that the same command is
the same run for as long as the cache is not touched.
"""

import functools
import logging
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src import plugins
from src.build.compose import merged
from src.errors import UserError
from src.text import printable

log = logging.getLogger(__name__)


def with_fallback(cfg: DictConfig, overrides: Sequence[str], *, fetch: bool) -> tuple[DictConfig, list[str]]:
    """A configuration and what it was composed from, with the fallback of its weights where it needs that.

    fetch: fetch what is not in the cache; without, a file that is not there yet is taken for one that can be had.

    Where neither can be had everything stays as it is: a run that goes on from a checkpoint needs neither, and others
    are refused when they load their weights.

    Raises:
        UserError: the fallback is not a choice of weights=.
    """
    source = cfg.weights.get("source")
    name = source.get("fallback") if source else None
    if name is None:
        return cfg, list(overrides)
    from src.models.weights import download  # with PyTorch, which planning does without

    if download.is_cached(source.file):
        return cfg, list(overrides)
    path = plugins.choice("weights", name)
    if path is None:
        raise UserError(
            f"the fallback of these weights is {printable(name)}, but there is no conf/weights/{printable(name)}.yaml; "
            "name another one"
        )
    other = cfg.copy()
    OmegaConf.update(other, "weights", OmegaConf.load(path), merge=False)
    if not download.is_cached(other.weights.source.file) and not (fetch and _fetched(cfg, other)):
        return cfg, list(overrides)
    if fetch:
        _say(f"{source.file} is not in the cache: taking {other.weights.source.file}, as with weights={name}")
    kept = [word for word in overrides if not word.lstrip("+~").startswith("weights.")]
    return other, merged(kept, [f"weights={name}"])


def _fetched(cfg: DictConfig, other: DictConfig) -> bool:
    """Whether only the fallback can be had; it is in the cache then, as the published file is where that can."""
    return _try(cfg) is not None and _try(other) is None


def _try(cfg: DictConfig) -> str | None:
    from src.models.weights import download

    source: Any = OmegaConf.to_container(cfg.weights.source, resolve=True)
    return _refusal(download.cache(), **{key: value for key, value in source.items() if key != "layout"})


@functools.cache
def _refusal(cache: Path, **source: str | None) -> str | None:
    """Why a published file cannot be had; asked once, however many jobs of a sweep need it."""
    from src.models.weights import download

    try:
        download.obtain({"kind": "published", "source": source})
    except UserError as error:
        return str(error)
    return None


@functools.cache
def _say(line: str) -> None:
    """Say it once."""
    log.warning("%s", line)
