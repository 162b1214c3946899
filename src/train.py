"""Train, validate and test: `python -m src.train model=slowfast pooling=bert_late_fusion`.

The story of a run: its configuration is composed from `conf/` and checked, the run gets its folder, then everything is
built, fitted, tested and written, by this process or, on several devices, by one process each. Read on in
src/training/loop.py. A sweep (`experiments=table1`, `--multirun`) comes here once for each of its jobs.
"""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src.build.compose import check
from src.command_line.help import train_help
from src.command_line.hydra import run_hydra
from src.command_line.options import start_command
from src.command_line.words import normalise, quote
from src.runs import launch, ranks, start
from src.sweeps.arguments import pack
from src.sweeps.plan import parameters


def train(cfg: DictConfig) -> float | None:
    """One run, from its configuration to its results; in a sweep, its best top-1 on the validation videos."""
    check(cfg)
    overrides = list(HydraConfig.get().overrides.task)
    if cfg.dry_run:
        print(preview(cfg))
        return None
    if in_sweep() or ranks.is_rank():  # the folder must follow from the configuration alone
        results = start.run_job(cfg, overrides)
        return results.best.val_top1 if results and results.best else None
    with start.begin(cfg, overrides) as run:
        if launch.local_ranks(cfg) > 1:
            launch.start_ranks(cfg, run.folder, run.checkpoint, to_log=False)
        else:
            train_here(cfg, run)
    return None


def train_here(cfg: DictConfig, run: start.Start) -> None:
    """One run in this process."""
    from src.training import loop  # Lightning and the decoders, which a refusal or a dry run does without

    session = loop.build(cfg, run.folder, run.checkpoint)
    try:
        loop.fit(session)
        loop.test(session)
        loop.write(session)
    finally:
        loop.close(session)


def preview(cfg: DictConfig) -> str:
    """What would run: hash of the configuration, the network's size, the folder."""
    record = start.record_of(cfg, [])
    return f"{record.identity}  {parameters(cfg)} parameters  {start.folder_of(cfg, record.identity)}"


def in_sweep() -> bool:
    """Whether this run is one job of a sweep."""
    return not OmegaConf.is_missing(HydraConfig.get().job, "num")


def main() -> None:
    """The command line."""
    words = start_command(train_help)
    run_hydra(train, pack(normalise(words), quote))


if __name__ == "__main__":
    main()
