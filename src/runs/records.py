"""What runs and sweeps write down, as typed records with a schema version.

Records are data: reading one checks every field's type and calls nothing that it names. A file of another version, or
one that is damaged, is refused with one line.
"""

import dataclasses
import json
import math
import types
import typing
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Union

from src import files
from src.errors import UserError
from src.plugins import Plugins
from src.text import first_line, printable

SCHEMA = 2  # raise it when a field changes its name or meaning; 1 was version 0.1.0, which wrote none
LARGEST = 64 << 20  # bytes of a record; a larger file is not one
LARGEST_NUMBER = 1 << 63
DEEPEST = 32  # how far values of any kind may be nested

Record = TypeVar("Record")


class DamagedError(UserError):
    """A record that cannot be read as what it should be; `reason` says why."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(f"{path}: damaged or not written by this program ({reason}); move it away and run again")
        self.reason = reason


@dataclass(frozen=True)
class Origin:
    """Which command made something, when, with which code and on which machine."""

    command: str
    started: str  # ISO 8601 with time zone
    revision: dict[str, Any] | None  # commit, changed; None outside a git checkout
    python: str
    packages: dict[str, str | None]
    machine: dict[str, str]


@dataclass(frozen=True)
class RunRecord:
    """run.json: what is known of a run before it starts."""

    schema: int
    title: str
    identity: str  # twelve hex digits, the hash of `description`
    description: dict[str, Any]  # see src/runs/identity.py
    overrides: list[str]  # what the configuration was composed from
    origin: Origin
    plugins: Plugins | None = None  # the user's own folder, where the configuration was composed with one


@dataclass(frozen=True)
class Videos:
    """A list of videos: how many, and the SHA-256 of their names and labels."""

    videos: int
    sha256: str


@dataclass(frozen=True)
class DataRecord:
    """data.json: what a run learns from and is tested on, and the names of its classes."""

    schema: int
    name: str
    root: str
    split: int | None
    official: bool
    classes: list[str]
    left_out: list[str]
    train: Videos
    val: Videos
    test: Videos
    train_val: Videos  # the same for every seed, while a hold-out divides it differently for each


@dataclass(frozen=True)
class Cost:
    """What a network costs: trained values, and multiply-accumulates and the paper's operations for one clip."""

    params: int
    macs: int
    operations: int


@dataclass(frozen=True)
class Best:
    """The epoch (from 0) whose weights were tested, and its top-1 on the validation videos in percent."""

    epoch: int
    val_top1: float
    val_map: float | None = None  # mean average precision in percent, which decides where videos show several classes


@dataclass(frozen=True)
class Changed:
    """A test with the time steps in another order, or with one hidden; how: src/models/order.py."""

    steps: list[int]  # counted from 0: in their new order, or the hidden one alone
    top1: float  # percent
    drop: float  # points below the true order
    only_true: int  # videos that are right in the true order alone
    only_changed: int  # and with this change alone
    p: float  # McNemar's exact test against the true order


@dataclass(frozen=True)
class Shuffled:
    """Tests with the time steps in orders drawn at random."""

    top1: float  # percent, mean of the draws
    deviation: float | None  # standard deviation over the draws; None for a single one
    drop: float  # points below the true order
    p: float  # median of the draws
    draws: list[Changed]


@dataclass(frozen=True)
class Order:
    """How much a network's decisions depend on the order of time. A single time step leaves nothing to change."""

    steps: int  # T of the maps that the head reads; of the shortest one, where pathways differ
    top1: float  # percent, in the true order
    shuffled: Shuffled | None
    reversed: Changed | None
    hidden: list[Changed]  # step by step


@dataclass(frozen=True)
class Calibration:
    """How far a network's probabilities on the test videos can be believed; how measured: src/metrics.py.

    The scaled numbers are those of scores divided by the temperature. None where no temperature could be fitted: there
    are no validation videos, they are the test videos, or all of them are right.
    """

    bins: int
    ece: float  # percent, expected calibration error
    nll: float  # nats, negative log-likelihood
    temperature: float | None  # fitted on the validation videos, as training sees them: centre clips
    scaled_ece: float | None
    scaled_nll: float | None


@dataclass(frozen=True)
class Results:
    """results.json: the sign that a run has finished, and everything that a report needs of it."""

    schema: int
    title: str
    identity: str
    origin: Origin
    model: str
    pooling: str
    modality: str
    optimizer: str
    protocol: dict[str, Any]
    split: int | None
    seed: int
    cost: Cost
    data: DataRecord
    epochs: int
    best: Best | None
    checkpoint: str | None  # the file that was tested, relative to the run's folder
    diverged: bool  # a loss was not finite and on_divergence=continue
    metrics: dict[str, float] | None  # percent; None where nothing was tested
    tested: int
    seconds: dict[str, float]
    unreadable: dict[str, list[str]]  # phase → messages
    settings: dict[str, Any] = field(default_factory=dict)  # option → value of what defines the run
    order: Order | None = None  # with test.order=true
    calibration: Calibration | None = None  # None where a score is not finite
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)  # metric → 95 %, over test videos


