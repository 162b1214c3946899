"""HMDB51, UCF101, Kinetics-400 and the authors' frame lists: read as published, and named where they are not."""

import csv
import shutil
from collections import Counter
from pathlib import Path

import pytest
from src.data.frame_lists import frames
from src.data.hmdb51 import CLASSES, group, hmdb51
from src.data.kinetics400 import kinetics400
from src.data.ucf101 import PUBLISHED, ucf101
from src.errors import UserError

from tests import lookalikes


@pytest.fixture(scope="module")
def trees(tmp_path_factory: pytest.TempPathFactory) -> Path:
    base = tmp_path_factory.mktemp("trees")
    lookalikes.hmdb51(base / "hmdb51", classes=("kick", "catch"), sources=3, clips=1)
    lookalikes.ucf101(base / "ucf101", classes=("Diving", "Archery"), groups=3, clips=1)
    splits = [hmdb51(str(base / "hmdb51"), split, check_counts=False) for split in (1, 2, 3)]
    lookalikes.frame_folders(splits, base / "frames", flow_ending="")
    return base


def full_hmdb51(root: Path) -> Path:
    """Empty files, and lists of split 1, as many as published."""
    (root / "splits").mkdir(parents=True)
    for name in CLASSES:
        (root / name).mkdir()
        clips = [f"film_{i}_{name}_f_cm_np1_fr_med_0.avi" for i in range(103)]
        for clip in clips:
            (root / name / clip).touch()
        lines = [f"{clip} {1 if i < 70 else 2 if i < 100 else 0} \n" for i, clip in enumerate(clips)]
        (root / "splits" / f"{name}_test_split1.txt").write_text("".join(lines))
    return root


def test_hmdb51_as_published(tmp_path: Path) -> None:
    root = full_hmdb51(tmp_path / "hmdb51")
    lists = hmdb51(str(root), 1)
    assert lists.classes == list(CLASSES) == sorted(CLASSES) and len(CLASSES) == 51
    assert (len(lists.train), len(lists.test)) == (3570, 1530)
    assert set(Counter(video.label for video in lists.test).values()) == {30}
    assert lists.official and lists.split == 1 and lists.val is None

    shutil.rmtree(root / "walk")
    (root / "wave" / "film_3_wave_f_cm_np1_fr_med_0.avi").unlink()
    (root / "wave" / "film_101_wave_f_cm_np1_fr_med_0.avi").unlink()  # not used by this split
    with pytest.raises(UserError, match=r"walk/ \(all 100\), wave/film_3_wave_f_cm_np1_fr_med_0.avi;"):
        hmdb51(str(root), 1)

    one = root / "splits" / "kiss_test_split1.txt"
    one.write_text("".join(one.read_text().splitlines(keepends=True)[1:]))
    with pytest.raises(UserError, match=r"kiss_test_split1.txt names 69 training clips, the published list 70"):
        hmdb51(str(root), 1)
    one.unlink()
    with pytest.raises(UserError, match=r"missing under .*splits: kiss_test_split1.txt"):
        hmdb51(str(root), 1)
    with pytest.raises(UserError, match=r"\*_test_split2.txt is missing: looked in "):
        hmdb51(str(root), 2)
    with pytest.raises(UserError, match=r"splits 1, 2 and 3"):
        hmdb51(str(root), 4)
    with pytest.raises(UserError, match=r"does not exist; set data.root"):
        hmdb51(str(tmp_path / "nothing"), 1)


@pytest.mark.parametrize(
    ("clip", "label", "source"),
    [
        ("American_History_X_kick_f_nm_np1_le_bad_37", "kick", "American_History_X"),
        ("How_to_pour_beer_pour_u_nm_np1_fr_goo_0", "pour", "How_to"),  # as the name says, though it is the title
        ("50_FIRST_DATES_kick_ball_f_cm_np1_ba_med_19", "kick_ball", "50_FIRST_DATES"),
        ("kick__Best_CHUCK_NORRIS_kick_f_cm_np1_ba_goo_0", "kick", "kick__Best_CHUCK_NORRIS"),
    ],
)
def test_hmdb51_source_is_the_name_up_to_the_class(clip: str, label: str, source: str) -> None:
    assert group(clip, label) == f"{label}/{source}"


