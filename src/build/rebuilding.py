"""The shortest overrides that compose a network again: its choices, and where it differs from `conf/`."""

import json
import re
from typing import Any

from hydra.errors import HydraException
from omegaconf import DictConfig, OmegaConf
from omegaconf.errors import OmegaConfBaseException

from src.build.compose import compose
from src.errors import UserError
from src.options import leaves

GROUPS = ("model", "pooling", "modality")  # chosen by name
PARTS = ("model", "pooling", "reduction", "modality", "test", "freeze", "features")  # that count when it is asked
UNUSED = (  # then
    *("model.pretrained", "model.published", "model.lr", "model.reduction", "model.statistics", "pooling.dropout"),
    *("features.cache", "features.clips", "features.dtype", "features.precision", "features.root"),
)
OWN_CLIPS = "data=kinetics400"  # the data whose choice leaves a model's clips as they are


def overrides(cfg: DictConfig) -> list[str]:
    """What composes the network of `cfg`, and the way it looks at videos, without any path on this machine.

    Raises:
        UserError: a part of the network is not a file of `conf/`.
    """
    words = [OWN_CLIPS, *(f"{group}={cfg[group].name}" for group in GROUPS)]
    try:
        base = compose(words)
    except (HydraException, OmegaConfBaseException) as error:
        raise UserError(f"{cfg.model.name} with {cfg.pooling.name} is not in conf/, and cannot be exported") from error
    if cfg.data.get("flip_labels") == "auto":  # which follows from the names of the classes
        words.append("data.flip_labels=auto")
    plain = dict(_values(base))
    for name, value in _values(cfg):
        if name not in plain or plain[name] != value:
            words.append(f"{'' if name in plain else '+'}{name}={_word(value)}")
    if _targets(base) != _targets(cfg):
        raise UserError(f"{cfg.model.name} with {cfg.pooling.name}: its classes are not those of conf/; put them there")
    return words


def _values(cfg: DictConfig) -> list[tuple[str, Any]]:
    found = []
    for part in PARTS:
        content = OmegaConf.to_container(cfg[part], resolve=True)
        for name, value in leaves(content, part):
            if not any(name == unused or name.startswith(f"{unused}.") for unused in UNUSED):
                found.append((name, value))
    return found


def _targets(cfg: DictConfig) -> list[Any]:
    return [cfg.model.backbone.get("_target_"), cfg.pooling.head.get("_target_")]


def _word(value: Any) -> str:
    """A value in the grammar of overrides, which is that of JSON but for plain words."""
    return value if isinstance(value, str) and re.fullmatch(r"[A-Za-z]\w*", value) else json.dumps(value)
