"""One run, from a resolved configuration to its results: build everything, fit, test the best epoch, write.

Each function is one step of it, in this process (one rank, where there are several). `src/training/recognition.py` has
the loss and the metrics, `src/training/callbacks.py` what happens around an epoch.
"""

import logging
import sys
import time
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from lightning_fabric.plugins.environments.lightning import LightningEnvironment
from lightning_fabric.utilities.exceptions import MisconfigurationException
from omegaconf import DictConfig
from pytorch_lightning import Callback, Trainer, seed_everything
from rich import get_console
from rich.console import Console

from src.build.data import build_data
from src.build.devices import device_of, keep_memory, lay_out
from src.build.instantiate import NONSENSE
from src.build.instantiate import build as instantiate
from src.build.network import build_recognizer, measure_network
from src.data.audit import audit
from src.data.datamodule import VideoData
from src.data.handover import worker_errors_named
from src.errors import UserError
from src.frozen.build import check_precision, feature_data, keeps_features
from src.frozen.data import FeatureData
from src.models import weights
from src.models.weights import download
from src.models.weights.stated import stated as stated_layout
from src.runs import ranks, records
from src.runs.folder import RunFolder
from src.runs.records import Cost, DataRecord, Results, RunRecord
from src.signals import stop_behind
from src.training import checkpoints, outputs
from src.training.callbacks import callbacks
from src.training.checkpoints import BestAndLast, WholeFileCheckpoints
from src.training.loggers import Guarded, close_all, loggers, sync_hint
from src.training.recipe import Recipe, check_recipe
from src.training.recognition import Recognition

log = logging.getLogger(__name__)
LESS = "use less of it: recipe.batch_size, test.view_batch, data.workers, or smaller clips"
OURS = ("compile", "profile")  # options of conf/trainer that Lightning doesn't know
PAUSE_S = 10  # between checkpoints on kept features, where an epoch may cost less than writing one
MENDS = {  # what PyTorch's errors say → what to do
    "unscaling of gradients internally": "trainer.gradient_clip_val with trainer.precision=16-mixed needs "
    "optim.optimizer.fused=false; or take trainer.precision=bf16-mixed",
    "more than 1 value per channel": "a batch of one clip whose feature map is a single value cannot be normalised; "
    "give larger clips (model.clip.frames, model.clip.crop), or a recipe.batch_size that leaves no batch of one",
    "No working C++ compiler": "trainer.compile=true needs a C++ compiler on a CPU; install g++, or leave it out",
    "working triton installation": "trainer.compile=true needs triton on a GPU; pip install triton, or leave it out",
    "MemoryError": f"there is not enough memory; {LESS}",
    "can't allocate memory": f"there is not enough memory; {LESS}",
    "OutOfMemoryError": f"there is not enough memory on the device; {LESS}",
}


@dataclass
class Session:
    """A run in progress."""

    cfg: DictConfig
    folder: RunFolder
    record: RunRecord
    data_record: DataRecord
    cost: Cost
    checkpoint: Path | None  # to go on from
    module: Recognition
    data: VideoData | FeatureData
    trainer: Trainer
    loggers: list[Guarded]
    console: Console
    seconds: dict[str, float] = field(default_factory=dict)

    @property
    def checkpoints(self) -> BestAndLast:
        """The callback that knows the best epoch."""
        return next(one for one in self.trainer.callbacks if isinstance(one, BestAndLast))  # type: ignore[attr-defined]


def run(cfg: DictConfig, folder: RunFolder, checkpoint: Path | None = None) -> Results | None:
    """Train and test; returns what results.json says (None on ranks other than the first)."""
    session = build(cfg, folder, checkpoint)
    try:
        fill(session)
        fit(session)
        test(session)
        return write(session)
    finally:
        close(session)


