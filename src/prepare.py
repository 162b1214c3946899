"""python -m src.prepare data=hmdb51 data.root=DIR: once after downloading, from archives to clips to be trusted.

Unpacks the published archives, checks the lists against the disk, decodes every video to its end, and makes flow on
request (flow=tvl1). Run again, it continues where it stopped.
"""

import time
from collections import Counter
from collections.abc import Iterable
from pathlib import Path

from omegaconf import DictConfig, OmegaConf
from rich import progress as rich_progress
from rich.console import Console

from src.build.compose import check
from src.build.data import read_lists
from src.build.devices import cores
from src.command_line.help import prepare_help
from src.command_line.hydra import run_hydra
from src.command_line.options import start_command
from src.command_line.words import normalise
from src.data.annotations import Lists
from src.data.archives import find_archives, unpack
from src.data.flow import flow_root
from src.data.inventory import FILE, Entry
from src.data.make_flow import FlowSpec, algorithm
from src.data.survey import BAD_FILES, find_videos, locked, make_all_flow, take_stock
from src.errors import UserError
from src.text import console as make_console
from src.text import printable

NAMED = 8  # bad files that the summary names
TOLD_S = 30  # without a terminal, a line this often instead of a bar


def prepare(cfg: DictConfig) -> None:
    """Unpack, check, decode, make flow, sum up."""
    check(cfg)
    prepare_all(cfg, make_console())


def prepare_all(cfg: DictConfig, console: Console) -> None:
    """What the command does, step by step, telling `console` about it."""
    started = time.monotonic()
    root = _root(cfg)
    spec = None if cfg.flow.method is None else flow_spec(cfg)
    workers = cfg.workers or cores()
    with locked(root):
        if spec is not None:
            flow_root(root, spec.method)  # what cannot be is refused before hours of decoding
            algorithm(spec)
        for archive, count in unpack(find_archives(Path(cfg.archives or root)), root):
            console.print(f"{printable(archive.name)}: {count} files unpacked")
        lists = all_lists(cfg)
        base = Path(lists[0].root)
        videos = find_videos(base)
        for split in lists:
            for video in [*split.train, *(split.val or []), *split.test]:
                videos.setdefault(video.name, video.path)
        with Bar(console) as bar:
            entries = take_stock(base, videos, workers, cfg.limit_s, cfg.retry_bad, bar)
        console.print(summary(lists, base, entries))
        if spec is not None:
            with Bar(console) as bar:
                flow = make_all_flow(base, videos, entries, spec, workers, cfg.flow.limit_s, cfg.retry_bad, bar)
            console.print(flow_summary(base, spec, flow))
    console.print(f"took {_clock(time.monotonic() - started)}")


def _root(cfg: DictConfig) -> Path:
    if OmegaConf.is_missing(cfg.data, "root"):
        raise UserError(f"data={cfg.data.name}: set data.root to the folder of the videos")
    if cfg.data.get("root") is None:
        raise UserError(f"data={cfg.data.name} is made when it is first used; there is nothing to prepare")
    root = Path(cfg.data.root)
    for name, folder in (("archives", cfg.archives), ("data.root", None if cfg.archives else root)):
        if folder is not None and not Path(folder).is_dir():
            raise UserError(f"{name}={folder} is not a folder; give the folder of what you have downloaded")
    return root


def all_lists(cfg: DictConfig) -> list[Lists]:
    """The lists of the chosen split, then those of the others where they can be read.

    Raises:
        UserError: the chosen split's lists or videos are not all there.
    """
    chosen = read_lists(cfg)
    found = [chosen]
    for split in (1, 2, 3):
        if chosen.split is not None and split != chosen.split:
            other = cfg.copy()
            OmegaConf.update(other, "data.split", split)
            try:
                found.append(read_lists(other))
            except UserError:  # reported when that split is asked for
                continue
    return found


def flow_spec(cfg: DictConfig) -> FlowSpec:
    """The configured way to make flow; settings that the algorithm does not have are left out."""
    settings = OmegaConf.to_container(cfg.flow.settings)
    assert isinstance(settings, dict)
    if cfg.flow.algorithm == "dis":
        settings = {"preset": settings.get("preset", 1)}
    size = None if cfg.flow.size is None else (cfg.flow.size[0], cfg.flow.size[1])
    return FlowSpec(
        method=str(cfg.flow.method),
        algorithm=cfg.flow.algorithm,
        settings={str(k): v for k, v in settings.items()},
        size=size,
        form=cfg.flow.format,
        crf=cfg.flow.crf,
        device=cfg.flow.device,
    )


