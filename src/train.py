"""Train, validate and test: `python -m src.train model=slowfast pooling=bert_late_fusion`.

The story of a run: its configuration is composed from `conf/` and checked, the run gets its folder, then everything is
built, fitted, tested and written, by this process or, on several devices, by one process each. Read on in
src/training/loop.py. A sweep (`experiments=table1`, `--multirun`) comes here once for each of its jobs.
"""

import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.build.compose import check
from src.build.devices import check_devices
from src.build.fallback import with_fallback
from src.command_line.help import train_help
from src.command_line.hydra import run_hydra
from src.command_line.options import start_command
from src.command_line.words import normalise, quote
from src.sweeps.arguments import is_dry_run, pack, with_sweeper

if TYPE_CHECKING:
    from src.runs.folder import RunFolder


def train(cfg: DictConfig) -> float | None:
    """One run, from its configuration to its results; in a sweep, its best top-1 on the validation videos."""
    check(cfg)
    if not in_sweep():
        check_devices(cfg)
    cfg, overrides = with_fallback(cfg, HydraConfig.get().overrides.task, fetch=not cfg.dry_run)
    if cfg.dry_run:
        print(preview(cfg))
        return None

    from src.runs import launch, ranks, start  # what a refusal does without is imported here

    if in_sweep() or ranks.is_rank():  # the folder must follow from the configuration alone
        results = start.run_job(cfg, overrides)
        return results.best.val_top1 if results and results.best else None
    launch.check_machines(cfg)
    with start.begin(cfg, overrides) as run:
        if launch.local_ranks(cfg) > 1:
            launch.start_ranks(cfg, run.folder, run.checkpoint, to_log=False)
        else:
            train_here(cfg, run.folder, run.checkpoint)
    return None


def train_here(cfg: DictConfig, folder: "RunFolder", checkpoint: Path | None) -> None:
    """One run in this process."""
    from src.training import loop  # Lightning and the decoders

    session = loop.build(cfg, folder, checkpoint)
    try:
        loop.fill(session)
        loop.fit(session)
        loop.test(session)
        loop.write(session)
    finally:
        loop.close(session)


def preview(cfg: DictConfig) -> str:
    """What would run: hash of the configuration, the network's size, the folder."""
    from src.runs import start
    from src.sweeps.plan import parameters

    record = start.record_of(cfg, [])
    return f"{record.identity}  {parameters(cfg)} parameters  {start.folder_of(cfg, record.identity)}"


def in_sweep() -> bool:
    """Whether this run is one job of a sweep."""
    return not OmegaConf.is_missing(HydraConfig.get().job, "num")


def main() -> None:
    """The command line."""
    words = with_sweeper(pack(normalise(start_command(train_help)), quote))
    if is_dry_run(words):
        with tempfile.TemporaryDirectory() as folder:  # where Hydra notes down what it sweeps over
            run_hydra(train, [*words, f"hydra.sweep.dir={quote(folder)}"])
    else:
        run_hydra(train, words)


if __name__ == "__main__":
    main()
