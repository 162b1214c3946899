"""What features depend on: two networks and samplings with equal descriptions have the same features of a video."""

import hashlib
import json
from typing import Any

import torch
from omegaconf import DictConfig, OmegaConf

from src import plugins
from src.models.recognizer import Recognizer
from src.options import declared

VERSION = 2  # raise it when the same description would give other features
BEHIND = "reduction."  # tensors of the backbone that stand behind the trunk


def describe(cfg: DictConfig, recognizer: Recognizer) -> dict[str, dict[str, Any]]:
    """Phase (train, val, test) → all that its features depend on, beside the videos."""
    config: Any = OmegaConf.to_container(cfg, resolve=True)
    backbone = {
        name: value for name, value in config["model"]["backbone"].items() if name not in recognizer.backbone.behind
    }
    common = {
        "version": VERSION,
        "backbone": backbone,
        "weights": digest_of_trunk(recognizer),
        "mean": config["model"]["mean"],
        "std": config["model"]["std"],
        "clip": _clip(config["model"]["clip"]),
        "modality": config["modality"]["name"],
        "keep": "tokens" if recognizer.tokens else "maps",
        "dtype": config["features"]["dtype"],
        "precision": config["features"]["precision"],
    }
    own = plugins.active()
    if own and plugins.owns(str(backbone.get("_target_"))):  # its weights do not tell what it computes
        common["code"] = own.sha256
    data, test = config["data"], config["test"]
    drawn = {"clips": config["features"]["clips"], "flip": data["flip"], "scales": data["scales"]}
    if data["flip"] and data.get("flip_labels", "none") != "none":
        drawn["flip"] = "with another label"  # drawn in another way, see Clips
    return {
        "train": common | {"drawn": drawn},
        "val": common | {"centre": 1},
        "test": common | {"views": {"clips": test["clips"], "crops": test["crops"]}},
    }


def _clip(clip: dict[str, Any]) -> dict[str, Any]:
    """The options of a clip, without those that were added later and have no effect as they stand."""
    kept = {}
    for name, value in clip.items():
        option = declared(f"model.clip.{name}")
        if option is None or option.since != value:
            kept[name] = value
    return kept


def key(description: dict[str, Any]) -> str:
    """Sixteen hex digits of a description."""
    return hashlib.sha256(json.dumps(description, sort_keys=True).encode()).hexdigest()[:16]


def digest_of_trunk(recognizer: Recognizer) -> str:
    """SHA-256 of the trunk's weights: names, shapes and values."""
    digest = hashlib.sha256()
    for name, tensor in sorted(recognizer.backbone.state_dict().items()):
        if name.startswith(BEHIND) or not tensor.is_floating_point():
            continue
        digest.update(f"{name} {tuple(tensor.shape)}".encode())
        digest.update(tensor.detach().to("cpu", torch.float32).contiguous().numpy().tobytes())
    return digest.hexdigest()
