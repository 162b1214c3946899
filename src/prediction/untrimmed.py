"""What happens when in a video of any length, or in a stream that never ends: window by window, in constant memory.

Of a video NAME these files are written: NAME.scores.csv (a row for each window), NAME.segments.csv, NAME.timeline.png,
and NAME.labelled.mp4 on request.
"""

import csv
import io
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch
from rich.progress import BarColumn, Progress, TextColumn, TimeRemainingColumn
from rich.table import Table

from src import files
from src.data.address import is_live, is_stream, without_password
from src.data.stream import TimedFrame, duration, frames_in_order
from src.data.transforms import mirrored_views
from src.errors import UnreadableVideoError
from src.prediction import labelled, timeline
from src.prediction.inputs import Input
from src.prediction.many import logits_of, probabilities
from src.prediction.network import Network
from src.prediction.question import Settings
from src.prediction.segments import Segment, Segments, Shares, Slot, slots
from src.prediction.timeline import Timeline
from src.prediction.windows import Prefetched, Window, batches, check_windows, span, windows
from src.signals import Stopped
from src.text import console, counted, printable

DIGITS = 4  # of seconds and probabilities in files


@dataclass
class Seen:
    """What became of one video.

    labels: from which second on which text holds.
    error: why it could not be read to its end.
    """

    segments: list[Segment] = field(default_factory=list)
    timeline: Timeline = field(default_factory=Timeline)
    labels: list[labelled.Label] = field(default_factory=list)
    windows: int = 0
    forgotten: int = 0
    seconds: float = 0.0
    spent: float = 0.0
    error: str | None = None


def look(network: Network, one: Input, path: str, settings: Settings) -> Seen:
    """Look at one video or stream, print what was seen and write the files.

    path: what the network reads: the input itself, or its flow.

    Raises:
        UserError: nothing of it can be read.
        Stopped: by the user; of a stream, everything so far has been written.
    """
    source = one.path
    shown = Path(without_password(source)).name if is_stream(source) else one.inner
    name = files.safe_name(shown.replace("/", "_"))
    stopped = None
    seen = Seen()
    with ExitStack() as stack:
        writer = None
        if settings.out is not None:
            temporary = stack.enter_context(files.replacing(settings.out / f"{name}.scores.csv"))
            stream = stack.enter_context(temporary.open("w", newline="", **files.ENCODING))
            writer = csv.writer(stream, lineterminator="\n")
            writer.writerow(["start_s", "end_s", *network.classes])
        try:
            with _progress(source) as bar:
                _ask(network, source, path, settings, seen, writer, bar)
        except UnreadableVideoError as error:
            if not seen.windows:
                raise
            seen.error = str(error)
        except Stopped as error:
            if not is_stream(source):
                raise
            stopped = error
    _show(network, source, seen)
    if settings.out is not None and seen.windows:
        _write(network, source, seen, settings, settings.out / name)
    if stopped is not None:
        raise stopped
    return seen


def watch(network: Network, path: str, settings: Settings) -> Seen:
    """What is seen in one video file; nothing is printed or written. `seen.error` says where it breaks off.

    Raises:
        UserError: nothing of it can be read.
    """
    seen = Seen()
    try:
        _ask(network, path, path, settings, seen, None, Progress(disable=True))
    except UnreadableVideoError as error:
        if not seen.windows:
            raise
        seen.error = str(error)
    return seen


@contextmanager
def _progress(source: str) -> Iterator[Progress]:
    """A bar of seconds, where somebody watches and the end is known."""
    terminal = console(stderr=True)
    seconds = TextColumn("{task.completed:.0f} s")
    columns = (TextColumn("{task.description}"), BarColumn(), seconds, TimeRemainingColumn())
    shown = terminal.is_terminal and not is_stream(source)
    with Progress(*columns, console=terminal, disable=not shown, transient=True) as bar:
        if shown:
            bar.add_task(printable(Path(source).name), total=duration(source))
        yield bar


def _ask(network: Network, source: str, path: str, settings: Settings, seen: Seen, writer: Any, bar: Progress) -> None:
    """Fill `seen`, window by window."""
    collected = Segments(settings.threshold, settings.release, settings.shortest)
    began = time.perf_counter()

    def answered() -> Iterator[tuple[float, float, Shares]]:
        for window, shares in _answers(network, source, path, settings, seen):
            seen.windows, seen.seconds = seen.windows + 1, window.end
            if writer is not None:
                numbers = [window.start, window.end, *shares.tolist()]
                writer.writerow([round(number, DIGITS) for number in numbers])
            for task in bar.task_ids:
                bar.update(task, completed=window.end)
            yield window.start, window.end, shares

    try:
        for slot in slots(answered()):
            collected.add(slot)
            seen.timeline.add(slot)
            if settings.draw:
                _label(network, slot, seen)
    finally:
        seen.segments = collected.finish()
        seen.spent = time.perf_counter() - began