def test_a_part_of_hmdb51_has_to_be_asked_for(trees: Path) -> None:
    with pytest.raises(UserError, match=r"brush_hair_test_split2.txt"):
        hmdb51(str(trees / "hmdb51"), 2)
    lists = hmdb51(str(trees / "hmdb51"), 2, check_counts=False)
    assert lists.classes == ["catch", "kick"]
    assert [video.group for video in lists.test] == [
        "catch/Die_Another_Day_-_Scene_Part_1_[HD]",
        "kick/Die_Another_Day_-_Scene_Part_1_[HD]",
    ]
    assert not {video.group for video in lists.train} & {video.group for video in lists.test}
    assert all(Path(video.path).is_file() for video in lists.train + lists.test)


def test_ucf101_counts_and_numbers(trees: Path, tmp_path: Path) -> None:
    assert PUBLISHED == {1: (9537, 3783), 2: (9586, 3734), 3: (9624, 3696)}
    root = str(shutil.copytree(trees / "ucf101", tmp_path / "ucf101"))
    with pytest.raises(UserError, match=r"classInd.txt names 2 classes, the published list 101"):
        ucf101(root, 1)
    lists = ucf101(root, 1, check_counts=False)
    assert lists.classes == ["Diving", "Archery"]  # the file's order, not the alphabet's
    assert [(video.label, video.group) for video in lists.test] == [(1, "v_Archery_g01"), (0, "v_Diving_g01")]
    assert lists.test[0].name == "Archery/v_Archery_g01_c01.avi"

    nested = tmp_path / "ucf101" / "UCF-101"  # as the archive unpacks
    nested.mkdir()
    for name in lists.classes:
        (tmp_path / "ucf101" / name).rename(nested / name)
    moved = ucf101(root, 1, check_counts=False)
    assert [video.name for video in moved.test] == [video.name for video in lists.test]
    assert moved.root == str(nested)

    train = tmp_path / "ucf101" / "ucfTrainTestlist" / "trainlist01.txt"
    train.write_text("Diving/v_Diving_g02_c01.avi 2\n")
    with pytest.raises(UserError, match=r"gives Diving the number 1"):
        ucf101(root, 1, check_counts=False)
    train.write_text("Diving/v_Diving_g09_c01.avi 1\n")
    with pytest.raises(UserError, match=r"missing under .*: Diving/v_Diving_g09_c01.avi"):
        ucf101(root, 1, check_counts=False)


def test_kinetics400(tmp_path: Path) -> None:
    rows = {
        "train": [("riding a bike", "-abc_DEF012", 3, 13), ("archery", "xyz", 100, 110), ("archery", "xyz", 0, 10)],
        "validate": [("archery", "v v", 1, 11), ("riding a bike", "gone", 1, 11)],
    }
    for side, listed in rows.items():
        with (tmp_path / f"{side}.csv").open("w", newline="") as stream:
            writer = csv.writer(stream)
            writer.writerow(("label", "youtube_id", "time_start", "time_end", "split"))
            writer.writerows((*row, side) for row in listed)
    for name in (
        *("train/riding_a_bike/-abc_DEF012_000003_000013.mp4", "train/archery/xyz_000100_000110.mp4"),
        *("train/xyz_000000_000010.mp4", "val/v v_000001_000011.mp4"),
    ):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).touch()
    with pytest.raises(UserError, match="names 2 classes, the published list 400"):
        kinetics400(str(tmp_path))
    with pytest.raises(UserError, match=r"missing under .*: gone_000001_000011.mp4 \(test, riding a bike\)"):
        kinetics400(str(tmp_path), check_counts=False)
    lists = kinetics400(str(tmp_path), check_counts=False, allow_missing=True)
    assert lists.classes == ["archery", "riding a bike"]
    assert [(video.label, video.group) for video in lists.train] == [(1, "-abc_DEF012"), (0, "xyz"), (0, "xyz")]
    assert [video.name for video in lists.test] == ["val/v v_000001_000011.mp4"]
    (tmp_path / "validate.csv").unlink()
    with pytest.raises(UserError, match=r"val.csv is missing: looked in "):
        kinetics400(str(tmp_path), check_counts=False)


def test_frame_lists_say_the_same_as_the_video_lists(trees: Path) -> None:
    for split in (1, 2, 3):
        videos = hmdb51(str(trees / "hmdb51"), split, check_counts=False)
        folders = frames(str(trees / "frames"), split, "rgb")
        assert folders.classes == videos.classes  # told by the folders' names
        assert folders.official and folders.split == split
        for ours, theirs in ((folders.train, videos.train), (folders.test, videos.test)):
            assert [(v.name, v.label, v.group) for v in ours] == [(Path(v.name).stem, v.label, v.group) for v in theirs]
            assert all(video.frames == len(list(Path(video.path).glob("img_*.jpg"))) for video in ours)