def build(cfg: DictConfig, folder: RunFolder, checkpoint: Path | None = None) -> Session:
    """Network, data, loggers and trainer: all that can be refused, before anything slow happens.

    checkpoint: of a run to go on from.
    """
    quiet_lightning()
    record = folder.read_run()
    assert record is not None  # src.runs.start writes it
    module, data = assemble(cfg, initial_weights=checkpoint is None)
    if checkpoint is not None:
        checkpoints.check_continues(
            module, module.new_optimizer(), checkpoint, cfg.recipe.epochs, averaged=cfg.recipe.ema is not None
        )
    costs = outputs.cost_of(cfg, len(data.lists.classes))
    bar = bool(cfg.trainer.enable_progress_bar) and sys.stdout.isatty()
    console = get_console()  # the one that the progress bar is drawn on
    console.soft_wrap = True
    console._highlight = console._markup = False  # names are shown as they are
    pause = PAUSE_S if keeps_features(cfg) else 0
    watchers = callbacks(folder, console, record.identity, cfg, bar, pause)
    trainer = make_trainer(cfg, folder.path, [], watchers, bar)
    about_data = outputs.data_record(data.lists, data.videos)
    if ranks.rank() == 0:
        audit(data.lists, data.videos, folder.path, console, allow_overlap=cfg.data.allow_overlap)
        records.write(folder.data, about_data)
        if checkpoint is not None:
            checkpoints.bring_best(checkpoint, folder)
    made = loggers(cfg, folder, record.title)  # last: one that is connected shows the run to others
    trainer.loggers = list(made)
    if trainer.is_global_zero:
        size = sum(p.numel() for p in module.recognizer.parameters()) / 1e6
        console.print(f"{record.title}: {size:.2f} M parameters → {folder}")
    features = as_features(cfg, module, data, trainer, checkpoint)
    return Session(cfg, folder, record, about_data, costs, checkpoint, module, features or data, trainer, made, console)


def assemble(cfg: DictConfig, initial_weights: bool = True) -> tuple[Recognition, VideoData]:
    """Network and data of a configuration.

    initial_weights: load what `weights=` names; not needed where a checkpoint comes on top.
    """
    keep_memory(device_of(cfg))
    check_precision(cfg)
    layout = stated_layout(cfg.weights)
    measure_network(cfg, num_classes=2)  # an impossible network, or recipe, is refused before data is touched
    check_recipe(cfg)
    file = download.obtain(cfg.weights) if initial_weights else None
    data = build_data(cfg)
    seed_everything(cfg.seed, verbose=False)
    module = recognition(cfg, data.lists.classes, data)
    if file is not None:
        log.info("%s: %s", file.name, weights.load(module.recognizer, file, layout).summary)
    elif initial_weights and cfg.freeze.kind != "none":
        log.warning("freeze=%s with weights=none: what is frozen are random weights", cfg.freeze.kind)
    elif initial_weights and cfg.recipe.batch_norm != "train":
        log.warning("recipe.batch_norm=%s with weights=none: no data has made these statistics", cfg.recipe.batch_norm)
    lay_out(module.recognizer, cfg, device_of(cfg))
    if cfg.model.checkpointing and not module.recognizer.checkpointing():
        raise UserError("model.checkpointing=true: this network's maps cannot be computed again; leave it out")
    if cfg.trainer.compile:
        module.recognizer.compile_regions()
    return module, data


def recognition(cfg: DictConfig, classes: list[str], data: VideoData | None = None) -> Recognition:
    """The network of a configuration for these classes, ready for training or testing."""
    recognizer = build_recognizer(cfg, num_classes=len(classes))
    if cfg.recipe.batch_norm != "train":
        recognizer.keep_norms(fixed=cfg.recipe.batch_norm == "fixed")
    return Recognition(
        recognizer,
        classes=classes,
        videos=data.videos if data else {},
        optimizer=instantiate(cfg.optim.optimizer),
        scheduler=instantiate(cfg.schedule.scheduler) if cfg.schedule.scheduler else None,
        monitor=cfg.schedule.monitor,
        seed=cfg.seed,
        stop_on_divergence=cfg.on_divergence == "stop",
        test_order=cfg.test.order,
        mirror=data.mirror if data else None,
        recipe=Recipe.of(cfg),
        multilabel=bool(cfg.data.get("multilabel")),
    )


def as_features(
    cfg: DictConfig, module: Recognition, data: VideoData, trainer: Trainer, checkpoint: Path | None
) -> FeatureData | None:
    """The data as features of the frozen backbone, where the configuration wants that."""
    if not keeps_features(cfg):
        return None
    if checkpoint is not None:
        checkpoints.restore(module, checkpoint)  # features are those of its backbone
    device = trainer.strategy.root_device
    return feature_data(cfg, data, module.recognizer, device, trainer.global_rank, trainer.world_size)


def fill(session: Session) -> None:
    """Compute the features that are missing, where the backbone is frozen."""
    if not isinstance(session.data, FeatureData):
        return
    phases = ["train", "val", *(["test"] if session.cfg.test.enabled else [])]
    console = session.console if ranks.rank() == 0 else Console(quiet=True)
    with refusals_named():
        filled = session.data.fill(phases, console)
    session.seconds["features"] = round(filled.seconds, 1)


def fit(session: Session) -> None:
    """Train, from the beginning or the checkpoint."""
    start = time.perf_counter()
    with refusals_named():
        session.trainer.fit(session.module, session.data, ckpt_path=session.checkpoint, weights_only=True)
    session.seconds["fit"] = round(time.perf_counter() - start, 1)


