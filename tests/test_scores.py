"""Per-video scores: their metrics, files and sums; and files that are not theirs."""

import io
import random
import warnings
import zipfile
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from src.errors import UserError
from src.scores import Scores


def make(scores: list[list[float]], labels: list[int], videos: list[str] | None = None) -> Scores:
    names = videos or [f"v{i}" for i in range(len(labels))]
    classes = [f"c{i}" for i in range(len(scores[0]))]
    return Scores(
        classes, names, np.array(labels), np.array(scores, dtype=np.float32), np.ones(len(labels), dtype=np.int64)
    )


def test_metrics_by_hand() -> None:
    scores = make([[3, 2, 1, 0], [3, 2, 1, 0], [0, 1, 2, 3], [0, 3, 1, 2]], [0, 1, 0, 3])
    metrics = scores.metrics()
    assert metrics["top1"] == 25.0
    assert metrics["top3"] == 75.0  # all but the third, whose label comes last
    assert "top5" not in metrics  # four classes: top-5 would be 100 by definition
    # class 0: 1 of 2, class 1: 0 of 1, class 3: 0 of 1, class 2 does not occur
    assert metrics["mean_class"] == pytest.approx(100 * 0.5 / 3, abs=1e-3)


def test_metrics_agree_with_sorting() -> None:
    rng = np.random.default_rng(0)
    values = rng.normal(size=(200, 12)).astype(np.float32)
    labels = rng.integers(0, 12, 200)
    metrics = make(values.tolist(), labels.tolist()).metrics()
    order = np.argsort(-values, axis=1)
    for k in (1, 3, 5):
        expected = np.mean([label in top for label, top in zip(labels, order[:, :k], strict=True)])
        assert metrics[f"top{k}"] == pytest.approx(100 * expected, abs=1e-3)


def test_of_equal_scores_the_first_class_is_the_prediction() -> None:
    """In ranks as in the confusion matrix: a network that says nothing is right for the first class alone."""
    scores = make([[1, 1, 1]] * 3, [0, 1, 2])
    assert scores.ranks().tolist() == [0, 1, 2]
    assert scores.correct().tolist() == [True, False, False]
    assert np.trace(scores.confusion()) == scores.correct().sum()


@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_a_video_whose_scores_are_not_finite_is_wrong(value: float) -> None:
    scores = make([[value, 0, 0, 0], [0, value, 0, 0], [2, 1, 0, 0]], [0, 0, 0])
    assert scores.correct().tolist() == [False, False, True]
    assert scores.metrics()["top3"] == pytest.approx(100 / 3, abs=1e-3)
    assert scores.confusion().sum() == 1  # what was predicted for the others nobody knows


def test_without_a_video_there_is_no_metric() -> None:
    nothing = make([[1, 2]], [0])
    nothing = Scores(nothing.classes, [], nothing.labels[:0], nothing.scores[:0], nothing.views[:0])
    assert nothing.metrics() == {}
    assert nothing.confusion().tolist() == [[0, 0], [0, 0]]


def test_loss_is_the_cross_entropy_of_the_averaged_scores() -> None:
    scores = make([[0, np.log(3)], [1000, 0]], [0, 0])
    assert scores.loss() == pytest.approx(np.log(4) / 2)


def test_confusion_counts_true_by_predicted() -> None:
    matrix = make([[1, 0], [1, 0], [0, 1]], [0, 1, 1]).confusion()
    assert matrix.tolist() == [[1, 0], [1, 1]]


ODD_NAMES = ["a b;c.avi", "ü/x.mp4", "\udcff.avi", "$x$\n[b]", "n" * 200]