def test_frame_lists_of_ones_own(trees: Path, tmp_path: Path) -> None:
    root = tmp_path / "frames"
    for name in ("some film", "b", "c"):
        (root / name).mkdir(parents=True)
    (root / "train.txt").write_text("some film 30 0\nb 12 1\n")
    (root / "test.txt").write_text("c 7 1\n")
    lists = frames(str(root), 1, "rgb", train_list="train.txt", test_list="test.txt")
    assert (lists.classes, lists.official) == (["0", "1"], False)
    assert [(video.name, video.frames) for video in lists.train] == [("some film", 30), ("b", 12)]
    (root / "names.txt").write_text("1 wave\n2 walk\n")
    own = {"train_list": "train.txt", "test_list": "test.txt", "class_names": str(root / "names.txt")}
    assert frames(str(root), 1, "rgb", **own).classes == ["wave", "walk"]
    (root / "test.txt").write_text("c 7 1\nd 9 0\n")
    with pytest.raises(UserError, match=r"missing under .*: d;"):
        frames(str(root), 1, "rgb", **own)
    (root / "train.txt").write_text("b 12 1\n")
    with pytest.raises(UserError, match=r"of the classes 0 to 1, \[0\] have no training video"):
        frames(str(root), 1, "rgb", **own)
    (root / "train.txt").write_text("b none 1\n")
    with pytest.raises(UserError, match=r"line 1: b none 1 is not `<folder> <frames> <class>`"):
        frames(str(root), 1, "rgb", **own)
    with pytest.raises(UserError, match=r"train_flow_split1.txt is missing: looked in "):
        frames(str(root), 1, "flow")


def test_frames_are_counted_where_only_the_other_modality_has_a_list(trees: Path, tmp_path: Path) -> None:
    for side in ("train", "val"):
        shutil.copy(trees / "frames" / "settings" / f"{side}_rgb_split1.txt", tmp_path)
    lists = frames(str(trees / "frames"), 1, "flow", list_folder=str(tmp_path))
    assert {video.frames for video in lists.train} == {None}


def test_a_video_that_a_published_list_names_twice(trees: Path, tmp_path: Path) -> None:
    root = shutil.copytree(trees / "ucf101", tmp_path / "ucf101")
    train = root / "ucfTrainTestlist" / "trainlist01.txt"
    line = train.read_text().splitlines()[0]
    train.write_text(f"{line}\n\n{line}\n")
    with pytest.raises(UserError, match=r"trainlist01.txt: lines 1 and 3 name the same video: "):
        ucf101(str(root), 1, check_counts=False)
    root = shutil.copytree(trees / "hmdb51", tmp_path / "hmdb51")
    kick = next(root.rglob("kick_test_split1.txt"))
    clip = kick.read_text().splitlines()[0].rpartition(" ")[0]
    kick.write_text(f"{clip} 1\n{clip} 2\n")
    with pytest.raises(UserError, match=r"kick_test_split1.txt: lines 1 and 2 name the same video: kick/"):
        hmdb51(str(root), 1, check_counts=False)


@pytest.mark.parametrize("other", ["b", "./b", ".//b/", "link"])
def test_frame_folders_are_listed_once_and_classes_have_no_gaps(tmp_path: Path, other: str) -> None:
    for name in ("a", "b", "c"):
        (tmp_path / name).mkdir()
    (tmp_path / "link").symlink_to("b")
    (tmp_path / "test.txt").write_text("c 7 1\n")
    own = {"train_list": "train.txt", "test_list": "test.txt"}
    (tmp_path / "train.txt").write_text(f"a 3 0\n\nb 12 1\n{other} 12 0\n")
    with pytest.raises(UserError, match=r"train.txt: lines 3 and 4 name the same video: b.* \(labels 1 and 0\)"):
        frames(str(tmp_path), 1, "rgb", **own)
    (tmp_path / "train.txt").write_text("./a 3 0\nb 12 999999999\n")
    with pytest.raises(UserError, match=r"of the classes 0 to 999999999, \[1, 2, 3, 4, 5, 6, 7, 8, 9, 10"):
        frames(str(tmp_path), 1, "rgb", **own)
