"""What a finished run writes: results.json and scores first, then pictures and loggers, which can only warn."""

import logging
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import torch
from numpy.typing import NDArray
from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import Trainer
from rich.console import Console

from src.build.network import measure_network
from src.data.annotations import Lists, Video, list_digest
from src.data.datamodule import VideoData
from src.metrics import BINS
from src.models import cost as network_cost
from src.models.recognizer import Recognizer
from src.runs.records import SCHEMA, Best, Calibration, Cost, DataRecord, Evaluation, Origin, Results, Videos
from src.scores import Scores
from src.text import first_line, printable
from src.training import attention, mistakes, order
from src.training.loggers import Guarded
from src.training.recognition import Recognition

log = logging.getLogger(__name__)
WORST = 8  # mistakes that are shown with their video


def data_record(lists: Lists, videos: dict[str, list[Video]]) -> DataRecord:
    """Which videos and classes a run has."""
    digests = {phase: Videos(**list_digest(own)) for phase, own in videos.items()}  # type: ignore[arg-type]
    both = list_digest([*videos["train"], *videos["val"]])
    return DataRecord(
        schema=SCHEMA,
        name=lists.name,
        root=lists.root,
        split=lists.split,
        official=lists.official,
        classes=lists.classes,
        left_out=list(lists.left_out),
        train_val=Videos(**both),  # type: ignore[arg-type]
        **digests,
    )


def cost_of(cfg: DictConfig, classes: int) -> Cost:
    """Parameters and operations of the network for one clip; nothing is computed."""
    total = network_cost.total(measure_network(cfg, classes))
    return Cost(total.params, total.macs, total.operations)


def results(
    cfg: DictConfig,
    *,
    title: str,
    identity: str,
    origin: Origin,
    settings: dict[str, Any],
    data: DataRecord,
    cost: Cost,
    module: Recognition,
    epochs: int,
    best: Best | None,
    checkpoint: str | None,
    seconds: dict[str, float],
    unreadable: dict[str, list[str]],
) -> Results:
    """Everything that results.json says."""
    protocol: Any = OmegaConf.to_container(cfg.protocol)
    tested = module.result
    return Results(
        schema=SCHEMA,
        title=title,
        identity=identity,
        origin=origin,
        model=str(cfg.model.name),
        pooling=str(cfg.pooling.name),
        modality=cfg.modality.name,
        optimizer=str(cfg.optim.name),
        protocol=protocol,
        split=data.split,
        seed=cfg.seed,
        cost=cost,
        data=data,
        epochs=epochs,
        best=best,
        checkpoint=checkpoint,
        diverged=module.diverged,
        metrics=tested.metrics() if tested else None,
        tested=len(tested.videos) if tested else 0,
        seconds=seconds,
        unreadable=unreadable,
        settings=settings,
        order=module.order,
        calibration=calibration(tested, module.temperature if data.val != data.test else None) if tested else None,
        intervals=tested.intervals() if tested else {},
    )


def calibration(scores: Scores, temperature: float | None) -> Calibration | None:
    """How far the probabilities can be believed, as they are and with a temperature; None where scores are not finite.

    None too where a video may show several classes.

    temperature: fitted on other videos than these.
    """
    if not scores.calibrated:
        return None
    plain = {name: round(value, 4) for name, value in scores.confidences().measures().items()}
    if temperature is None:
        return Calibration(BINS, plain["ece"], plain["nll"], None, None, None)
    scaled = {name: round(value, 4) for name, value in scores.confidences(temperature).measures().items()}
    return Calibration(BINS, plain["ece"], plain["nll"], round(temperature, 4), scaled["ece"], scaled["nll"])


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


def show(scores: Scores, recognizer: Recognizer, data: VideoData | None, folder: Path, loggers: list[Guarded]) -> None:
    """Confusion matrix, attention and worst mistakes, into the folder and to W&B. A failure is a warning.

    data: where the videos are; None: no video is opened, and there is the confusion matrix alone.
    """
    pictures: dict[str, Path] = {}
    rows: list[dict[str, Any]] = []
    if scores.targets is None:
        _try("confusion matrix", lambda: pictures.update(confusion=mistakes.save_confusion(scores, folder)))
    if data is not None:
        _show_videos(scores, recognizer, data, folder, pictures, rows)
    for logger in loggers:
        if logger.is_wandb:
            logger.attempt(lambda: _log_pictures(logger, pictures, rows, folder))  # noqa: B023


