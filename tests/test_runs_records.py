"""Records survive writing and reading; what is not a record is refused by name."""

import dataclasses
import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from src.errors import UserError
from src.runs import records
from src.runs.records import (
    SCHEMA,
    Best,
    Cost,
    DamagedError,
    DataRecord,
    ErrorRecord,
    Order,
    Origin,
    Results,
    RunRecord,
    Videos,
)

ORIGIN = Origin(
    "python -m src.train", "2030-01-01T12:00:00+01:00", None, "3.11", {"torch": "2", "av": None}, {"a": "b"}
)
RUN = RunRecord(SCHEMA, "tiny-bert", "0123456789ab", {"seed": 0, "data.scales": [1, 0.5]}, ["seed=0"], ORIGIN)
VIDEOS = Videos(3, "ab" * 32)
DATA = DataRecord(SCHEMA, "folder", "/data", None, False, ["a\udce9", "b [/b]\n"], [], VIDEOS, VIDEOS, VIDEOS, VIDEOS)
RESULTS = Results(
    schema=SCHEMA,
    title="tiny-bert",
    identity="0123456789ab",
    origin=ORIGIN,
    model="tiny",
    pooling="bert",
    modality="rgb",
    optimizer="adamw",
    protocol={"name": "holdout", "fraction": 0.1},
    split=1,
    seed=0,
    cost=Cost(1, 2, 3),
    data=DATA,
    epochs=3,
    best=Best(1, 50.0),
    checkpoint="checkpoints/best.ckpt",
    diverged=False,
    metrics={"top1": 50.0},
    tested=3,
    seconds={"fit": 1.5},
    unreadable={"train": ["x.mp4: cannot be read"]},
    settings={"seed": 0},
    order=Order(1, 50.0, None, None, []),
)
ERROR = ErrorRecord(SCHEMA, "no memory", "2030-01-01T12:00:00+01:00", ["a line"], None)
KINDS = [RUN, DATA, RESULTS, ERROR]
LATER = ("settings", "order", "plugins", "calibration", "intervals")  # fields that older files do not have


@pytest.fixture(params=KINDS, ids=lambda record: type(record).__name__)
def record(request: pytest.FixtureRequest) -> Any:
    return request.param


def test_a_record_survives_writing_and_reading(record: Any, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    records.write(file, record)
    assert records.read(file, type(record)) == record
    assert records.read(tmp_path / "none.json", type(record)) is None


def test_results_of_before_order_was_tested_are_read(tmp_path: Path) -> None:
    content = dataclasses.asdict(RESULTS)
    del content["order"]
    (tmp_path / "record.json").write_text(json.dumps(content))
    assert records.read(tmp_path / "record.json", Results) == dataclasses.replace(RESULTS, order=None)


def test_half_a_record_is_damaged(record: Any, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    records.write(file, record)
    whole = file.read_bytes()
    for end in range(0, len(whole) - 2, 7):
        file.write_bytes(whole[:end])
        with pytest.raises(DamagedError, match=r"record\.json: damaged") as damaged:
            records.read(file, type(record))
        assert "\n" not in str(damaged.value)


def places(kind: Any, where: tuple[str, ...] = ()) -> Iterator[tuple[str, ...]]:
    """The path to every field of a record, through records in records."""
    for one in dataclasses.fields(kind):
        if one.name == "schema":
            continue
        yield (*where, one.name)
        if dataclasses.is_dataclass(getattr(kind, one.name)):
            yield from places(getattr(kind, one.name), (*where, one.name))


@pytest.mark.parametrize("wrong", [[[1]], {"a": {"b": []}}, "text", 1.5, True])
def test_a_field_of_another_type_is_named(record: Any, wrong: Any, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    named = 0
    for *above, last in places(record):
        content = dataclasses.asdict(record)
        node = content
        for key in above:
            node = node[key]
        if type(node[last]) is type(wrong):
            continue
        node[last] = wrong
        file.write_text(json.dumps(content))
        try:
            records.read(file, type(record))
        except DamagedError as damaged:
            assert ".".join([*above, last]) in str(damaged)
            named += 1
    assert named > 1


def test_a_missing_field_is_named(record: Any, tmp_path: Path) -> None:
    file = tmp_path / "record.json"
    content = dataclasses.asdict(record)
    last = [key for key in content if key not in LATER][-1]
    del content[last]
    file.write_text(json.dumps(content))
    with pytest.raises(DamagedError, match=f"{last} is missing"):
        records.read(file, type(record))


def test_a_field_that_is_there_twice_is_damage(record: Any, tmp_path: Path) -> None:
    text = json.dumps(dataclasses.asdict(record)).replace('"schema": 2', '"schema": 2, "schema": 2', 1)
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(DamagedError, match="a name appears twice"):
        records.read(tmp_path / "record.json", type(record))


@pytest.mark.parametrize("text", ["", "[]", "null", "NaN", '{"schema": 2, "x": NaN}', "[" * 100_000, "\x00"])
def test_other_content_is_damaged(record: Any, text: str, tmp_path: Path) -> None:
    (tmp_path / "record.json").write_text(text)
    with pytest.raises(DamagedError):
        records.read(tmp_path / "record.json", type(record))


@pytest.mark.parametrize("version", [..., 1, 3, "x" * 1000, "a\nb", None])
def test_another_version_is_refused_in_one_line(version: Any, tmp_path: Path) -> None:
    content = {**dataclasses.asdict(RUN), "schema": version}
    if version is ...:
        del content["schema"]
    (tmp_path / "run.json").write_text(json.dumps(content))
    with pytest.raises(UserError, match=r"run\.json: written by another version") as refused:
        records.read(tmp_path / "run.json", RunRecord)
    assert "\n" not in str(refused.value) and len(str(refused.value)) < 300


def test_numbers_that_are_not_finite_are_not_written(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match="JSON"):
        records.write(tmp_path / "results.json", dataclasses.replace(RESULTS, metrics={"top1": float("nan")}))
    assert not [*tmp_path.iterdir()]