class Bar:
    """A progress bar with the time left; without a terminal, a line now and then."""

    def __init__(self, console: Console) -> None:
        self._console, self._told, self._bad = console, time.monotonic(), 0
        self._bar = rich_progress.Progress(
            rich_progress.TextColumn("{task.description}"),
            rich_progress.BarColumn(),
            rich_progress.MofNCompleteColumn(),
            rich_progress.TextColumn("{task.fields[bad]} bad"),
            rich_progress.TextColumn("time left"),
            rich_progress.TimeRemainingColumn(elapsed_when_finished=True),
            console=console,
            disable=not console.is_terminal,
        )

    def __enter__(self) -> "Bar":
        self._bar.start()
        return self

    def __exit__(self, *exception: object) -> None:
        self._bar.stop()

    def start(self, what: str, total: int, done: int) -> None:
        """Begin with `done` of `total` known from an earlier run."""
        self._task = self._bar.add_task(what, total=total, completed=done, bad=0)
        self._what, self._total, self._done = what, total, done
        if done:
            self._console.print(f"{what}: {done} of {total} are done already")

    def advance(self, entry: Entry) -> None:
        """One more is done."""
        self._done += 1
        self._bad += bool(entry.bad)
        self._bar.update(self._task, advance=1, bad=self._bad)
        if entry.bad:
            self._console.print(f"bad: {printable(entry.name)}: {printable(entry.bad)}")
        if not self._console.is_terminal and time.monotonic() - self._told > TOLD_S:
            self._told = time.monotonic()
            self._console.print(f"{self._what}: {self._done} of {self._total}, {self._bad} bad")


def summary(lists: list[Lists], base: Path, entries: dict[str, Entry]) -> str:
    """One screen: what is there, what is bad, what to do next."""
    bad = {name: entry.bad for name, entry in sorted(entries.items()) if entry.bad}
    good = [entry for entry in entries.values() if not entry.bad]
    frames = sorted(entry.frames for entry in good) or [0]
    seconds = sum(entry.frames / entry.fps for entry in good if entry.fps)
    in_use = {video.name for split in lists for video in [*split.train, *(split.val or []), *split.test]}
    lines = [
        f"{base}: {len(good)} videos can be read to their end, {len(bad)} are bad",
        f"  frames   {sum(frames):,}; {_clock(seconds)} of video; shortest {frames[0]}, "
        f"median {frames[len(frames) // 2]}, longest {frames[-1]}",
        f"  sizes    {_common(f'{e.size[0]}x{e.size[1]}' for e in good if e.size)}",
        f"  codecs   {_common(e.codec or 'unknown' for e in good)}",
    ]
    for split in lists:
        number = "" if split.split is None else f" split {split.split}"
        sides = f"{len(split.train)} training, {len(split.test)} test videos"
        lines.append(f"  lists    {split.name}{number}: {len(split.classes)} classes, {sides}, all there")
    unlisted = len(set(entries) - in_use)
    if unlisted:
        lines.append(f"  unused   {unlisted} videos are not in any list")
    lines.append(f"  written  {base / FILE}")
    if bad:
        used = len(in_use & set(bad))
        lines.append(f"  bad      {len(bad)} files, {used} of them in the lists, all in {base / BAD_FILES}:")
        lines += [f"           {printable(name)}: {printable(why)}" for name, why in list(bad.items())[:NAMED]]
        if len(bad) > NAMED:
            lines.append(f"           and {len(bad) - NAMED} more")
        lines.append("           replace them and run this again, or train with data.on_error=skip")
    return "\n".join(lines)


def flow_summary(base: Path, spec: FlowSpec, flow: dict[str, Entry]) -> str:
    """What flow there is, and how to train on it."""
    good = [entry for entry in flow.values() if not entry.bad]
    lines = [f"{flow_root(base, spec.method)}: flow of {len(good)} videos, {sum(e.frames for e in good):,} fields"]
    lines += [f"  without  {printable(e.name)}: {printable(e.bad)}" for e in flow.values() if e.bad][:NAMED]
    lines.append(f"  train on it with modality=flow data.flow={spec.method}")
    return "\n".join(lines)


def _common(values: Iterable[str]) -> str:
    counts = Counter(values)
    return ", ".join(f"{n} x {value}" for value, n in counts.most_common(4)) + (" …" if len(counts) > 4 else "")


def _clock(seconds: float) -> str:
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes:02d} min" if hours else f"{minutes} min {rest:02d} s"


if __name__ == "__main__":
    run_hydra(prepare, normalise(start_command(prepare_help)), "prepare")
