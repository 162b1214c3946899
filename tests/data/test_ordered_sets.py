"""Something-Something V2, Jester and Diving48: read as published, and named where they are not."""

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
from src.data import diving48 as dives
from src.data import jester as gestures
from src.data import something_v2
from src.data.annotations import Lists
from src.data.decode import open_video
from src.data.diving48 import diving48
from src.data.jester import jester
from src.data.mirrored import mirror
from src.data.something_v2 import ssv2
from src.errors import UserError

from tests import lookalikes

READERS: dict[str, Callable[..., Lists]] = {"ssv2": ssv2, "jester": jester, "diving48": diving48}


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("ordered")
    for name in READERS:
        getattr(lookalikes, name)(base / name, clips=2)
    return base


@pytest.fixture
def tree(trees: Path, tmp_path: Path) -> Callable[[str], Path]:
    """A copy of a tree, to be changed."""
    return lambda name: Path(shutil.copytree(trees / name, tmp_path / name))


def shown(lists: Lists, side: str) -> list[tuple[str, str]]:
    return [(video.name, lists.classes[video.label]) for video in getattr(lists, side)]


def test_the_published_sizes() -> None:
    assert (something_v2.CLASSES, something_v2.PUBLISHED["train"] + something_v2.PUBLISHED["validation"]) == (
        174,
        193690,
    )
    assert sum(something_v2.PUBLISHED.values()) == 220_847
    assert (gestures.CLASSES, gestures.PUBLISHED) == (27, {"train": 118_562, "validation": 14_787})
    assert (dives.CLASSES, sum(dives.PUBLISHED.values())) == (48, 16_997)


@pytest.mark.parametrize("name", READERS)
def test_a_part_has_to_be_asked_for(trees: Path, name: str) -> None:
    with pytest.raises(UserError, match=r"names 4 classes, the published list (174|27|48); .*data.check_counts=false"):
        READERS[name](str(trees / name))


@pytest.mark.parametrize("name", READERS)
def test_every_listed_video_is_read(trees: Path, name: str) -> None:
    lists = READERS[name](str(trees / name), check_counts=False)
    assert lists.official and lists.name == name and lists.val is None
    assert (len(lists.train), len(lists.test)) == (8, 4)
    assert [v.label for v in lists.test] and {v.label for v in lists.train} == {0, 1, 2, 3}
    for video in lists.test:
        with open_video(video.path) as reader:
            assert len(reader) in (16, 18) and reader.frames([0, len(reader) - 1]).shape[0] == 2
    nothing = trees / "nothing"
    with pytest.raises(UserError, match=r"nothing does not exist; set data.root"):
        READERS[name](str(nothing))


def test_ssv2_labels_are_templates_without_brackets(trees: Path) -> None:
    lists = ssv2(str(trees / "ssv2"), check_counts=False)
    assert lists.classes == sorted(lookalikes.SSV2_CLASSES)
    assert shown(lists, "test") == [
        (f"{1000 * (i + 1) + 74}.webm", name) for i, name in enumerate(lookalikes.SSV2_CLASSES)
    ]
    assert lists.test[0].group == "1074"
    swapped = mirror(lists.classes, "auto")
    assert [lists.classes[i] for i in swapped] == [
        *("Moving something down", "Moving something up"),
        *("Pushing something from right to left", "Pushing something from left to right"),
    ]


def test_ssv2_on_its_test_list(trees: Path) -> None:
    lists = ssv2(str(trees / "ssv2"), "test", check_counts=False)
    usual = ssv2(str(trees / "ssv2"), check_counts=False)
    assert lists.val == usual.test and lists.train == usual.train
    assert shown(lists, "test") == [
        (f"{1000 * (i + 1) + 111}.webm", name) for i, name in enumerate(lookalikes.SSV2_CLASSES)
    ]


def test_ssv2_in_its_first_layout_and_converted(tree: Callable[[str], Path]) -> None:
    root = tree("ssv2")
    for side in ("labels", "train", "validation"):
        (root / "labels" / f"{side}.json").rename(root / f"something-something-v2-{side}.json")
    (root / "20bn-something-something-v2").rename(root / "videos")
    for file in (root / "videos").iterdir():
        file.rename(file.with_suffix(".mp4"))
    lists = ssv2(str(root), check_counts=False)
    assert lists.test[0].path == str(root / "videos" / "1074.mp4") and len(lists.train) == 8


def change(file: Path, edit: Callable[[list], object]) -> None:
    content = json.loads(file.read_text())
    edit(content)
    file.write_text(json.dumps(content))


