"""What a finished test leaves behind: results.json, per-video scores, confusion matrix, worst mistakes."""

from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from pytorch_lightning.loggers import Logger, WandbLogger
from rich.console import Console

from src import attention, complexity, files, mistakes
from src.data.annotations import identity
from src.data.datamodule import VideoData
from src.models.cost import total
from src.recognition import Recognition

WORST = 8  # mistakes that are shown with their video


def describe(cfg: DictConfig, data: VideoData, module: Recognition) -> dict[str, Any]:
    """What a number needs beside it: protocol, split, seed, size, and which videos it speaks of."""
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
            "left_out": list(data.lists.left_out),
            **{phase: identity(getattr(data, f"{phase}_videos")) for phase in ("train", "val", "test")},
            # The same for every seed, while a hold-out parts it otherwise for each.
            "train_val": identity([*data.train_videos, *data.val_videos]),
        },
    }


def all_unreadable(trainer: Trainer, module: Recognition) -> dict[str, list[str]]:
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


def save_test(module: Recognition, data: VideoData, folder: Path, loggers: list[Logger]) -> None:
    """Scores, confusion matrix, worst mistakes and BERT's attention, into the folder and to W&B."""
    scores = module.result
    scores.save(folder / "scores" / "test.npz")
    if not scores.videos:
        return
    pictures = {"confusion": mistakes.save_confusion(scores, folder)}
    by_name = {video.name: video for video in data.test_videos}

    def frames_of(name: str) -> NDArray[np.uint8]:
        frames: NDArray[np.uint8] = data.frames(by_name[name])
        return frames

    if attention.is_told(module.recognizer):
        pictures["attention"] = attention.save(module.recognizer, frames_of(scores.videos[0]), folder)
    rows = mistakes.save_clips(mistakes.worst(scores, WORST), frames_of, folder)
    for logger in loggers:
        if not isinstance(logger, WandbLogger):
            continue
        import wandb  # slow to import: only where it is used

        logger.experiment.log({name: wandb.Image(str(path)) for name, path in pictures.items()})
        if rows:
            table = wandb.Table(columns=[*rows[0]])
            for row in rows:
                clip = wandb.Video(str(folder / "mistakes" / row["clip"]), format="mp4")
                table.add_data(*{**row, "clip": clip}.values())
            logger.experiment.log({"worst mistakes": table})


def summarize(cfg: DictConfig, outcome: dict[str, Any], loggers: list[Logger]) -> None:
    """The columns of the report's table as the run's summary in W&B, to filter and compare runs by."""
    wandb_loggers = [logger for logger in loggers if isinstance(logger, WandbLogger)]
    if not wandb_loggers:
        return
    cost = total(complexity.of_configuration(cfg, outcome["data"]["classes"]))
    columns = {
        "model": cfg.model.name,
        "pooling": cfg.pooling.name,
        "modality": cfg.modality.name,
        "optimizer": cfg.optim.name,
        "protocol": cfg.protocol.name,
        "data": outcome["data"]["name"],
        "split": outcome["split"],
        "seed": outcome["seed"],
        "params M": round(cost.params / 1e6, 2),
        "operations G": round(cost.operations / 1e9, 2),
        "MACs G": round(cost.macs / 1e9, 2),
        "best epoch": (outcome["best"] or {}).get("epoch"),
        "test videos": outcome.get("tested"),
        **{f"test/{name}": value for name, value in outcome.get("metrics", {}).items()},
    }
    for logger in wandb_loggers:
        logger.experiment.summary.update(columns)


def save(folder: Path, values: dict[str, Any]) -> None:
    """Write results.json, the sign that a run is finished."""
    files.write_json(folder / "results.json", values)


def tell(console: Console, results: dict[str, Any], folder: Path, hint: str | None) -> None:
    """The end of a run on the terminal: what was left out, the metrics, where everything is."""
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
