"""Test a finished run again: `python -m src.evaluate run=outputs/RUN [checkpoint=best|last|FILE] [overrides …]`.

The run's configuration is composed again with the overrides on top (`test.crops=10`, `data.root=DIR`), so that
a network can be tested with more views or on other videos. A run that was trained on one split is not tested on
another, whose test videos it has seen, unless `allow_split_mismatch=true` says so.
"""

from datetime import datetime
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf
from rich.console import Console

from src import checkpoints, cli, files, job, results, run
from src.build import compose
from src.errors import UserError

OPTIONS: dict[str, str | None] = {"run": None, "checkpoint": "best", "allow_split_mismatch": "false"}


def main(arguments: list[str]) -> None:
    """Test, and write results.json and scores into a new folder under the run's `evaluations`."""
    chosen, overrides = cli.options(arguments, OPTIONS)
    folder = run_folder(chosen["run"])
    cfg = compose([*run.read_json(folder / "run.json")["overrides"], *overrides])
    check_split(folder, cfg, allow=chosen["allow_split_mismatch"] == "true")
    file = checkpoint_file(folder, chosen["checkpoint"] or "best")

    job.hush()
    module, data = job.assemble(cfg, initial_weights=False)
    checkpoints.restore(module, file)
    console = Console(soft_wrap=True)
    target = folder / "evaluations" / f"{datetime.now():%Y-%m-%d_%H-%M-%S}"
    trainer = job.make_trainer(cfg, target, [], [])
    trainer.test(module, data, verbose=False)
    outcome: dict[str, Any] = {
        **run.provenance(),
        "run": str(folder),
        "checkpoint": str(file),
        "overrides": overrides,
        **results.describe(cfg, data, module),
        "metrics": module.result.metrics(),
        "tested": len(module.result.videos),
        "unreadable": results.all_unreadable(trainer, module),
    }
    files.write_text(target / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    results.save_test(module, data, target, [])
    results.save(target, outcome)
    results.tell(console, outcome, target, None)


def run_folder(name: str | None) -> Path:
    """The folder of the run that is meant."""
    folder = Path(name) if name else None
    if folder is None or not (folder / "run.json").is_file():
        runs = sorted(str(p.parent) for p in run.OUTPUTS.glob("**/run.json"))
        what = f"run={name}: no run is there" if name else "which run? give run=FOLDER"
        raise UserError(f"{what}; there are: {', '.join(runs[-8:]) or f'none under {run.OUTPUTS}/'}")
    return folder


def checkpoint_file(folder: Path, name: str) -> Path:
    """The file that `checkpoint=` means: best or last of the run, or a path."""
    file = folder / "checkpoints" / f"{name}.ckpt" if name in ("best", "last") else Path(name)
    if not file.is_file():
        raise UserError(f"checkpoint={name}: there is no file {file}; give best, last or a .ckpt file")
    return file


def check_split(folder: Path, cfg: DictConfig, allow: bool) -> None:
    """Refuse to test on another split of the data set that the run was trained on.

    Raises:
        UserError: the splits differ and `allow` is false.
    """
    trained: Any = OmegaConf.load(folder / "config.yaml").data
    split, wanted = trained.get("split"), cfg.data.get("split")
    if trained.name == cfg.data.name and split != wanted and not allow:
        raise UserError(
            f"{folder} was trained on {trained.name} split {split} and would be tested on split {wanted}, whose "
            "test videos it has partly been trained on; if that is what you want, add allow_split_mismatch=true"
        )


if __name__ == "__main__":
    cli.plain(main)
