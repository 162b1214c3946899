"""One training run from a resolved configuration: build everything, fit, test the best epoch, write results.

`python -m src.job FOLDER [CHECKPOINT]` is one rank of a run whose folder `src.train` has prepared.
"""

import logging
import os
import sys
import time
import warnings
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Callback, Trainer, seed_everything
from pytorch_lightning.loggers import Logger
from rich import get_console

from src import checkpoints, launch, results
from src.build import build, build_data, build_recognizer, skeleton
from src.callbacks import SameConfiguration, WholeFileCheckpoints, callbacks
from src.data.annotations import Video
from src.data.audit import audit
from src.data.datamodule import VideoData
from src.errors import UserError
from src.loggers import loggers, sync_hint
from src.models import weights
from src.models.weights import download
from src.recognition import Recognition
from src.run import identity, read_json, title

log = logging.getLogger(__name__)


def assemble(cfg: DictConfig, initial_weights: bool = True) -> tuple[Recognition, VideoData]:
    """Network and data of a configuration: all that can be refused.

    initial_weights: load what `weights=` names; not needed where a checkpoint comes on top.
    """
    skeleton(cfg, num_classes=2)  # an impossible pair is refused before data is touched
    file = download.obtain(cfg.weights) if initial_weights else None
    data = build_data(cfg)
    seed_everything(cfg.seed, verbose=False)
    recognizer = build_recognizer(cfg, num_classes=len(data.lists.classes))
    if file is not None:
        log.info("%s: %s", file.name, weights.load(recognizer, file).summary)
    module = Recognition(
        recognizer.channels_last() if cfg.model.channels_last else recognizer,
        classes=data.lists.classes,
        optimizer=build(cfg.optim.optimizer),
        scheduler=build(cfg.schedule.scheduler) if cfg.schedule.scheduler else None,
        monitor=cfg.schedule.monitor,
        seed=cfg.seed,
    )
    return module, data


def phases(data: VideoData) -> dict[str, list[Video]]:
    """The videos that each phase of the run uses."""
    return {"train": data.train_videos, "val": data.val_videos, "test": data.test_videos}


def run(cfg: DictConfig, folder: Path, checkpoint: Path | None = None) -> dict[str, Any]:
    """Train and test in this process (one rank, where there are several) and return what results.json says."""
    hush()
    module, data = assemble(cfg, initial_weights=checkpoint is None)
    if checkpoint is not None:
        checkpoints.check_fit(module, checkpoint)
    console = get_console()  # the one that the progress bar is drawn on
    console.soft_wrap = True
    if launch.rank() == 0:
        audit(data.lists, phases(data), folder, console, allow_overlap=cfg.data.allow_overlap)
    made = loggers(cfg, folder, title(cfg))
    bar = bool(cfg.trainer.enable_progress_bar) and sys.stdout.isatty()
    watchers = [SameConfiguration(identity(cfg)), *callbacks(folder, console, cfg.early_stopping, bar)]
    trainer = make_trainer(cfg, folder, made, watchers, bar)
    outcome = results.describe(cfg, data, module)
    if trainer.is_global_zero:
        size = f"{outcome['parameters'] / 1e6:.2f} M parameters"
        console.print(f"{title(cfg)}: {size} → {folder}", highlight=False, markup=False)

    start = time.perf_counter()
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    seconds = {"fit": round(time.perf_counter() - start, 1)}
    best = folder / "checkpoints" / "best.ckpt"
    outcome |= {"epochs": trainer.current_epoch, "best": checkpoints.best_epoch(best), "checkpoint": str(best)}
    if cfg.test.enabled:
        if best.is_file():
            checkpoints.restore(module, best)
        start = time.perf_counter()
        trainer.test(module, data, verbose=False)
        seconds["test"] = round(time.perf_counter() - start, 1)
        outcome |= {"metrics": module.result.metrics(), "tested": len(module.result.videos)}
    outcome |= {"seconds": seconds, "unreadable": results.all_unreadable(trainer, module)}
    if trainer.is_global_zero:
        if cfg.test.enabled:
            results.save_test(module, data, folder, made)
        results.summarize(cfg, outcome, made)
        results.save(folder, {**read_json(folder / "run.json"), **outcome})
        results.tell(console, outcome, folder, sync_hint(made, folder))
    for logger in made:
        logger.finalize("success")
    if "wandb" in sys.modules:  # slow to import: only where it is used
        sys.modules["wandb"].finish()
    return outcome


def make_trainer(
    cfg: DictConfig, folder: Path, made: list[Logger], watchers: list[Callback], bar: bool = False
) -> Trainer:
    """Lightning's loop as conf/trainer sets it, writing under `folder` only."""
    plugins: list[Any] = [WholeFileCheckpoints()]
    if launch.PARENT in os.environ:  # not SLURM's: one of its tasks has started several ranks
        plugins.append(LightningEnvironment())
    trainer: Trainer = build(
        cfg.trainer,
        callbacks=watchers,
        logger=made,
        plugins=plugins,
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )()
    return trainer


def hush() -> None:
    """Keep Lightning's remarks on things that are settled here off the terminal."""
    for name in ("pytorch_lightning", "lightning.fabric", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.utils.data")
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def main(arguments: list[str]) -> None:
    """One rank: the configuration is the folder's, so that no rank can have another one."""
    launch.end_with_parent()
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s", stream=sys.stdout)
    folder = Path(arguments[0])
    cfg = OmegaConf.load(folder / "config.yaml")
    assert isinstance(cfg, DictConfig)
    try:
        run(cfg, folder, Path(arguments[1]) if len(arguments) > 1 else None)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
