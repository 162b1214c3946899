"""Lists as other suites write them: `path label` and frame folders without names of columns, and names of classes."""

from pathlib import Path

import pytest
from src.data.annotations import Lists
from src.data.audit import audit
from src.data.class_names import read_class_names
from src.data.csv_lists import read_list
from src.data.folder import folder
from src.errors import UserError

VIDEOS = ("v/a.mp4", "v/b.mp4", "v/my clip 3.mp4", "v/d.mp4")
FOLDERS = {
    "f/one": "img_{:05d}.jpg",
    "f/two words": "{:05d}.jpg",
    "f/three": "{:06d}.jpg",
    "f/four": "image_{:05d}.png",
}
COUNTS = (7, 5, 6, 4)


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four files and four folders of pictures of other names each."""
    for i, name in enumerate(VIDEOS):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(b"%d" % i)
    for (name, template), count in zip(FOLDERS.items(), COUNTS, strict=True):
        (tmp_path / name).mkdir(parents=True)
        for i in range(1, count + 1):
            (tmp_path / name / template.format(i)).write_bytes(b"picture")
    return tmp_path


def read(root: Path, lines: list[str], columns: list[str] | None = None) -> list[tuple[str, str, int | None]]:
    (root / "list.txt").write_text("".join(f"{line}\n" for line in lines))
    return [(one.path, one.label, one.frames) for one in read_list(root, root / "list.txt", columns)]


@pytest.mark.parametrize("separator", [" ", ",", ";", "\t", "  ", ", "])
def test_path_and_label(root: Path, separator: str) -> None:
    lines = [f"{name}{separator}{i}" for i, name in enumerate(VIDEOS)]
    assert read(root, lines) == [(name, str(i), None) for i, name in enumerate(VIDEOS)]
    lines = [f"{name}{separator}{i}" for i, name in enumerate(FOLDERS)]
    assert read(root, lines) == [(name, str(i), None) for i, name in enumerate(FOLDERS)]


@pytest.mark.parametrize("separator", [" ", ",", ";", "\t"])
@pytest.mark.parametrize("start", ["", "0", "1"])
def test_frame_folders_with_their_number_of_frames(root: Path, separator: str, start: str) -> None:
    begin = [start] if start else []
    rows = list(zip(FOLDERS, COUNTS, strict=True))
    for order in (rows, rows[::-1]):  # also where the first path holds a space
        lines = [separator.join([name, *begin, str(count), str(i)]) for i, (name, count) in enumerate(order)]
        assert read(root, lines) == [(name, str(i), count) for i, (name, count) in enumerate(order)]


def test_columns_can_be_stated(root: Path) -> None:
    lines = [f"{name} 99 {i}" for i, name in enumerate(VIDEOS)]
    expected = [(name, str(i), None) for i, name in enumerate(VIDEOS)]  # frames of files are found out
    assert read(root, lines, ["path", "frames", "label"]) == expected
    lines = [f"{i},x,{name},7" for i, name in enumerate(VIDEOS)]
    assert read(root, lines, ["label", "-", "path", "-"]) == expected
    assert read(root, [f"{name} {i}" for i, name in enumerate(VIDEOS)], ["path", "label"]) == expected


@pytest.mark.parametrize(
    ("lines", "columns", "message"),
    [
        (["v/a.mp4 3 5"], None, r"has 3 columns and does not name them; say what they are, for example data.columns="),
        (["v/a.mp4,3,5"], None, r"has 3 columns and does not name them; say what they are"),
        (["v/a.mp4 1 3 5"], None, r"has 4 columns and does not name them; say what they are"),
        (["v/a.mp4 0 -1"], None, r"line 1 has 3 fields instead of 2"),
        (["f/one 7 0", "f/none 3 1"], None, r"line 2: f/none does not exist"),
        (["f/none 3 1", "f/one 7 0"], None, r"line 1: f/none does not exist \(1 of 2 videos"),
        (["f/none,3,1"], None, r"line 1: f/none does not exist"),
        (["f/one 5 7 0"], None, r"line 1: the clip begins at frame 5; give each clip a file or"),
        (["v/a.mp4 50 9 0"], ["path", "start", "frames", "label"], r"line 1: the clip begins at frame 50"),
        (["v/a.mp4 50 0"], ["path", "start", "label"], r"line 1: the clip begins at frame 50"),
        (["f/one 7 0", "f/four 0 1"], None, r"line 2: 0 is not a number of frames"),
        (["f 7 0"], None, r"has 3 columns and does not name them"),
        (["path,label", "f,x"], None, r"line 2: f is a folder; name a video in each line, or a folder of pictures"),
        (["f/one 7 0", "v/a.mp4 3"], None, r"line 2: path or label is empty"),
        (["path,label", "v/a.mp4,3"], ["path", "label"], r"names its columns; leave data.columns out"),
        (["v/a.mp4 3"], ["path", "frames", "label"], r"data.columns names 3"),
    ],
)
def test_what_can_be_read_in_two_ways_or_not_at_all(root, lines, columns, message) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(root, lines, columns)
    assert "list.txt" in str(caught.value) and "\n" not in str(caught.value)


def test_a_folder_whose_name_ends_like_a_number_of_frames(root: Path) -> None:
    (root / "f" / "one 7").mkdir()
    (root / "f" / "one 7" / "img_00001.jpg").write_bytes(b"picture")
    with pytest.raises(UserError, match="its columns may be path frames label or path label; say what they are"):
        read(root, ["f/one 7 0"])
    assert read(root, ["f/one 7 0"], ["path", "label"]) == [("f/one 7", "0", None)]
    assert read(root, ["f/one 7 0"], ["path", "frames", "label"]) == [("f/one", "0", 7)]


# Several lists


def sides(root: Path, names: dict[str, list[str]], **more: object) -> Lists:
    for side, lines in names.items():
        (root / f"{side}.txt").write_text("".join(f"{line}\n" for line in lines))
    return folder(str(root), **{f"{side}_list": f"{side}.txt" for side in names}, **more)


TRAIN = ["v/a.mp4 0", "v/b.mp4 1"]


def test_a_list_for_each_side(root: Path) -> None:
    lists = sides(root, {"train": TRAIN, "val": ["v/d.mp4 0"], "test": ["v/my clip 3.mp4 1"]})
    assert lists.classes == ["0", "1"]
    assert [[v.name for v in side] for side in (lists.train, lists.val, lists.test)] == [
        ["v/a.mp4", "v/b.mp4"],
        ["v/d.mp4"],
        ["v/my clip 3.mp4"],
    ]
    frames = sides(root, {"train": ["f/one 7 0", "f/three 6 1"], "test": ["f/four 4 1"]})
    assert [v.frames for v in frames.train] == [7, 6] and frames.val is None
    flow = sides(root, {"train": ["f/one 7 0", "f/three 6 1"], "test": ["f/four 4 1"]}, modality="flow")
    assert {v.frames for v in flow.train} == {None}


def test_the_validation_list_may_be_the_test_list(root: Path) -> None:
    (root / "train.txt").write_text("\n".join(TRAIN))
    (root / "val.txt").write_text("v/d.mp4 0\n")
    lists = folder(str(root), train_list="train.txt", val_list="val.txt", test_list="val.txt")
    assert lists.val == lists.test
    report = audit(lists, {"train": lists.train, "val": lists.val, "test": lists.test})
    assert report["validates_on_test"]


def test_a_video_in_two_lists_is_a_leak(root: Path) -> None:
    lists = sides(root, {"train": TRAIN, "test": ["v/a.mp4 0", "v/d.mp4 1"]})
    phases = {"train": lists.train, "val": [], "test": lists.test}
    with pytest.raises(UserError, match=r"the same file is in train and test: v/a\.mp4"):
        audit(lists, phases)
    assert audit(lists, phases, allow_overlap=True)["overlap"]["train-test"]["path"] == [["v/a.mp4", "v/a.mp4"]]
    with pytest.raises(UserError, match=r"train.txt: lines 1 and 3 name the same video"):
        sides(root, {"train": [*TRAIN, "v/a.mp4 0"], "test": ["v/d.mp4 0"]})


@pytest.mark.parametrize(
    ("names", "more", "message"),
    [
        (
            {"train": TRAIN, "val": ["v/d.mp4 0"]},
            {},
            r"data.test_list is missing beside data.train_list, data.val_list",
        ),
        ({"test": TRAIN}, {}, r"data.train_list is missing"),
        ({"train": TRAIN, "test": TRAIN}, {"csv": "train.txt"}, "give the one list, or one for each side"),
        (
            {"train": ["v/a.mp4,0,test", "v/b.mp4,1,test"], "test": TRAIN},
            {},
            r"train.txt line 1: split test in data.tr",
        ),
        ({"train": TRAIN, "test": ["v/d.mp4 2"]}, {}, r"no training video has the label 2 of v/d.mp4 \(test\)"),
        ({"train": TRAIN, "test": ["v/x.mp4 2"]}, {}, r"test.txt line 1: v/x.mp4 does not exist"),
    ],
)
def test_lists_that_do_not_go_together(root, names, more, message) -> None:
    with pytest.raises(UserError, match=message):
        sides(root, names, **more)


def test_only_the_test_list_is_needed_for_testing(root: Path) -> None:
    assert [v.name for v in sides(root, {"test": TRAIN}, training=False).test] == ["v/a.mp4", "v/b.mp4"]


# Names of classes


@pytest.mark.parametrize(
    ("text", "names", "first"),
    [
        ("run\nlong jump\n", ["run", "long jump"], None),
        ("0 run\n1 long jump\n", ["run", "long jump"], 0),
        ("1 long jump\n0 run\n", ["run", "long jump"], 0),
        ("1 run\n2 long jump\n", ["run", "long jump"], 1),
        ("0,run\n1,long jump\n", ["run", "long jump"], 0),
        ("id,name\n0,run\n1,long jump\n", ["run", "long jump"], 0),
        ("run,0\nlong jump,1\n", ["run", "long jump"], 0),
        ("0\trun\n1\tlong jump\n", ["run", "long jump"], 0),
        ("gesture 1\ngesture 2\n", ["gesture 1", "gesture 2"], None),
        ("2 fingers\n3 fingers\n", ["2 fingers", "3 fingers"], None),
        ('{"long jump": 1, "run": "0"}', ["run", "long jump"], 0),
    ],
)
def test_files_of_class_names(tmp_path: Path, text: str, names: list[str], first: int | None) -> None:
    file = tmp_path / ("names.json" if text.startswith("{") else "names.txt")
    file.write_text(text)
    assert read_class_names(file) == (names, first)


@pytest.mark.parametrize(
    ("name", "text", "message"),
    [
        ("n.txt", "", "names no class"),
        ("n.txt", "a\na\n", "it names a twice"),
        ("n.json", "[1]", "is not JSON of the form"),
        ("n.json", "{", "is not JSON of the form"),
        ("n.json", '{"a": 0, "b": 2}', "not numbered from 0 or 1 without gaps"),
    ],
)
def test_files_that_name_no_classes(tmp_path: Path, name: str, text: str, message: str) -> None:
    (tmp_path / name).write_text(text)
    with pytest.raises(UserError, match=message) as caught:
        read_class_names(tmp_path / name)
    assert "\n" not in str(caught.value) and name in str(caught.value)


@pytest.mark.parametrize(
    ("labels", "names", "expected"),
    [
        ("01", "run\nwalk\n", "run walk"),
        ("01", "0 run\n1 walk\n", "run walk"),
        ("12", "1 run\n2 walk\n", "run walk"),
        ("01", "1 run\n2 walk\n", "run walk"),  # labels of UCF101 lists count from 0, its classInd.txt from 1
        ("01", "run\nwalk\nwave\n", "run walk"),
    ],
)
def test_numbers_get_names(root: Path, labels: str, names: str, expected: str) -> None:
    (root / "names.txt").write_text(names)
    lines = [f"v/a.mp4 {labels[0]}", f"v/b.mp4 {labels[1]}"]
    lists = sides(root, {"train": lines, "test": [f"v/d.mp4 {labels[1]}"]}, class_names="names.txt")
    assert [lists.classes[v.label] for v in lists.train] == expected.split()
    assert lists.classes == read_class_names(root / "names.txt").names
    assert lists.classes[lists.test[0].label] == expected.split()[1]


@pytest.mark.parametrize(
    ("labels", "names", "message"),
    [
        (
            "02",
            "run\nwalk\n",
            r"train.txt line 2: label 2 is not among the 2 classes of .*names.txt; lines count from 0",
        ),
        ("03", "run\nwalk\n", r"label 3 is not among .*; correct the line"),
        (("run", "ran"), "run\nwalk\n", r"label ran is not among the 2 classes"),
    ],
)
def test_numbers_without_a_name(root, labels, names, message) -> None:
    (root / "names.txt").write_text(names)
    lines = [f"v/a.mp4 {labels[0]}", f"v/b.mp4 {labels[1]}"]
    with pytest.raises(UserError, match=message):
        sides(root, {"train": lines, "test": ["v/d.mp4 0"]}, class_names="names.txt")
