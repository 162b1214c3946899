"""A trained network tested again, on the videos of a data set."""

import shutil
import time
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from pytorch_lightning import seed_everything

from src import files
from src.build.data import build_test_data
from src.build.devices import device_of, lay_out
from src.data.annotations import list_digest
from src.data.datamodule import VideoData
from src.errors import UsageError, UserError
from src.runs import provenance, records
from src.runs.records import SCHEMA, Evaluation, Videos
from src.runs.trained import Trained, new_evaluation
from src.text import console, printable
from src.training import checkpoints, loop, outputs
from src.training.recognition import Recognition

RECORD = "evaluation.json"


def network(trained: Trained, cfg: DictConfig) -> Recognition:
    """The network of a run with its checkpoint's weights, and the classes that it was trained on.

    Raises:
        UserError: the checkpoint cannot be read, or is of another network.
    """
    loop.quiet_lightning()
    seed_everything(cfg.seed, verbose=False)
    module = loop.recognition(cfg, trained.data.classes)
    checkpoints.restore(module, trained.checkpoint)
    return module


def evaluate(trained: Trained, cfg: DictConfig, changed: list[str]) -> Evaluation:
    """Test a run's network as `cfg` says, and write the result into a new folder under the run's `evaluations`.

    changed: options in which `cfg` differs from the run's own configuration.

    Raises:
        UserError: the data cannot be read or have other classes; the checkpoint does not fit.
    """
    if cfg.trainer.devices != 1 or cfg.trainer.num_nodes != 1:
        raise UsageError("trainer.devices, trainer.num_nodes: evaluation runs in one process; leave them out")
    module = network(trained, cfg)
    data = build_test_data(cfg, trained.data.classes)
    module.videos = data.videos
    test = Videos(**list_digest(data.videos["test"]))  # type: ignore[arg-type]
    terminal = console()
    if data.lists.name == trained.data.name and test != trained.data.test:
        terminal.print("note: this is not the test list of the run: the network may have been trained on some of it")
    lay_out(module.recognizer, cfg, device_of(cfg))
    target = new_evaluation(trained.folder)
    try:
        return _test(trained, cfg, changed, module, data, target)
    except BaseException:
        if not (target / RECORD).is_file():  # nothing came of it
            shutil.rmtree(target, ignore_errors=True)
        raise


def _temperature(trained: Trained, module: Recognition, data: VideoData) -> float | None:
    """The one that was fitted on the run's validation videos, where these are others."""
    tested = Videos(**list_digest(data.videos["test"]))  # type: ignore[arg-type]
    return module.temperature if trained.data.val != tested else None


def _test(
    trained: Trained, cfg: DictConfig, changed: list[str], module: Recognition, data: VideoData, target: Path
) -> Evaluation:
    """Test, and write into the folder `target`."""
    terminal = console()
    trainer = loop.make_trainer(cfg, target, [], [])
    start = time.perf_counter()
    with loop.refusals_named():
        trainer.test(module, data, verbose=False)
    scores = module.result
    if scores is None:
        raise UserError("trainer.limit_test_batches=0: no video is tested; leave it out")
    outcome = Evaluation(
        schema=SCHEMA,
        run=str(trained.folder),
        identity=trained.record.identity,
        checkpoint=str(trained.checkpoint),
        overrides=changed,
        origin=provenance.origin(),
        data=data.lists.name,
        root=data.lists.root,
        split=data.lists.split,
        classes=data.lists.classes,
        test=Videos(**list_digest(data.videos["test"])),  # type: ignore[arg-type]
        left_out=list(data.lists.left_out),
        metrics=scores.metrics(),
        tested=len(scores.videos),
        seconds=round(time.perf_counter() - start, 1),
        unreadable=outputs.all_unreadable(trainer, module),
        order=module.order,
        calibration=outputs.calibration(scores, _temperature(trained, module, data)),
        intervals=scores.intervals(),
    )
    outputs.print_test(terminal, outcome)  # first: where the disk is full the figures are not lost
    files.write_text(target / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    scores.save(target / "scores" / "test.npz")
    records.write(target / RECORD, outcome)
    outputs.show(scores, module.recognizer, data, target, [])
    terminal.print(f"results and scores: {printable(target)}")
    return outcome
