"""Any two runs added: what comes out, and what is refused."""

from pathlib import Path

import numpy as np
import pytest
from src.errors import UsageError, UserError
from src.reports.fusion import fuse
from src.reports.metrics import METRICS
from src.reports.report import Report
from src.runs.folder import RunFolder
from src.runs.records import Calibration
from src.scores import Scores

from tests.reports.made_runs import CLASSES, run_report, scores, share, write_run


def made(values: list[list[float]], labels: list[int], names: list[str] | None = None) -> Scores:
    videos = names or [f"v{i}" for i in range(len(labels))]
    array = np.array(values, dtype=np.float32)
    return Scores(CLASSES[: array.shape[1]], videos, np.array(labels), array, np.ones(len(labels), dtype=np.int64))


def fused(first: Path, second: Path) -> Report:
    return fuse([RunFolder(first), RunFolder(second)])


def test_the_sum_by_hand(tmp_path: Path) -> None:
    """The first run is right for two of four videos, the second for two others by more; added, three are right."""
    rgb = made([[2, 0], [2, 0], [1, 0], [0, 1]], [0, 0, 1, 0])
    flow = made([[0, 3], [0, 2], [0, 1], [1, 0]], [0, 1, 0, 0], ["v3", "v2", "v1", "v0"])  # another order
    a = write_run(tmp_path / "a", [True] * 4, made=rgb)
    b = write_run(tmp_path / "b", [True] * 4, made=flow, seed=7, settings={"modality.name": "flow"})
    found = fused(a, b)
    assert [line.name for line in found.lines] == ["tiny bert", "tiny bert flow", "tiny bert + tiny bert flow"]
    first, second, both = (line.results[1, 0] for line in found.lines)
    assert both.scores is not None
    assert both.scores.scores.tolist() == [[3, 0], [2, 1], [1, 2], [0, 4]]
    assert [one.metrics["top1"] for one in (first, second, both)] == [50.0, 50.0, 75.0]
    assert both.values["macro_f1"] == pytest.approx(100 * (4 / 5 + 2 / 3) / 2, abs=1e-3)
    low, high = both.intervals["top1"]
    assert low < 75 < high
    against_first, against_second = found.comparisons
    assert (against_first.only_first, against_first.only_second, against_first.p) == (0, 1, 1.0)
    assert against_second.difference == 25.0
    assert found.lines[2].cost is not None and found.lines[2].cost.params == 3_000_000


def test_two_seeds_of_one_network_can_be_added(tmp_path: Path) -> None:
    runs = [write_run(tmp_path / f"seed{n}", share(5 + n), seed=n) for n in (0, 1)]
    found = fused(*runs)
    assert [line.name for line in found.lines] == ["seed0", "seed1", "seed0 + seed1"]
    assert all(len(line.results) == 1 for line in found.lines) and len(found.comparisons) == 2


def test_a_frozen_and_a_trained_backbone_are_called_so(tmp_path: Path) -> None:
    a = write_run(tmp_path / "a", share(5))
    b = write_run(tmp_path / "b", share(6), settings={"freeze.kind": "backbone"})
    assert "nothing frozen + frozen backbone" in fused(a, b).subtitle


@pytest.mark.parametrize(
    ("other", "message"),
    [
        ({"split": 2}, "split"),
        ({"protocol": "holdout"}, "protocol"),
        ({"name": "hmdb51"}, "data"),
        ({"lists": "other"}, "different lists of videos"),
        ({"made": scores(share(5), classes=["left", "right"])}, "classes"),
        ({"made": scores(share(5), classes=[*CLASSES[1:], CLASSES[0]])}, "different classes"),
        ({"made": scores(share(5), split=3)}, "differ in 20 videos"),
    ],
)
def test_what_does_not_belong_together_is_refused_in_a_line(
    other: dict[str, object], message: str, tmp_path: Path
) -> None:
    a = write_run(tmp_path / "a", share(5))
    b = write_run(tmp_path / "b", share(5), **other)  # type: ignore[arg-type]
    with pytest.raises(UserError, match=message) as error:
        fused(a, b)
    assert "\n" not in str(error.value) and str(a) in str(error.value)


def test_one_run_is_not_enough_and_three_are_too_many(tmp_path: Path) -> None:
    runs = [RunFolder(write_run(tmp_path / f"{n}", share(5), seed=n)) for n in range(3)]
    for some in (runs[:1], runs):
        with pytest.raises(UsageError, match="runs=A,B fuse=sum"):
            fuse(some)


def test_a_run_without_scores_is_refused(tmp_path: Path) -> None:
    a, b = (write_run(tmp_path / name, share(5)) for name in "ab")
    RunFolder(b).scores.unlink()
    with pytest.raises(UserError, match="scores cannot be read"):
        fused(a, b)
    RunFolder(b).results.unlink()
    with pytest.raises(UserError, match="has not been tested"):
        fused(a, b)


def test_from_the_command_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a, b = (write_run(tmp_path / name, share(count)) for name, count in (("a", 5), ("b", 8)))
    assert run_report(f"runs={a},{b}", "fuse=sum", "format=markdown") == 0
    text = capsys.readouterr().out
    assert "Sum of a and b" in text and "Paired tests" in text and METRICS in text
    with pytest.raises(UsageError, match="no experiment"):
        run_report("table1", f"runs={a},{b}", "fuse=sum")


def test_calibration_is_in_every_format(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    known = Calibration(15, 12.5, 0.75, 1.5, 4.25, 0.5)
    a = write_run(tmp_path / "a", share(5), calibration=known, intervals={"top1": (20.0, 80.0)})
    old = {"metrics": {"top1": 60.0, "mean_class": 61.0}, "settings": {"pooling.name": "lstm"}}  # an earlier program's
    b = write_run(tmp_path / "b", share(6), **old)  # type: ignore[arg-type]
    for format_ in ("terminal", "markdown", "latex", "html"):
        run_report(f"runs={a},{b}", f"format={format_}")
        text = capsys.readouterr().out
        assert "12.50" in text and "1.50" in text and "20.00 to 80.00" in text, format_
    run_report(f"runs={a},{b}", "format=csv")
    header, *rows = capsys.readouterr().out.splitlines()
    place = header.split(",").index("ece")
    assert [row.split(",")[place] for row in rows] == ["12.5", ""]