def _show_videos(
    scores: Scores,
    recognizer: Recognizer,
    data: VideoData,
    folder: Path,
    pictures: dict[str, Path],
    rows: list[dict[str, Any]],
) -> None:
    by_name = {video.name: video for video in data.videos["test"]}

    def frames_of(name: str) -> NDArray[np.uint8]:
        frames: NDArray[np.uint8] = data.frames(by_name[name])
        return frames

    if attention.has_attention(recognizer):
        _try(
            "attention",
            lambda: pictures.update(attention=attention.save(recognizer, frames_of(scores.videos[0]), folder)),
        )
    if scores.targets is None:
        _try(
            "worst mistakes", lambda: rows.extend(mistakes.save_clips(mistakes.worst(scores, WORST), frames_of, folder))
        )


def _try(what: str, action: Callable[[], Any]) -> None:
    """Results are written by now: whatever a picture suffers, the run is finished."""
    try:
        action()
    except Exception as error:
        log.warning("%s: not written (%s)", what, printable(first_line(error)))


def _log_pictures(logger: Guarded, pictures: dict[str, Path], rows: list[dict[str, Any]], folder: Path) -> None:
    import wandb  # slow to import: only where it is used

    experiment = logger.inner.experiment
    experiment.log({name: wandb.Image(str(path)) for name, path in pictures.items()})
    if not rows:
        return
    table = wandb.Table(columns=[*rows[0]])
    for row in rows:
        clip = wandb.Video(str(folder / "mistakes" / row["clip"]), format="mp4")
        table.add_data(*{**row, "clip": clip}.values())
    experiment.log({"worst mistakes": table})


def summarize(outcome: Results, loggers: list[Guarded]) -> None:
    """The columns of the report's table as the run's summary in W&B, to filter and compare runs by."""
    columns = {
        "model": outcome.model,
        "pooling": outcome.pooling,
        "modality": outcome.modality,
        "optimizer": outcome.optimizer,
        "protocol": outcome.protocol.get("name"),
        "data": outcome.data.name,
        "split": outcome.split,
        "seed": outcome.seed,
        "params M": round(outcome.cost.params / 1e6, 2),
        "operations G": round(outcome.cost.operations / 1e9, 2),
        "MACs G": round(outcome.cost.macs / 1e9, 2),
        "best epoch": outcome.best.epoch if outcome.best else None,
        "test videos": outcome.tested,
        **{f"test/{name}": value for name, value in (outcome.metrics or {}).items()},
    }
    for logger in loggers:
        if logger.is_wandb:
            logger.attempt(lambda: logger.inner.experiment.summary.update(columns))  # noqa: B023


def print_summary(console: Console, outcome: Results, folder: Path, hint: str | None = None) -> None:
    """The end of a run on the terminal: what was left out, the metrics, where everything is."""
    if outcome.diverged:
        console.print("the training loss was not finite (on_divergence=continue)", style="bold red")
    print_test(console, outcome)
    console.print(f"results, scores, curves and checkpoints: {printable(folder)}")
    if hint:
        console.print(f"logged offline; to upload: {printable(hint)}")


def _interval(interval: tuple[float, float] | None) -> str:
    return "" if interval is None else f" ({interval[0]:.1f} to {interval[1]:.1f})"


def _calibration_line(found: Calibration) -> str:
    line = f"calibration: ECE {found.ece:.2f} %, NLL {found.nll:.3f}"
    if found.temperature is None:
        return line
    return (
        f"{line}; with temperature {found.temperature:.2f}, fitted on the validation videos: "
        f"ECE {found.scaled_ece:.2f} %, NLL {found.scaled_nll:.3f}"
    )


def print_test(console: Console, outcome: Results | Evaluation) -> None:
    """What was left out, the metrics, and what the order of time matters to them."""
    for phase, messages in outcome.unreadable.items():
        console.print(f"{phase}: {len(messages)} videos could not be read and were left out:", style="bold red")
        for message in messages:
            console.print(f"  {printable(message)}")
    if outcome.metrics is not None:
        values = []
        for name, value in outcome.metrics.items():
            values.append(f"{name} {value:.2f} %{_interval(outcome.intervals.get(name))}")
        console.print(f"test over {outcome.tested} videos: {'  '.join(values)}")
    if outcome.calibration is not None:
        console.print(_calibration_line(outcome.calibration))
    if outcome.order is not None:
        for sentence in order.sentences(outcome.order):
            console.print(sentence)