@pytest.mark.parametrize("order", ["C", "F"])
def test_round_trip(order: Any, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    scores = make(rng.normal(size=(5, 3)).tolist(), [0, 2, 1, 0, 2], ODD_NAMES)
    scores = Scores(scores.classes, ODD_NAMES, scores.labels, np.asarray(scores.scores, order=order), scores.views)
    scores.save(tmp_path / "deep" / "s.npz")
    again = Scores.load(tmp_path / "deep" / "s.npz")
    assert again.videos == scores.videos
    assert again.classes == scores.classes
    assert np.array_equal(again.scores, scores.scores)
    assert np.array_equal(again.labels, scores.labels) and np.array_equal(again.views, scores.views)
    assert [p.name for p in (tmp_path / "deep").iterdir()] == ["s.npz"]


def test_scores_that_are_not_finite_survive_a_file(tmp_path: Path) -> None:
    make([[np.nan, 1], [0, 1]], [0, 1]).save(tmp_path / "s.npz")
    assert Scores.load(tmp_path / "s.npz").metrics()["mean_class"] == 50.0


def test_two_streams_are_summed_per_video_whatever_their_order() -> None:
    rgb = make([[1, 0], [0, 1]], [0, 1], ["a", "b"])
    flow = make([[0, 5], [5, 0]], [1, 0], ["b", "a"])
    both = rgb + flow
    assert both.videos == ["a", "b"]
    assert both.scores.tolist() == [[6, 0], [0, 6]]


@pytest.mark.parametrize(
    ("other", "message"),
    [
        (make([[1, 0]], [0], ["a"]), "differ in 1 videos"),
        (make([[1, 0], [1, 0]], [1, 1], ["a", "b"]), "labels"),
        (make([[1, 0, 0], [1, 0, 0]], [0, 1], ["a", "b"]), "classes"),
    ],
)
def test_streams_that_do_not_belong_together_are_refused(other: Scores, message: str) -> None:
    with pytest.raises(UserError, match=message):
        make([[1, 0], [0, 1]], [0, 1], ["a", "b"]) + other


def test_missing_score_file_is_told(tmp_path: Path) -> None:
    with pytest.raises(UserError, match="no score file"):
        Scores.load(tmp_path / "none.npz")


# Files that are not theirs


SOUND: dict[str, Any] = {
    "classes": np.array(["a", "b"]),
    "videos": np.array(["v0", "v1", "v2"]),
    "labels": np.array([0, 1, 1]),
    "scores": np.zeros((3, 2), np.float32),
    "views": np.ones(3, np.int64),
}


@pytest.mark.parametrize(
    ("name", "value", "said"),
    [
        ("scores", None, "scores"),
        ("scores", np.zeros((2, 3), np.float32), r"scores has the shape \(2, 3\) instead of \(3, 2\)"),
        ("scores", np.zeros(6, np.float32), "scores has the shape"),
        ("scores", np.zeros((3, 2), np.complex64), "scores holds complex64"),
        ("scores", np.zeros((3, 2), object), "holds objects"),
        ("scores", np.zeros((3, 2), "U2"), "scores holds"),
        ("scores", np.float32(1), "shape"),
        ("labels", np.array([0, 1, 2]), "a label is not one of the classes"),
        ("labels", np.array([0, 1, -1]), "a label is not one of the classes"),
        ("labels", np.array([0.0, 1.0, 1.0]), "labels holds float64"),
        ("labels", np.array([0, 1]), "labels has the shape"),
        ("videos", np.array(["v0", "v1", "v1"]), "a video has two rows"),
        ("videos", np.array([b"v0", b"v1", b"v2"]), "videos holds"),
        ("videos", np.array(["v0", 1, None], dtype=object), "holds objects"),
        ("classes", np.array(["a", "b", "c"]), "shape"),
        ("classes", np.array([["a", "b"]]), "shape"),
        ("views", np.ones(2, np.int64), "views has the shape"),
        ("views", np.array([1, 0, 1]), "a video has less than one view"),
    ],
)
def test_wrong_arrays_are_damage(name: str, value: Any, said: str, tmp_path: Path) -> None:
    arrays = {key: array for key, array in {**SOUND, name: value}.items() if array is not None}
    np.savez(tmp_path / "s.npz", **arrays)
    with pytest.raises(UserError, match=rf"s.npz: damaged \(.*{said}"):
        Scores.load(tmp_path / "s.npz")


def write_npz(path: Path, **replaced: bytes) -> None:
    """A score file in which some arrays are these bytes."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, array in SOUND.items():
            content = io.BytesIO()
            np.lib.format.write_array(content, array)
            archive.writestr(f"{name}.npy", replaced.get(name, content.getvalue()))


def header(description: str) -> bytes:
    """The first bytes of an array with this header."""
    text = description.encode() + b" " * (118 - len(description)) + b"\n"
    return b"\x93NUMPY\x01\x00" + len(text).to_bytes(2, "little") + text


@pytest.mark.parametrize(
    "content",
    [
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (40000000000000, 2)}"),  # promises 291 TiB
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (-3, -2)}") + b"\0" * 24,
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)}") + b"\0" * 23,
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (3, 2)}") + b"\0" * 25,
        header("{'descr': '|O', 'fortran_order': False, 'shape': (3, 2)}") + b"cos\nsystem\n(S'touch ran'\ntR.",
        header("{'descr': '<f4', 'fortran_order': False, 'shape': (3L, 2L)}") + b"\0" * 24,
        header("{'descr': '<f4', 'fortran_order': __import__('os').system('touch ran'), 'shape': (3, 2)}"),
        header("{'descr': [('a', '<f4'), ('b', '<f4')], 'fortran_order': False, 'shape': (3,)}") + b"\0" * 24,
        header("(" * 110),
        b"\x93NUMPY\x09\x00",
        b"\x93NUMPY",
        b"",
    ],
)
def test_headers_are_not_believed(content: bytes, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    write_npz(Path("s.npz"), scores=content)
    with pytest.raises(UserError, match=r"s.npz: damaged \("):
        Scores.load(Path("s.npz"))
    assert [path.name for path in tmp_path.iterdir()] == ["s.npz"]


def test_an_array_that_unpacks_to_gigabytes_is_not_read(tmp_path: Path) -> None:
    write_npz(tmp_path / "s.npz")
    content = bytearray((tmp_path / "s.npz").read_bytes())
    at = content.rindex(b"PK\x01\x02", 0, content.rindex(b"scores.npy"))  # its entry in the archive's list
    content[at + 24 : at + 28] = (3_000_000_000).to_bytes(4, "little")
    (tmp_path / "s.npz").write_bytes(content)
    with pytest.raises(UserError, match="scores is 3 GB large"):
        Scores.load(tmp_path / "s.npz")


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off", b"PK\x05\x06" + b"\0" * 18])
def test_no_archive_is_damage(content: bytes, tmp_path: Path) -> None:
    (tmp_path / "s.npz").write_bytes(content)
    with pytest.raises(UserError, match=r"s.npz: damaged"):
        Scores.load(tmp_path / "s.npz")


@pytest.mark.parametrize("compressed", [True, False])
def test_changed_bytes_are_read_as_they_were_or_refused(compressed: bool, tmp_path: Path) -> None:
    """Archives carry checksums: what is read is what was written."""
    draw = random.Random(0)
    path = tmp_path / "s.npz"
    (np.savez_compressed if compressed else np.savez)(path, **SOUND)
    sound = path.read_bytes()
    refused = 0
    for _ in range(400):
        content = bytearray(sound)
        for _ in range(draw.choice([1, 2, 10])):
            content[draw.randrange(len(content))] = draw.randrange(256)
        path.write_bytes(content[: draw.choice([len(content), draw.randrange(len(content))])])
        try:
            read = Scores.load(path)
        except UserError as error:
            refused += 1
            assert str(error).startswith(f"{path}: damaged (")
        else:
            assert read.videos == ["v0", "v1", "v2"] and read.labels.tolist() == [0, 1, 1]
    assert refused > 200


def test_an_array_that_is_there_twice_is_damage(tmp_path: Path) -> None:
    path = tmp_path / "test.npz"
    np.savez(path, **SOUND)
    with zipfile.ZipFile(path) as archive:
        content = archive.read("labels.npy")
    with zipfile.ZipFile(path, "a") as archive, warnings.catch_warnings():
        warnings.simplefilter("ignore")
        archive.writestr("labels.npy", content)
    with pytest.raises(UserError, match="an array is in it twice"):
        Scores.load(path)
