"""The columns and rows of a list in CSV, whatever separates them and whether or not the columns have names."""

import csv
import io
import re
from collections.abc import Callable, Iterator, Sequence
from typing import NamedTuple

from src.data.listing import SPLITS
from src.data.video_files import is_video
from src.errors import UserError
from src.text import first_line, printable

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
ASK = "begin it with the line path,label (and group,split where there are such columns)"
Rows = Iterator[tuple[int, list[str]]]  # number of the row's first line, cells


class Layout(NamedTuple):
    """How the rows of a list are to be read."""

    separator: str
    columns: dict[str, int]  # name → position
    width: int  # cells of a row at most
    has_header: bool


def read_table(file: str, text: str, is_file: Callable[[str], bool]) -> list[tuple[int, dict[str, str]]]:
    """(line, column → text) of each row. Path and label are never empty; group and split are there if listed.

    Args:
        file: name of the list, for messages.
        is_file: whether a text names a video on disk, which tells columns without names apart.

    Raises:
        UserError: a line is not of the form, or the list can be read in two ways.
    """
    lines = io.StringIO(text, newline="").readlines()
    separators = _declared_separator(lines) or SEPARATORS
    lines = ["\n" if _is_comment(line, is_file) else line for line in lines]
    first = next((number for number, line in enumerate(lines) if line.strip()), None)
    if first is None:
        raise UserError(f"list {file} names no video; {ASK}, and name one video on each further line")
    layout = _layout(file, lines[first], separators, is_file)
    if layout.has_header:
        lines[first] = "\n"
    table = []
    for number, cells in _rows(file, lines, layout, is_file):
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


def _is_comment(line: str, is_file: Callable[[str], bool]) -> bool:
    """The line begins with #, and not because the name of a video does."""
    if not line.lstrip().startswith("#"):
        return False
    return not any(is_file(beginning) for beginning in beginnings(line))


def beginnings(line: str) -> list[str]:
    """The parts of a line from its start to each place where a column may end."""
    return [line[: match.start()].strip() for match in re.finditer(r"[,;\t|]|\s+", line.rstrip())]


# Columns


def _layout(file: str, line: str, separators: Sequence[str], is_file: Callable[[str], bool]) -> Layout:
    """How to read the list, told by its first line: names of columns, or a video."""
    readings = {separator: cells for separator in separators if (cells := _cells_of(line, separator))}
    known: dict[str, int] = {}
    for separator, cells in readings.items():
        columns = _named_columns(file, cells)
        if "path" in columns and "label" in columns:
            return Layout(separator, columns, len(cells), has_header=True)
        if not _is_pathlike(cells[0]):
            known |= columns
    fitting = [separator for separator in readings if _path_at(separator, readings[separator], is_file) is not None]
    if len(fitting) > 1 and " " in fitting:  # the space is in a name
        fitting.remove(" ")
    if len(fitting) > 1:
        shown = " and ".join(repr(separator) for separator in fitting)
        raise UserError(f"list {file}: its columns may be separated by {shown}; {ASK}")
    if not fitting and not known:  # the first video is missing, which is told later with its line
        fitting = [s for s, cells in readings.items() if len(cells) > 1 and _is_pathlike(cells[0])]
    if not fitting:
        lacking = " and no column ".join(name for name in ("path", "label") if name not in known)
        raise UserError(f"list {file} has no column {lacking} (its first line is {printable(line.strip())}); {ASK}")
    separator, cells = fitting[0], readings[fitting[0]]
    columns = _unnamed_columns(file, separator, cells, _path_at(separator, cells, is_file) or 0)
    return Layout(separator, columns, len(columns), has_header=False)


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


def _path_at(separator: str, cells: Sequence[str], is_file: Callable[[str], bool]) -> int | None:
    """Which of the first two cells names a video; None where neither does."""
    if separator == " " and len(cells) > 2:  # the path may hold spaces, the label may not
        cells = [" ".join(cells[:-1]), cells[-1]]
    if len(cells) < 2:
        return None
    return next((place for place in (0, 1) if is_file(cells[place])), None)


def _unnamed_columns(file: str, separator: str, cells: Sequence[str], path_at: int) -> dict[str, int]:
    """Two columns are path and label, in either order; a third or fourth is understood where it tells the split."""
    if len(cells) == 2 or separator == " ":
        return {"path": path_at, "label": 1 - path_at}
    if path_at == 0 and len(cells) in (3, 4) and cells[-1].strip().lower() in SPLITS:
        names = ("path", "label", "split") if len(cells) == 3 else ("path", "label", "group", "split")
        return {name: place for place, name in enumerate(names)}
    raise UserError(f"list {file} has {len(cells)} columns and does not name them; {ASK}")


def _is_pathlike(cell: str) -> bool:
    return "/" in cell or "\\" in cell or is_video(cell.strip())


# Rows


def _rows(file: str, lines: Sequence[str], layout: Layout, is_file: Callable[[str], bool]) -> Rows:
    """The rows that are not empty, none wider than the list is."""
    number = 0
    try:
        for number, cells in _csv_cells(lines, layout.separator):
            if layout.separator == " " and len(cells) > layout.width:
                cells = _with_spaces_in_path(lines[number - 1], cells, layout, is_file)
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


def _with_spaces_in_path(line: str, cells: list[str], layout: Layout, is_file: Callable[[str], bool]) -> list[str]:
    """The row's cells where all but its last words are the path of a video; else the cells as they were."""
    parts = line.strip().rsplit(None, layout.width - 1)
    return parts if layout.columns["path"] == 0 and is_file(parts[0]) else cells
