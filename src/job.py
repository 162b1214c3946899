"""One training run from a resolved configuration: build everything, fit, test the best epoch, write results.

`python -m src.job FOLDER [CHECKPOINT]` is one rank of a run whose folder `src.train` has prepared.
"""

import logging
import sys
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
import torch
import wandb
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer, seed_everything
from pytorch_lightning.loggers import WandbLogger
from rich.console import Console

from src import atomic, mistakes
from src.build import build, build_data, build_recognizer
from src.callbacks import WholeFileCheckpoints, callbacks
from src.data.annotations import identity as list_identity
from src.data.datamodule import VideoData
from src.errors import UserError
from src.loggers import loggers, sync_hint
from src.recognition import Recognition
from src.run import read_json, title
from src.scores import Scores

log = logging.getLogger(__name__)
WORST = 8  # mistakes that are shown with their video


def assemble(cfg: DictConfig) -> tuple[Recognition, VideoData]:
    """Network (with pretrained weights) and data of a configuration: all that can be refused."""
    with torch.device("meta"):
        build_recognizer(cfg, num_classes=2)  # an impossible pair is refused before data is touched
    data = build_data(cfg)
    seed_everything(cfg.seed, verbose=False)
    recognizer = build_recognizer(cfg, num_classes=len(data.lists.classes))
    module = Recognition(
        recognizer,
        classes=data.lists.classes,
        optimizer=build(cfg.optim.optimizer),
        scheduler=build(cfg.schedule.scheduler) if cfg.schedule.scheduler else None,
        monitor=cfg.schedule.monitor,
        seed=cfg.seed,
    )
    return module, data


def run(cfg: DictConfig, folder: Path, checkpoint: Path | None = None) -> dict[str, Any]:
    """Train and test in this process (one rank, where there are several) and return what results.json says."""
    _quiet()
    module, data = assemble(cfg)
    if checkpoint is not None:
        check_fit(module, checkpoint)
    console = Console(soft_wrap=True)
    made = loggers(cfg, folder, title(cfg))
    bar = cfg.trainer.enable_progress_bar and sys.stdout.isatty()
    trainer: Trainer = build(
        cfg.trainer,
        callbacks=callbacks(folder, console, cfg.early_stopping, bar),
        logger=made,
        plugins=[WholeFileCheckpoints()],
        enable_progress_bar=bar,
        enable_model_summary=False,
        use_distributed_sampler=False,
        default_root_dir=folder,
    )()
    if trainer.is_global_zero:
        count = sum(p.numel() for p in module.recognizer.parameters())
        console.print(f"{title(cfg)}: {count / 1e6:.2f} M parameters → {folder}", highlight=False)
    start = time.perf_counter()
    trainer.fit(module, data, ckpt_path=checkpoint, weights_only=True)
    fitted = time.perf_counter()
    best = folder / "checkpoints" / "best.ckpt"
    results = {
        **summary(cfg, data, module),
        "epochs": trainer.current_epoch,
        "best": _best(best),
        "seconds": {"fit": round(fitted - start, 1)},
        "checkpoint": str(best),
    }
    if cfg.test:
        if best.is_file():
            load_weights(module, best)
        trainer.test(module, data, verbose=False)
        results["seconds"]["test"] = round(time.perf_counter() - fitted, 1)
        results["metrics"] = module.result.metrics()
        results["tested"] = len(module.result.videos)
    results["unreadable"] = _all_unreadable(trainer, module)
    if trainer.is_global_zero:
        if cfg.test:
            module.result.save(folder / "scores" / "test.npz")
            _show(module.result, data, folder, made, results)
        atomic.write_json(folder / "results.json", {**read_json(folder / "run.json"), **results})
        _tell(console, results, folder, sync_hint(made, folder))
    for logger in made:
        logger.finalize("success")
    if any(isinstance(logger, WandbLogger) for logger in made) and trainer.is_global_zero:
        wandb.finish()
    return results


def summary(cfg: DictConfig, data: VideoData, module: Recognition) -> dict[str, Any]:
    """What a result needs beside it: protocol, split, seed, size, and which videos it speaks of."""
    return {
        "protocol": OmegaConf.to_container(cfg.protocol),
        "split": cfg.data.get("split"),
        "seed": cfg.seed,
        "modality": cfg.modality.name,
        "parameters": sum(p.numel() for p in module.recognizer.parameters()),
        "data": {
            "name": data.lists.name,
            "root": data.lists.root,
            "classes": len(data.lists.classes),
            **{phase: list_identity(getattr(data, f"{phase}_videos")) for phase in ("train", "val", "test")},
        },
    }