def _answers(
    network: Network, source: str, path: str, settings: Settings, seen: Seen
) -> Iterator[tuple[Window, Shares]]:
    """Each window with its probabilities, mean over its crops; of a stream, printed as they come."""
    cfg = network.cfg
    check_windows(network.clip)
    streams, live = is_stream(source), is_live(source)
    frames = frames_in_order(path, network.modality)
    step = settings.step or max(1, span(network.clip) // 2)
    cut = windows(path, frames, network.clip, step, cfg.test.crops)
    size = 1 if streams else max(1, cfg.test.view_batch // cfg.test.crops)
    waiting = Prefetched(cut, size, latest=live)
    for batch in batches(waiting, size, wait=not streams):
        views = torch.stack([window.clip for window in batch])  # N V C T H W
        mirrored = mirrored_views(0, views.shape[1], cfg.test.crops).expand(len(views), -1)  # V → N V
        logits = logits_of(network, views, mirrored).mean(1)  # N V K → N K
        seen.forgotten = waiting.forgotten
        for window, shares in zip(batch, probabilities(logits), strict=True):
            if streams:
                _print_answer(network, window, shares)
            yield window, shares


def _print_answer(network: Network, window: Window, shares: Shares) -> None:
    best = int(shares.argmax())
    delay = time.monotonic() - window.arrived
    console().print(
        f"{window.start:8.1f} – {window.end:.1f} s  {printable(network.classes[best])}  {shares[best]:.3f}  "
        f"({delay:.2f} s behind)"
    )


def _label(network: Network, slot: Slot, seen: Seen) -> None:
    """Remember a slot's most probable class for drawing; slots that say the same are one."""
    best = int(slot.shares.argmax())
    text = f"{network.classes[best]} {slot.shares[best]:.0%}"
    if not seen.labels or seen.labels[-1][1] != text:
        seen.labels.append((slot.start, text))


def _show(network: Network, source: str, seen: Seen) -> None:
    terminal = console()
    table = Table()
    for column in ("from", "to", "class", "peak", "mean"):
        table.add_column(column, justify="left" if column == "class" else "right")
    for one in seen.segments:
        table.add_row(
            f"{one.start:.1f} s",
            f"{one.end:.1f} s",
            printable(network.classes[one.label]),
            f"{one.peak:.3f}",
            f"{one.mean:.3f}",
        )
    found = f"{counted(seen.windows, 'window')}, {counted(len(seen.segments), 'segment')}"
    terminal.print(f"{printable(without_password(source))}: {found}")
    if seen.segments:
        terminal.print(table)
    lost = f"; {seen.forgotten} windows were passed over to keep up" if seen.forgotten else ""
    terminal.print(
        f"{printable(network.origin)}: {seen.seconds:.1f} s of video in {seen.spent:.1f} s, "
        f"{seen.windows / max(seen.spent, 1e-9):.1f} clips/s{lost}"
    )


def _write(network: Network, source: str, seen: Seen, settings: Settings, stem: Path) -> None:
    text = io.StringIO()
    writer = csv.writer(text, lineterminator="\n")
    writer.writerow(["start_s", "end_s", "class", "peak", "mean"])
    for one in seen.segments:
        numbers = [round(number, DIGITS) for number in (one.start, one.end, one.peak, one.mean)]
        writer.writerow([*numbers[:2], network.classes[one.label], *numbers[2:]])
    files.write_text(stem.with_name(f"{stem.name}.segments.csv"), text.getvalue())
    picture = stem.with_name(f"{stem.name}.timeline.png")
    shown = Path(without_password(source)).name or without_password(source)
    timeline.save(picture, seen.timeline, seen.segments, network.classes, settings.threshold, shown)
    if settings.draw:
        labelled.write(stem.with_name(f"{stem.name}.labelled.mp4"), _readable_part(source), seen.labels)
    console().print(f"scores, segments and timeline: {printable(stem)}.*")


def _readable_part(source: str) -> Iterator[TimedFrame]:
    """The frames of a video up to where it is damaged."""
    with suppress(UnreadableVideoError):
        yield from frames_in_order(source)
