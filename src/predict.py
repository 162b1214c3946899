"""What is in a video: `python -m src.predict run=outputs/RUN video=FILE [top=5] [checkpoint=best]`."""

import torch
from rich.console import Console
from rich.table import Table

from src import checkpoints, cli, job, run
from src.build import compose
from src.data.annotations import Video
from src.errors import UserError
from src.evaluate import checkpoint_file, run_folder

OPTIONS: dict[str, str | None] = {"run": None, "video": None, "top": "5", "checkpoint": "best"}


@torch.no_grad()
def main(arguments: list[str]) -> None:
    """Print the classes that the run's network finds most probable, over all views of the video."""
    chosen, overrides = cli.options(arguments, OPTIONS)
    path, top = chosen["video"], chosen["top"] or "5"
    if path is None:
        raise UserError("which video? give video=FILE")
    if not top.isdecimal() or not int(top):
        raise UserError(f"top={top}: give how many classes to print, 1 or more")
    folder = run_folder(chosen["run"])
    cfg = compose([*run.read_json(folder / "run.json")["overrides"], *overrides])
    job.hush()
    module, data = job.assemble(cfg, initial_weights=False)
    checkpoints.restore(module, checkpoint_file(folder, chosen["checkpoint"] or "best"))
    module.eval()
    video = Video(path=path, label=0, group=path, name=path)
    logits = torch.cat([module(views)[0] for views in data.views(video)])  # V, classes
    probability, label = logits.mean(0).softmax(0).topk(min(int(top), len(module.classes)))
    console = Console(soft_wrap=True)
    console.print(f"{path}: {len(logits)} views", highlight=False, markup=False)
    table = Table()
    table.add_column("class")
    table.add_column("probability", justify="right")
    for p, i in zip(probability.tolist(), label.tolist(), strict=True):
        table.add_row(module.classes[i], f"{p:.3f}")
    console.print(table)


if __name__ == "__main__":
    cli.plain(main)