def test(session: Session) -> None:
    """Test the best epoch; the last one where no epoch was validated.

    It is read from its file in either case: a run that was cut off before its test has nothing else.
    """
    if not session.cfg.test.enabled:
        return
    file = tested_checkpoint(session)
    if file is not None:
        checkpoints.restore(session.module, file)
    start = time.perf_counter()
    with refusals_named():
        session.trainer.test(session.module, session.data, verbose=False)
    session.seconds["test"] = round(time.perf_counter() - start, 1)


def tested_checkpoint(session: Session) -> Path | None:
    """The best epoch's checkpoint, else the last one's; None where there was nothing to train on."""
    if session.checkpoints.best is not None:
        return session.folder.best
    return session.folder.last if session.folder.last.is_file() else None


def write(session: Session) -> Results | None:
    """Scores and results.json, then pictures, loggers and the summary."""
    unreadable = outputs.all_unreadable(session.trainer, session.module)
    if not session.trainer.is_global_zero:
        return None
    file = tested_checkpoint(session)
    outcome = outputs.results(
        session.cfg,
        title=session.record.title,
        identity=session.record.identity,
        origin=session.record.origin,
        settings=session.record.description,
        data=session.data_record,
        cost=session.cost,
        module=session.module,
        epochs=session.trainer.current_epoch,
        best=session.checkpoints.best,
        checkpoint=str(file.relative_to(session.folder.path)) if file else None,
        seconds=session.seconds,
        unreadable=unreadable,
    )
    scores = session.module.result
    if scores is not None:
        scores.save(session.folder.scores)
    records.write(session.folder.results, outcome)
    if scores is not None:
        clips = None if isinstance(session.data, FeatureData) else session.data  # features need no decoder
        outputs.show(scores, session.module.recognizer, clips, session.folder.path, session.loggers)
    outputs.summarize(outcome, session.loggers)
    hint = sync_hint(session.loggers, session.folder)
    outputs.print_summary(session.console, outcome, session.folder.path, hint)
    return outcome


def close(session: Session) -> None:
    """End the loggers, whatever has happened."""
    close_all(session.loggers)


def make_trainer(
    cfg: DictConfig, folder: Path, made: list[Guarded], watchers: list[Callback], bar: bool = False
) -> Trainer:
    """Lightning's loop as conf/trainer sets it, writing under `folder` only.

    Raises:
        UserError: Lightning refuses a setting, for example a device that is not there.
    """
    plugins: list[Any] = [WholeFileCheckpoints()]
    if ranks.started_here():  # not SLURM's: one of its tasks has started several ranks
        plugins.append(LightningEnvironment())
    settings = {name: value for name, value in cfg.trainer.items() if name not in OURS}
    try:
        trainer: Trainer = instantiate(
            settings,
            callbacks=watchers,
            logger=made,
            plugins=plugins,
            enable_progress_bar=bar,
            enable_model_summary=False,
            use_distributed_sampler=False,
            default_root_dir=folder,
        )()
    except (*NONSENSE, ImportError, MisconfigurationException) as error:
        raise _refused(error) from error
    # Lightning's own handler of SIGTERM broadcasts, which never ends where only one rank gets the signal, and exits 0.
    trainer._signal_connector.register_signal_handlers = lambda: None  # type: ignore[method-assign]
    return trainer


def _refused(error: Exception) -> UserError:
    return UserError(f"trainer: {' '.join(str(error).split())[:300]}; change the trainer.* option it names")


@contextmanager
def refusals_named() -> Iterator[None]:
    """Within the block what Lightning and PyTorch refuse only once they have started is one line; a stop stays one."""
    try:
        with worker_errors_named():
            yield
    except MisconfigurationException as error:
        raise _refused(error) from error
    except Exception as error:
        if (stopped := stop_behind(error)) is not None:
            raise stopped from None
        if not isinstance(error, MemoryError | RuntimeError | ValueError):
            raise
        mend = next((mend for text, mend in MENDS.items() if text in f"{type(error).__name__}: {error}"), None)
        if mend is None:
            raise
        raise UserError(mend) from error


def quiet_lightning() -> None:
    """Keep Lightning's remarks on things that are settled here off the terminal."""
    for name in ("pytorch_lightning", "lightning_fabric", "lightning.fabric", "pytorch_lightning.utilities.rank_zero"):
        logging.getLogger(name).setLevel(logging.ERROR)
    warnings.filterwarnings("ignore", module="pytorch_lightning|lightning_fabric|torch.utils.data")
    warnings.filterwarnings("ignore", message="Grad strides do not match")  # DDP, of layouts that are meant
    warnings.filterwarnings("ignore", category=DeprecationWarning)
