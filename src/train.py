"""Train, validate and test: `python -m src.train model=slowfast pooling=bert_late_fusion`.

Read on: src/build.py (configuration → objects), src/job.py (one run), src/recognition.py (loss and metrics).
"""

import sys

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig, OmegaConf

from src import cli, launch, overrides, resumable, run, sweep
from src.errors import UserError


def train(cfg: DictConfig) -> float | None:
    """One run, on as many processes as it asks for; in a sweep, its best val/top1."""
    words = list(HydraConfig.get().overrides.task)
    if cfg.dry_run:
        print(f"{run.identity(cfg)}  {sweep.parameters(cfg)} parameters  {resumable.folder_of(cfg)}")
        return None
    in_sweep = not OmegaConf.is_missing(HydraConfig.get().job, "num")
    if in_sweep or launch.is_rank():  # the folder must follow from the configuration alone
        outcome = resumable.start(cfg, words)
        return outcome["best"]["val_top1"] if outcome.get("best") else None
    folder, checkpoint = run.prepare(cfg, words)
    try:
        launch.launch(cfg, folder, checkpoint)
    except UserError:
        run.discard(folder)
        raise
    return None


def main() -> None:
    """The command line."""
    sys.argv[1:] = overrides.set_aside(sys.argv[1:])
    cli.main(train)


if __name__ == "__main__":
    main()
