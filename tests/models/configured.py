"""Backbones and heads with the arguments that conf/ gives them."""

import functools
from typing import Any

from omegaconf import OmegaConf
from src.config import CONF
from src.models.pooling.bert import Bert
from src.models.pooling.head import Head


def arguments(group: str, name: str, node: str) -> dict[str, Any]:
    """What a YAML file passes to a constructor, without what it takes from other files."""
    values = OmegaConf.to_container(OmegaConf.load(CONF / group / f"{name}.yaml"))[node]
    return {key: value for key, value in values.items() if key[0] != "_" and not str(value).startswith("${")}


def sizes(model: str) -> dict[str, Any]:
    """The full size of a backbone."""
    return arguments("model", model, "backbone")


def bert(channels: int, length: int, **changes: Any) -> Head:
    """BERT pooling as conf/pooling/bert.yaml has it for most backbones."""
    defaults = {"init_std": None, "normalize_tokens": False, **arguments("pooling", "bert", "head")}
    return Bert(channels, length, **(defaults | changes))


def bert_with(**changes: Any) -> Any:
    """`bert` with other arguments, to be called with channels and length."""
    return functools.partial(bert, **changes)
