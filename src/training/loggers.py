"""Where curves go: a CSV file always, W&B by default (offline unless logged in), TensorBoard on request.

A logger may fail at any time (no network, a full disk, an unwritable home): the run warns once and goes on without it.
"""

import hashlib
import logging
import sys
from collections.abc import Callable
from typing import Any

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning.loggers import CSVLogger, Logger, TensorBoardLogger, WandbLogger
from pytorch_lightning.utilities import rank_zero_only

from src.errors import UserError
from src.runs.folder import RunFolder
from src.text import first_line, printable
from src.training.wandb_mode import wandb_mode, warn_offline

log = logging.getLogger(__name__)
LONGEST_TAG = 64  # characters that W&B takes


class Guarded(Logger):
    """A logger that may fail: the first failure is a warning, and nothing more is asked of it."""

    def __init__(self, inner: Logger) -> None:
        super().__init__()
        self.inner: Any = inner
        self.failed = False

    @property
    def name(self) -> str | None:
        name: str | None = self.attempt(lambda: self.inner.name)
        return name

    @property
    def version(self) -> int | str | None:
        version: int | str | None = self.attempt(lambda: self.inner.version)
        return version

    @property
    def is_wandb(self) -> bool:
        return isinstance(self.inner, WandbLogger)

    def attempt(self, action: Callable[[], Any]) -> Any:
        """What `action` returns; None, and a warning once, where it fails."""
        if self.failed:
            return None
        try:
            return action()
        except Exception as error:  # whatever a logger does, the run is worth more
            self.failed = True
            log.warning(
                "%s has failed (%s); the run goes on without it",
                type(self.inner).__name__,
                printable(first_line(error)),
            )
        return None

    @rank_zero_only
    def log_metrics(self, metrics: dict[str, float], step: int | None = None) -> None:
        self.attempt(lambda: self.inner.log_metrics(metrics, step))

    @rank_zero_only
    def log_hyperparams(self, params: Any, *args: Any, **kwargs: Any) -> None:
        self.attempt(lambda: self.inner.log_hyperparams(params, *args, **kwargs))

    @rank_zero_only
    def save(self) -> None:
        self.attempt(lambda: self.inner.save())

    @rank_zero_only
    def finalize(self, status: str) -> None:
        self.attempt(lambda: self.inner.finalize(status))


def loggers(cfg: DictConfig, folder: RunFolder, title: str) -> list[Guarded]:
    """The run's loggers. CSV files are csv/version_N/metrics.csv, one more each time the run is resumed.

    Raises:
        UserError: a package that a chosen logger needs is not installed.
    """
    made: list[Logger] = [CSVLogger(folder.path, name="csv")]
    chosen: Any = cfg.logger or {}
    if "tensorboard" in chosen:
        try:
            made.append(TensorBoardLogger(folder.path, name="tensorboard", version=""))
        except ModuleNotFoundError as error:
            raise UserError("logger=tensorboard needs the package tensorboard; uv pip install tensorboard") from error
    if "wandb" in chosen and (mode := wandb_mode(chosen.wandb.mode)) != "disabled":
        try:
            made.append(_wandb(cfg, folder, title, mode))
        except Exception as error:  # an unwritable home, a wrong project: curves are in the CSV file all the same
            log.warning("W&B cannot be used (%s); the run goes on without it", printable(first_line(error)))
    return [Guarded(logger) for logger in made]


def _wandb(cfg: DictConfig, folder: RunFolder, title: str, mode: str) -> Logger:
    import wandb

    options = cfg.logger.wandb
    # One run of W&B for one folder, also when it is resumed.
    run_id = hashlib.sha256(str(folder.path.resolve()).encode()).hexdigest()[:16]
    arguments: dict[str, Any] = {
        "project": options.project,
        "entity": options.entity,
        "group": options.group,
        "job_type": options.job_type,
        "name": options.name or title,
        "tags": [str(tag)[:LONGEST_TAG] for tag in options.tags],
        "id": run_id,
        "resume": "allow",
        "dir": folder.path,
        "save_dir": folder.path,
        "config": OmegaConf.to_container(cfg, resolve=True),
        "settings": wandb.Settings(init_timeout=60, console="off", silent=True),
    }
    logger = WandbLogger(**arguments, mode=mode)
    try:
        logger.experiment  # noqa: B018 - connects now, so that a missing network shows before training
    except wandb.errors.Error as error:
        warn_offline(error)
        logger = WandbLogger(**arguments, mode="offline")
        logger.experiment  # noqa: B018
    return logger


def sync_hint(made: list[Guarded], folder: RunFolder) -> str | None:
    """How to upload what was logged offline; None where nothing waits."""
    for logger in made:
        if logger.is_wandb and not logger.failed:
            mode = logger.attempt(lambda: logger.inner.experiment.settings.mode)  # noqa: B023
            if mode == "offline":
                return f"wandb sync {folder}/wandb/offline-run-*"
    return None


def close_all(made: list[Guarded]) -> None:
    """End all loggers, W&B's run with them."""
    for logger in made:
        logger.finalize("success")
        if logger.is_wandb:
            logger.attempt(sys.modules["wandb"].finish)
