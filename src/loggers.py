"""Where curves go: a CSV file always, W&B by default (offline unless logged in), TensorBoard on request."""

import hashlib
import logging
import os
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger

from src.errors import UserError

log = logging.getLogger(__name__)
MODES = ("auto", "online", "offline", "disabled")


def loggers(cfg: DictConfig, folder: Path, title: str) -> list[Logger]:
    """The run's loggers. CSV files are csv/version_N/metrics.csv, one more each time the run is resumed."""
    made: list[Logger] = [CSVLogger(folder, name="csv")]
    chosen: Any = cfg.logger or {}
    if "tensorboard" in chosen:
        try:
            made.append(TensorBoardLogger(folder, name="tensorboard", version=""))
        except ModuleNotFoundError as error:
            raise UserError(
                "logger=tensorboard needs the package tensorboard; uv pip install tensorboard"
            ) from error
    if "wandb" in chosen and (mode := wandb_mode(chosen.wandb.mode)) != "disabled":
        made.append(_wandb(cfg, folder, title, mode))
    return made


def wandb_mode(wanted: str) -> str:
    """online, offline or disabled. `auto` follows $WANDB_MODE, else is online only where an API key is stored."""
    if wanted not in MODES:
        raise UserError(f"logger.wandb.mode={wanted} does not exist; it can be: {', '.join(MODES)}")
    if wanted != "auto":
        return wanted
    if mode := os.environ.get("WANDB_MODE"):
        return mode if mode in MODES[1:] else "offline"
    os.environ.setdefault("WANDB_SILENT", "true")
    import wandb  # slow to import: only where it is used

    try:
        return "online" if wandb.login(prompt=False) else "offline"
    except wandb.errors.Error as error:  # a key, but no network to try it
        _say_offline(error)
        return "offline"


def _wandb(cfg: DictConfig, folder: Path, title: str, mode: str) -> Logger:
    import wandb

    options = cfg.logger.wandb
    # One run of W&B for one folder, also when it is resumed.
    run_id = hashlib.sha256(str(folder.resolve()).encode()).hexdigest()[:16]
    arguments: dict[str, Any] = {
        "project": options.project,
        "entity": options.entity,
        "group": options.group,
        "job_type": options.job_type,
        "name": options.name or title,
        "tags": list(options.tags),
        "id": run_id,
        "resume": "allow",
        "dir": folder,
        "save_dir": folder,
        "config": OmegaConf.to_container(cfg, resolve=True),
        "settings": wandb.Settings(init_timeout=60, console="off", silent=True),
    }
    logger = WandbLogger(**arguments, mode=mode)
    try:
        logger.experiment  # noqa: B018 - connects now, so that no network is found out before training
    except wandb.errors.Error as error:
        _say_offline(error)
        logger = WandbLogger(**arguments, mode="offline")
    return logger


def _say_offline(error: Exception) -> None:
    log.warning("W&B cannot be reached (%s); logging offline", str(error).splitlines()[0])


def sync_hint(made: list[Logger], folder: Path) -> str | None:
    """How to upload what was logged offline; None where nothing waits."""
    for logger in made:
        if isinstance(logger, WandbLogger) and logger.experiment.settings.mode == "offline":
            return f"wandb sync {folder}/wandb/offline-run-*"
    return None