@pytest.mark.parametrize(
    ("file", "edit", "message"),
    [
        (
            "train.json",
            lambda c: c[1].update(template="Eating [something]"),
            r"train.json: entry 2 is not .* a template",
        ),
        ("train.json", lambda c: c[0].update(id=7), r"train.json: entry 1 is not"),
        ("train.json", lambda c: c[0].update(id="../1"), r"train.json: entry 1 is not"),
        ("train.json", lambda c: c.append(c[2]), r"train.json: entries 3 and 9 name the same video: 3000; keep one"),
        ("validation.json", lambda c: c.__setitem__(0, 3), r"validation.json: entry 1 is not"),
        ("labels.json", lambda c: c.update({"Moving something up": "9"}), r"labels.json: it does not number classes"),
        ("train.json", lambda c: c[0].update(id="55"), r"V2: missing under .*: 55.webm"),
    ],
)
def test_ssv2_that_is_not_as_published(tree, file, edit, message) -> None:
    root = tree("ssv2")
    change(root / "labels" / file, edit)
    with pytest.raises(UserError, match=message) as caught:
        ssv2(str(root), check_counts=False)
    assert "\n" not in str(caught.value)


def test_ssv2_whose_lists_or_answers_are_missing(tree: Callable[[str], Path]) -> None:
    root = tree("ssv2")
    answers = root / "labels" / "test-answers.csv"
    answers.write_text("".join(answers.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(UserError, match=r"test.json: entry 1 has no answer in test-answers.csv"):
        ssv2(str(root), "test", check_counts=False)
    answers.write_text("1;Nothing\n")
    with pytest.raises(UserError, match=r"test-answers.csv line 1: 1;Nothing is not `id;class`"):
        ssv2(str(root), "test", check_counts=False)
    (root / "labels" / "train.json").write_text("[{")
    with pytest.raises(UserError, match=r"train.json: not valid JSON"):
        ssv2(str(root), check_counts=False)
    (root / "labels" / "train.json").unlink()
    with pytest.raises(UserError, match=r"train.json is missing: looked in "):
        ssv2(str(root), check_counts=False)


def test_jester(trees: Path, tree: Callable[[str], Path]) -> None:
    lists = jester(str(trees / "jester"), check_counts=False)
    assert lists.classes == ["Swiping Down", "Swiping Left", "Swiping Right", "Swiping Up"]
    assert shown(lists, "test") == [(str(302 + 10 * i), name) for i, name in enumerate(lookalikes.JESTER_CLASSES)]
    assert mirror(lists.classes, "auto") == (0, 2, 1, 3)
    root = tree("jester")
    file = root / "jester-v1-train.csv"
    lines = file.read_text().splitlines()
    for wrong, message in (
        ([*lines, "300;Swiping Up"], r"train.csv: lines 1 and 9 name the same video: 300"),
        ([*lines, "7;Waving"], r"train.csv line 9: 7;Waving is not `<id>;<class>`"),
        (["x;Swiping Up"], r"line 1: x;Swiping Up is not"),
        ([*lines, "7;Swiping Up"], r"Jester: missing under .*: 7;"),
    ):
        file.write_text("\n".join(wrong))
        with pytest.raises(UserError, match=message):
            jester(str(root), check_counts=False)


def test_diving48(trees: Path, tree: Callable[[str], Path]) -> None:
    lists = diving48(str(trees / "diving48"), check_counts=False)
    assert lists.classes[:2] == ["Back 15som 05Twis FREE", "Forward 25som NoTwis PIKE"]
    assert [(v.name, v.group, v.label) for v in lists.train[:2]] == [
        ("_8Vy3dlHg2w_00000.mp4", "_8Vy3dlHg2w", 0),
        ("HNoX-TSnZPM_00001.mp4", "HNoX-TSnZPM", 0),
    ]
    assert mirror(lists.classes, "auto") == (0, 1, 2, 3)
    root = tree("diving48")
    file = root / "Diving48_V2_test.json"
    kept = file.read_text()
    for edit, message in (
        (lambda c: c[0].update(label=4), r"test.json: entry 1 is not .* from 0 to 3"),
        (lambda c: c[0].update(label=True), r"entry 1 is not"),
        (lambda c: c[1].update(vid_name="../x"), r"entry 2 is not"),
        (lambda c: c.append(c[0]), r"entries 1 and 5 name the same video"),
        (lambda c: c[1].update(vid_name="gone_1"), r"Diving48: missing under .*: gone_1.mp4"),
    ):
        change(file, edit)
        with pytest.raises(UserError, match=message):
            diving48(str(root), check_counts=False)
        file.write_text(kept)
    (root / "Diving48_vocab.json").write_text('{"a": 1}')
    with pytest.raises(UserError, match="is not a list of dives"):
        diving48(str(root), check_counts=False)