@dataclass(frozen=True)
class Evaluation:
    """evaluations/…/evaluation.json: what came out when a run's network was tested again."""

    schema: int
    run: str  # its folder
    identity: str  # of the run
    checkpoint: str
    overrides: list[str]  # options that were changed
    origin: Origin
    data: str
    root: str
    split: int | None
    classes: list[str]
    test: Videos
    left_out: list[str]
    metrics: dict[str, float]  # percent
    tested: int
    seconds: float
    unreadable: dict[str, list[str]]  # phase → messages
    order: Order | None = None  # with test.order=true
    calibration: Calibration | None = None
    intervals: dict[str, tuple[float, float]] = field(default_factory=dict)


@dataclass(frozen=True)
class ErrorRecord:
    """error.json: why the last attempt failed."""

    schema: int
    message: str
    time: str
    log: list[str]
    traceback: list[str] | None


def write(path: Path, record: Any) -> None:
    """Write a record as JSON, whole or not at all."""
    files.write_json(path, dataclasses.asdict(record))


def read(path: Path, kind: type[Record]) -> Record | None:
    """The record in a file, None where there is no file.

    Raises:
        DamagedError: it is not such a record; it names the first field that is wrong.
        UserError: it was written by another version, or may not be read.
    """
    try:
        if not path.is_file():
            return None
        if path.stat().st_size > LARGEST:
            raise DamagedError(path, f"{path.stat().st_size / 1e6:.0f} MB is too large")
        text = files.read_text(path)
        content = json.loads(text, parse_constant=_no_number, object_pairs_hook=files.without_duplicates)
    except OSError as error:
        raise UserError(f"{path}: cannot be read ({first_line(error)}); check its permissions") from None
    except (ValueError, RecursionError) as error:
        raise DamagedError(path, f"not JSON: {first_line(error)}") from None
    if not isinstance(content, dict):
        raise DamagedError(path, "not a JSON object")
    try:
        _expect_plain(content)
    except ValueError as error:
        raise DamagedError(path, str(error)) from None
    version = content.get("schema", 1)
    if version != SCHEMA:
        raise UserError(
            f"{path}: written by another version (schema {printable(version)[:20]}, this one reads {SCHEMA}); "
            "make it again, or read it with the version that wrote it"
        )
    try:
        record: Record = typed(content, kind)
    except (TypeError, ValueError) as error:
        raise DamagedError(path, str(error)) from None
    return record


def _no_number(word: str) -> float:
    raise ValueError(f"{word} is not a JSON number")


def typed(value: Any, kind: Any, where: str = "") -> Any:
    """A plain value as `kind`: a dataclass, list, dict, union or basic type.

    Raises:
        TypeError: something has another type; names the place.
    """
    origin, arguments = typing.get_origin(kind), typing.get_args(kind)
    if kind is Any:
        return value
    if dataclasses.is_dataclass(kind):
        return _typed_record(value, kind, where)
    if origin in (Union, types.UnionType):
        return _typed_union(value, arguments, where)
    if origin is list:
        _expect(value, list, where)
        return [typed(element, arguments[0], f"{where}[{i}]") for i, element in enumerate(value)]
    if origin is tuple:
        _expect(value, list, where)
        if len(value) != len(arguments):
            raise TypeError(f"{where} has {len(value)} elements instead of {len(arguments)}")
        return tuple(typed(element, each, where) for element, each in zip(value, arguments, strict=True))
    if origin is dict:
        _expect(value, dict, where)
        return {str(key): typed(element, arguments[1], f"{where}.{key}") for key, element in value.items()}
    if kind is float and type(value) is int:
        return float(value)
    _expect(value, kind, where)
    return value


def _typed_record(value: Any, kind: Any, where: str) -> Any:
    _expect(value, Mapping, where)
    hints = typing.get_type_hints(kind)
    arguments = {}
    for one in dataclasses.fields(kind):
        place = f"{where}.{one.name}" if where else one.name
        if one.name in value:
            arguments[one.name] = typed(value[one.name], hints[one.name], place)
        elif one.default is dataclasses.MISSING and one.default_factory is dataclasses.MISSING:
            raise TypeError(f"{place} is missing")
    return kind(**arguments)


def _typed_union(value: Any, kinds: tuple[Any, ...], where: str) -> Any:
    for kind in kinds:
        if kind is type(None):
            if value is None:
                return None
            continue
        if value is not None:
            return typed(value, kind, where)  # our unions are all `X | None`
    raise TypeError(f"{where} is null")


def _expect_plain(value: Any, where: str = "", depth: int = 0) -> None:
    """Refuse what is nested so deeply, or so large a number, that those who use it would fail.

    JSON has both, and `1e999`, which is read as infinity.
    """
    if depth > DEEPEST:
        raise ValueError(f"{where[:40]}… is nested too deeply")
    if isinstance(value, dict):
        for key, element in value.items():
            _expect_plain(element, f"{where}.{key}" if where else key, depth + 1)
    elif isinstance(value, list):
        for element in value:
            _expect_plain(element, where, depth + 1)
    elif isinstance(value, float) and not math.isfinite(value):
        raise ValueError(f"{where} is not finite")
    elif isinstance(value, int) and abs(value) >= LARGEST_NUMBER:
        raise ValueError(f"{where} is too large a number")


def _expect(value: Any, kind: type, where: str) -> None:
    right = isinstance(value, kind) and not (isinstance(value, bool) and kind is not bool)
    if not right:
        raise TypeError(f"{where or 'the record'} is {type(value).__name__} instead of {kind.__name__}")