def check_fit(module: Recognition, checkpoint: Path) -> None:
    """Refuse a checkpoint of another network before anything starts.

    Raises:
        UserError: the file is no checkpoint, or names and shapes differ from the network's.
    """
    stored, own = read_weights(checkpoint), module.state_dict()
    wrong = [
        f"{name} {tuple(stored[name].shape)} instead of {tuple(own[name].shape)}"
        for name in own
        if name in stored and stored[name].shape != own[name].shape
    ]
    wrong += [f"{n} is missing" for n in own if n not in stored] + [
        f"{n} is left over" for n in stored if n not in own
    ]
    if wrong:
        raise UserError(
            f"checkpoint {checkpoint} does not fit this network: {'; '.join(wrong[:3])}"
            f"{f' and {len(wrong) - 3} more' if len(wrong) > 3 else ''}; "
            "use the options of the run that wrote it (config.yaml beside it)"
        )


def read_weights(checkpoint: Path) -> dict[str, torch.Tensor]:
    """The state dict of a checkpoint that a run of this project wrote."""
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        state: dict[str, torch.Tensor] = content["state_dict"]
    except Exception as error:  # torch raises many kinds on foreign files
        reason = str(error).strip().splitlines()[0] if str(error).strip() else type(error).__name__
        raise UserError(f"checkpoint {checkpoint} cannot be read ({reason}); give a .ckpt file of a run") from error
    return state


def load_weights(module: Recognition, checkpoint: Path) -> None:
    """Put a checkpoint's weights into the module."""
    module.load_state_dict(read_weights(checkpoint))


def _best(best: Path) -> dict[str, Any] | None:
    if not best.is_file():
        return None
    content = torch.load(best, map_location="cpu", weights_only=True)
    for name, state in content["callbacks"].items():
        if "ModelCheckpoint" in name and "val/top1" in name:
            return {"epoch": content["epoch"] + 1, "val_top1": round(float(state["best_model_score"]), 4)}
    return {"epoch": content["epoch"] + 1}


def _all_unreadable(trainer: Trainer, module: Recognition) -> dict[str, list[str]]:
    """Phase → messages of the videos that could not be read, from every rank."""
    parts: list[Any] = [dict(module.unreadable)]
    if trainer.world_size > 1:
        parts = [None] * trainer.world_size
        torch.distributed.all_gather_object(parts, dict(module.unreadable))
    merged: dict[str, set[str]] = {}
    for part in parts:
        for phase, messages in part.items():
            merged.setdefault(phase, set()).update(messages)
    return {phase: sorted(messages) for phase, messages in merged.items() if messages}


def _show(scores: Scores, data: VideoData, folder: Path, made: list[Any], results: dict[str, Any]) -> None:
    """Confusion matrix and worst mistakes, into the folder and to W&B."""
    picture = mistakes.save_confusion(scores, folder)
    by_name = {video.name: video for video in data.test_videos}

    def frames_of(name: str) -> NDArray[np.uint8]:
        frames: NDArray[np.uint8] = data.frames(by_name[name])
        return frames

    rows = mistakes.save_clips(mistakes.worst(scores, WORST), frames_of, folder)
    for logger in made:
        if isinstance(logger, WandbLogger):
            logger.experiment.summary.update({f"test/{k}": v for k, v in results["metrics"].items()})
            logger.experiment.log({"confusion": wandb.Image(str(picture))})
            if rows:
                table = wandb.Table(columns=[*rows[0]])
                for row in rows:
                    clip = wandb.Video(str(folder / "mistakes" / row["clip"]), format="mp4")
                    table.add_data(*{**row, "clip": clip}.values())
                logger.experiment.log({"worst mistakes": table})


def _tell(console: Console, results: dict[str, Any], folder: Path, hint: str | None) -> None:
    for phase, messages in results["unreadable"].items():
        console.print(f"{phase}: {len(messages)} videos could not be read and were left out:", style="bold red")
        for message in messages:
            console.print(f"  {message}", highlight=False, markup=False)
    if "metrics" in results:
        values = "  ".join(f"{name} {value:.2f} %" for name, value in results["metrics"].items())
        console.print(f"test over {results['tested']} videos: {values}", highlight=False)
    console.print(f"results, scores, curves and checkpoints: {folder}", highlight=False, markup=False)
    if hint:
        console.print(f"logged offline; to upload: {hint}", highlight=False, markup=False)


def _quiet() -> None:
    """Keep Lightning's remarks on things that are settled here off the terminal."""
    for name in (
        "pytorch_lightning",
        "lightning.pytorch",
        "lightning.fabric",
        "pytorch_lightning.utilities.rank_zero",
    ):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.utils.data")
    warnings.filterwarnings("ignore", category=DeprecationWarning)


def main(arguments: list[str]) -> None:
    """One rank: the configuration is the folder's, so that no rank can have another one."""
    folder = Path(arguments[0])
    cfg = OmegaConf.load(folder / "config.yaml")
    assert isinstance(cfg, DictConfig)
    try:
        run(cfg, folder, Path(arguments[1]) if len(arguments) > 1 else None)
    except UserError as error:
        sys.exit(f"error: {error}")


if __name__ == "__main__":
    main(sys.argv[1:])
