"""From a data set's lists to the videos that training may rely on: checked by the inventory, of one modality."""

import logging
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

from src.data.annotations import Lists, Video
from src.data.flow import find_flow
from src.data.inventory import FILE, Entry, load
from src.errors import UserError
from src.text import listed

log = logging.getLogger(__name__)


def usable(lists: Lists, modality: str = "rgb", on_error: str = "raise", method: str = "tvl1") -> Lists:
    """The lists with the inventory's frame counts and, for flow, the paths of the flow.

    An inventory is optional: without one (or for a file that has changed since) frames are counted when a video is
    opened. Folders of pictures hold their own flow.

    Args:
        modality: rgb or flow.
        on_error: what to do about videos that the inventory calls bad or that have no flow: raise, or skip (left
            out, named in `left_out` and in a warning).
        method: which flow, as src.prepare made it.

    Raises:
        UserError: videos in use are bad, or have no flow; no video of a side is left.
    """
    entries = load(lists.root)
    if entries:
        lists = _checked(lists, entries, on_error)
    return _flow(lists, method, on_error) if modality == "flow" else lists


def _checked(lists: Lists, entries: dict[str, Entry], on_error: str) -> Lists:
    known = {video.name: _current(video, entries) for video in _all(lists)}
    bad = [f"{name} ({entry.bad})" for name, entry in known.items() if entry is not None and entry.bad]
    changed = sum(1 for name, entry in known.items() if entry is None and name in entries)
    if changed:
        log.warning(
            "%d videos have changed since %s/%s was written and are taken as unknown; run src.prepare again",
            changed,
            lists.root,
            FILE,
        )
    if bad and on_error != "skip":
        raise UserError(
            f"{len(bad)} of {len(known)} videos in use are bad by {lists.root}/{FILE}: {listed(bad)}; replace them "
            "and run src.prepare again, or leave them out with data.on_error=skip"
        )
    if bad:
        log.warning("%d of %d videos are bad by the inventory and left out: %s", len(bad), len(known), listed(bad))

    def count(video: Video) -> Video | None:
        entry = known[video.name]
        if entry is None:
            return video
        if entry.bad or Path(video.path).is_dir():  # what the authors' lists say of frame folders counts
            return None if entry.bad else video
        return replace(video, frames=entry.frames, in_order=bool(entry.in_order))

    checked = replace(_each(lists, count), left_out=tuple(bad))
    for side in ("train", "test"):
        if getattr(lists, side) and not getattr(checked, side):
            raise UserError(f"{lists.root}: the inventory calls every {side} video bad: {listed(bad)}")
    return checked


def _current(video: Video, entries: dict[str, Entry]) -> Entry | None:
    """The video's entry, if the file is still the one that it describes."""
    entry = entries.get(video.name)
    try:
        return entry if entry is not None and entry.describes(Path(video.path).stat()) else None
    except OSError:  # the reader, which names the file, comes to it
        return None


def _flow(lists: Lists, method: str, on_error: str) -> Lists:
    """Paths of RGB videos replaced by those of their flow; T frames have T - 1 fields."""
    missing: list[str] = []

    def beside(video: Video) -> Video | None:
        if Path(video.path).is_dir():
            return video
        path = find_flow(lists.root, video.name, method)
        if path is None:
            missing.append(video.name)
            return None
        return replace(video, path=str(path), frames=video.frames - 1 if video.frames else None)

    found = _each(lists, beside)
    emptied = any(getattr(lists, side) and not getattr(found, side) for side in ("train", "test"))
    if missing and (on_error != "skip" or emptied):
        raise UserError(
            f"{len(missing)} videos have no {method} flow yet: {listed(missing)}; make it with "
            f"python -m src.prepare flow={method} data={lists.name} data.root={lists.root}"
            " (retry_bad=true where that failed), or leave them out with data.on_error=skip"
        )
    if missing:
        log.warning("%d videos have no %s flow and are left out: %s", len(missing), method, listed(missing))
    return replace(found, left_out=(*found.left_out, *(f"{name} (no {method} flow)" for name in missing)))


def _all(lists: Lists) -> list[Video]:
    return [*lists.train, *(lists.val or []), *lists.test]


def _each(lists: Lists, change: Callable[[Video], Video | None]) -> Lists:
    """Every video replaced by what `change` makes of it; None leaves it out."""

    def side(videos: list[Video]) -> list[Video]:
        return [video for video in map(change, videos) if video is not None]

    val = None if lists.val is None else side(lists.val)
    return replace(lists, train=side(lists.train), val=val, test=side(lists.test))
