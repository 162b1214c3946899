"""The columns and rows of a list in CSV, whatever separates them and whether or not the columns have names."""

import csv
import io
import re
from collections.abc import Iterator, Sequence
from typing import NamedTuple

from src.data.listing import SPLITS
from src.data.video_files import Finder, is_video
from src.errors import UserError
from src.text import first_line, listed, printable

SEPARATORS = (",", ";", "\t", "|", " ")
# fmt: off
NAMES = {  # the first is the documented name; it wins where several columns would do
    "path": ("path", "paths", "file", "files", "filename", "file_name", "filepath", "file_path", "relative_path",
             "video", "videos", "video_path", "video_file", "video_name", "clip", "clip_path", "clip_name", "name"),
    "label": ("label", "labels", "class", "classes", "class_name", "classname", "label_name", "category", "action",
              "activity", "target", "tag"),
    "group": ("group", "groups", "group_id", "source", "source_id"),
    "split": ("split", "splits", "set", "subset", "partition", "phase"),
}
# fmt: on
NUMBERED = (("path", "frames", "label"), ("path", "start", "frames", "label"))  # frame folders, without names
ASK = "begin it with the line path,label (and group,split where there are such columns)"
STATE = "say what they are, for example data.columns=[path,frames,label], or begin it with a line of names"
Rows = Iterator[tuple[int, list[str]]]  # number of the row's first line, cells


class Layout(NamedTuple):
    """How the rows of a list are to be read."""

    separator: str
    columns: dict[str, int]  # name → position
    width: int  # cells of a row at most
    has_header: bool


def read_table(
    file: str, text: str, videos: Finder, stated: Sequence[str] | None = None
) -> list[tuple[int, dict[str, str]]]:
    """(line, column → text) of each row. Path and label are never empty; other columns are there if listed.

    Args:
        file: name of the list, for messages.
        videos: finds what a text names on disk, which tells columns without names apart.
        stated: the columns of a list that does not name them.

    Raises:
        UserError: a line is not of the form, or the list can be read in two ways.
    """
    lines = io.StringIO(text, newline="").readlines()
    separators = _declared_separator(lines) or SEPARATORS
    lines = ["\n" if _is_comment(line, videos) else line for line in lines]
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise UserError(f"list {file} names no video; {ASK}, and name one video on each further line")
    layout = _layout(file, lines[first], separators, videos, stated)
    if layout.has_header:
        lines[first] = "\n"
    table = []
    for number, cells in _rows(file, lines, layout, videos):
        values = {name: cells[at] if at < len(cells) else "" for name, at in layout.columns.items()}
        if not values["path"].strip() or not values["label"].strip():
            raise UserError(f"{file} line {number}: path or label is empty; every line needs both")
        table.append((number, values))
    if not table:
        raise UserError(f"list {file} names no video; every line after the first names one")
    return table


def _declared_separator(lines: list[str]) -> tuple[str, ...] | None:
    """What Excel's first line `sep=;` says; the line is blanked."""
    match = re.fullmatch(r'"?sep=([^\w"])"?', lines[0].strip("\r\n "), re.IGNORECASE) if lines else None
    if match is None:
        return None
    lines[0] = "\n"
    return (match[1],)


def _is_comment(line: str, videos: Finder) -> bool:
    """The line begins with #, and not because the name of a video does."""
    if not line.lstrip().startswith("#"):
        return False
    return not any(videos.is_video(beginning) for beginning in beginnings(line))


def beginnings(line: str) -> list[str]:
    """The parts of a line from its start to each place where a column may end."""
    return [line[: match.start()].strip() for match in re.finditer(r"[,;\t|]|\s+", line.rstrip())]


# Columns


def _layout(
    file: str, line: str, separators: Sequence[str], videos: Finder, stated: Sequence[str] | None = None
) -> Layout:
    """How to read the list, told by its first line: names of columns, or a video."""
    readings = {separator: cells for separator in separators if (cells := _cells_of(line, separator))}
    known: dict[str, int] = {}
    for separator, cells in readings.items():
        columns = _named_columns(file, cells)
        if "path" in columns and "label" in columns:
            if stated:
                raise UserError(f"list {file} names its columns; leave data.columns out")
            return Layout(separator, columns, len(cells), has_header=True)
        if not _is_pathlike(cells[0]):
            known |= columns
    if stated:
        return _stated_layout(file, readings, videos, stated)
    fitting = [separator for separator in readings if _path_at(separator, readings[separator], videos) is not None]
    if len(fitting) > 1 and " " in fitting:  # the space is in a name
        fitting.remove(" ")
    if len(fitting) > 1:
        shown = " and ".join(repr(separator) for separator in fitting)
        raise UserError(f"list {file}: its columns may be separated by {shown}; {ASK}")
    if not fitting and not known:  # the first video is missing, which is told later with its line
        fitting = [s for s, cells in readings.items() if len(cells) > 1 and _is_row(cells)]
    if not fitting:
        lacking = " and no column ".join(name for name in ("path", "label") if name not in known)
        raise UserError(f"list {file} has no column {lacking} (its first line is {printable(line.strip())}); {ASK}")
    columns = _unnamed_columns(file, fitting[0], readings[fitting[0]], videos)
    return Layout(fitting[0], columns, len(columns), has_header=False)


