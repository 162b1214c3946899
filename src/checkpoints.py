"""Reading the checkpoints that runs write, without unpickling code."""

from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from src.errors import UserError


def read(path: Path) -> dict[str, Any]:
    """A checkpoint's content.

    Raises:
        UserError: there is no such file, or it is no checkpoint of a run.
    """
    if not path.is_file():
        raise UserError(f"checkpoint {path}: there is no such file; give a .ckpt file of a run")
    try:
        content: dict[str, Any] = torch.load(path, map_location="cpu", weights_only=True)
        content["state_dict"]
    except Exception as error:  # torch raises many kinds on foreign files
        reason = (str(error).strip().splitlines() or [type(error).__name__])[0][:160]
        raise UserError(f"checkpoint {path} cannot be read ({reason}); give a .ckpt file of a run") from error
    return content


def check_fit(module: nn.Module, path: Path) -> None:
    """Refuse a checkpoint of another network before anything starts.

    Raises:
        UserError: names or shapes differ from the network's.
    """
    stored: dict[str, Tensor] = read(path)["state_dict"]
    own = module.state_dict()
    wrong = [
        f"{name} is {tuple(stored[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in stored and stored[name].shape != own[name].shape
    ]
    wrong += [f"{name} is missing" for name in own if name not in stored]
    wrong += [f"{name} is left over" for name in stored if name not in own]
    if wrong:
        more = f" and {len(wrong) - 3} more" if len(wrong) > 3 else ""
        raise UserError(
            f"checkpoint {path} does not fit this network: {'; '.join(wrong[:3])}{more}; "
            "use the options of the run that wrote it (config.yaml in its folder)"
        )


def restore(module: nn.Module, path: Path) -> None:
    """Put a checkpoint's weights into the network that it fits."""
    check_fit(module, path)
    module.load_state_dict(read(path)["state_dict"])


def best_epoch(path: Path) -> dict[str, float] | None:
    """Epoch (from 1) and val/top1 of the best checkpoint; None where a run has none."""
    if not path.is_file():
        return None
    content = read(path)
    scores = [
        float(state["best_model_score"])
        for name, state in content["callbacks"].items()
        if "ModelCheckpoint" in name and "val/top1" in name
    ]
    return {"epoch": content["epoch"] + 1, "val_top1": round(scores[0], 4)}
