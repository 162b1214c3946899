"""Train, validate and test: `python -m src.train model=slowfast pooling=bert_late_fusion`.

Read on: src/build.py (configuration → objects), src/job.py (one run), src/recognition.py (loss and metrics).
"""

from hydra.core.hydra_config import HydraConfig
from omegaconf import DictConfig

from src import cli, launch, run


def train(cfg: DictConfig) -> None:
    """One run, on as many processes as it asks for."""
    folder, checkpoint = run.prepare(cfg, HydraConfig.get().overrides.task)
    launch.launch(cfg, folder, checkpoint)


if __name__ == "__main__":
    cli.main(train)