def _stated_layout(file: str, readings: dict[str, list[str]], videos: Finder, stated: Sequence[str]) -> Layout:
    """The layout that the user gives; the first line tells the separator."""
    width, at = len(stated), list(stated).index("path")
    fitting = [s for s, cells in readings.items() if len(cells) == width or (s == " " and len(cells) > width)]
    found = [s for s in fitting if s != " " and videos.is_video(readings[s][at])]
    if not fitting:
        numbers = listed(sorted({str(len(cells)) for cells in readings.values()}))
        raise UserError(f"list {file} has {numbers} columns and data.columns names {width}; name each, - for others")
    columns = {name: place for place, name in enumerate(stated) if name != "-"}
    return Layout((found or fitting)[0], columns, width, has_header=False)


def _cells_of(line: str, separator: str) -> list[str]:
    """The cells of one line; none where it is no row with this separator."""
    try:
        return next(_csv_cells([line], separator), (0, []))[1]
    except csv.Error:
        return []


def _csv_cells(lines: Sequence[str], separator: str) -> Rows:
    reader = csv.reader(lines, delimiter=separator, skipinitialspace=separator != " ", strict=True)
    number = 1
    for cells in reader:
        if separator == " ":  # several in a row are one
            cells = [cell for cell in cells if cell]
        while cells and not cells[-1].strip():
            cells.pop()
        if cells:
            yield number, cells
        number = reader.line_num + 1


def _named_columns(file: str, cells: Sequence[str]) -> dict[str, int]:
    """Column → its position, as far as the cells are names of columns."""
    plain = [re.sub(r"[\s-]+", "_", cell.strip().casefold()) for cell in cells]
    columns = {}
    for column, names in NAMES.items():
        places = [place for place, cell in enumerate(plain) if cell in names]
        if plain.count(column) == 1:
            places = [plain.index(column)]
        if len(places) > 1:
            both = " and ".join(printable(cells[place].strip()) for place in places[:2])
            raise UserError(f"list {file}: {both} may both be the column {column}; call one of them {column}")
        if places:
            columns[column] = places[0]
    return columns


def _path_at(separator: str, cells: Sequence[str], videos: Finder) -> int | None:
    """Which of the first two cells names a video; None where neither does."""
    if separator == " " and len(cells) > 2:  # the path may hold spaces, what stands behind it may not
        behind = range(1, min(4, len(cells)))
        return 0 if any(videos.is_video(" ".join(cells[:-number])) for number in behind) else None
    if len(cells) < 2:
        return None
    return next((place for place in (0, 1) if videos.is_video(cells[place])), None)


def _unnamed_columns(file: str, separator: str, cells: Sequence[str], videos: Finder) -> dict[str, int]:
    """Path and label in either order; path, label, split; path, label, group, split; or those of frame folders."""
    if len(cells) == 2:
        path_at = _path_at(separator, cells, videos) or 0
        return {"path": path_at, "label": 1 - path_at}
    readings: list[tuple[str, ...]] = [names for names in NUMBERED if _is_numbered(separator, cells, names, videos)]
    if separator == " ":
        if videos.is_video(" ".join(cells[:-1])):
            readings.append(("path", "label"))
        elif not readings and not all(map(str.isdecimal, cells[-2:])):
            readings = [("path", "label")]
    elif cells[-1].strip().lower() in SPLITS and len(cells) in (3, 4) and _path_at(separator, cells, videos) != 1:
        readings.append(("path", "label", "split") if len(cells) == 3 else ("path", "label", "group", "split"))
    if len(readings) > 1:
        shown = " or ".join(" ".join(names) for names in readings)
        raise UserError(f"list {file}: its columns may be {shown}; {STATE}")
    if not readings:
        raise UserError(f"list {file} has {len(cells)} columns and does not name them; {STATE}")
    return {name: place for place, name in enumerate(readings[0])}


def _is_numbered(separator: str, cells: Sequence[str], names: Sequence[str], videos: Finder) -> bool:
    """Whether a line may be a frame folder and its numbers: it is one, or there is nothing of its name."""
    numbers = len(names) - 1
    if len(cells) <= numbers or not all(cell.strip().isdecimal() for cell in cells[-numbers:]):
        return False
    if separator != " " and len(cells) != len(names):
        return False
    path = " ".join(cells[:-numbers])
    if _path_at(separator, cells, videos) is None:  # told later with its line, by the plainest reading
        return len(cells) == len(names) and not videos.exists(path)
    return videos.is_frame_folder(path)


def _is_row(cells: Sequence[str]) -> bool:
    """Whether cells that name no video and no column seem to be of a video: a path in front, or a number behind."""
    return _is_pathlike(cells[0]) or cells[-1].strip().isdecimal()


def _is_pathlike(cell: str) -> bool:
    return "/" in cell or "\\" in cell or is_video(cell.strip())


# Rows


def _rows(file: str, lines: Sequence[str], layout: Layout, videos: Finder) -> Rows:
    """The rows that are not empty, none wider than the list is."""
    number = 0
    try:
        for number, cells in _csv_cells(lines, layout.separator):
            if layout.separator == " " and len(cells) > layout.width:
                cells = _with_spaces_in_path(lines[number - 1], cells, layout, videos)
            if len(cells) > layout.width:
                raise UserError(
                    f"{file} line {number} has {len(cells)} fields instead of {layout.width}; put names that hold "
                    f"{layout.separator!r} in double quotes"
                )
            yield number, cells
    except csv.Error as error:
        raise UserError(
            f"{file} after line {number}: not a valid row ({first_line(error)}); a field that begins with a double "
            'quote ends with one, and a double quote in it is written ""'
        ) from error


def _with_spaces_in_path(line: str, cells: list[str], layout: Layout, videos: Finder) -> list[str]:
    """The row's cells where all but its last words are the path of a video; else the cells as they were."""
    parts = line.strip().rsplit(None, layout.width - 1)
    return parts if layout.columns["path"] == 0 and videos.is_video(parts[0]) else cells
