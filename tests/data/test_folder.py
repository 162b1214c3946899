"""Videos sorted into folders: which are taken, of which class and split, and what is said of the others."""

import os
import subprocess
import sys
from collections import Counter
from pathlib import Path

import pytest
from src.data.folder import folder
from src.data.survey import find_videos
from src.errors import UserError


def make(root: Path, *names: str) -> str:
    """Files that all differ in content, for names that end in "/" folders."""
    for i, name in enumerate(names):
        path = root / name
        path.parent.mkdir(parents=True, exist_ok=True)
        if name.endswith("/"):
            path.mkdir()
        else:
            path.write_bytes(b"%d" % i)
    return str(root)


def test_folder_per_class(tree):
    lists = folder(str(tree))
    assert lists.classes == ["hop", "jump", "skip"] and lists.val is None and not lists.official
    assert len(lists.train) == 9 and Counter(v.label for v in lists.test) == {0: 1, 1: 1, 2: 1}
    assert {v.name for v in lists.train + lists.test} >= {"hop/clip 0.mp4", "jump/clip 3.mp4"}
    assert folder(str(tree)) == lists  # deterministic
    assert folder(str(tree), split_seed=1).test != lists.test


def test_ucf_names_and_patterns_give_groups(tmp_path, caplog):
    names = [f"{c}/v_{c}_g0{g}_c0{i}.avi" for c in "AB" for g in (1, 2, 3, 4) for i in (1, 2)]
    lists = folder(make(tmp_path, *names))
    assert {v.group for v in lists.test} <= {f"v_{c}_g0{g}" for c in "AB" for g in (1, 2, 3, 4)}
    assert len(lists.test) == 4 and not {v.group for v in lists.train} & {v.group for v in lists.test}
    assert {v.group for v in folder(str(tmp_path), group_pattern=r"_g(\d+)_").train} < {"01", "02", "03", "04"}
    assert "one source only" not in caplog.text
    assert folder(str(tmp_path), group_pattern=r"v_A_(never)?").train  # a group that takes no part


def test_one_source_a_class_falls_back_to_files(tmp_path, caplog):
    names = [f"{c}/v_{c}_g01_c0{i}.avi" for c in "AB" for i in range(1, 6)]
    lists = folder(make(tmp_path, *names))
    assert len(lists.test) == 2 and len(lists.train) == 8
    assert "one source only" in caplog.text


def test_videos_at_any_depth_and_of_any_ending_are_taken(tmp_path, caplog):
    taken = ["run/a.mp4", "run/day 1/b.MTS", "run/day 1/camera/c.m2ts", "walk/d.vob", "walk/e.asf", "walk/f.Mxf"]
    make(tmp_path, *taken, "walk/.hidden.mp4", "walk/Thumbs.db", ".cache/x/y.mp4")
    lists = folder(str(tmp_path), test_fraction=0.4)
    assert sorted(v.name for v in lists.train + lists.test) == taken
    assert not caplog.records
    assert sorted(find_videos(tmp_path)) == sorted(taken)
    assert find_videos(tmp_path)["run/a.mp4"] == str(tmp_path / "run/a.mp4")


def test_what_is_left_out_is_named(tmp_path, caplog):
    make(tmp_path, "run/a.mp4", "run/b.mp4", "walk/c.mp4", "walk/d.mp4")
    make(tmp_path, "run/deep/e.video", "walk/no_ending", "f.mp4", "_old/g.mp4")
    lists = folder(str(tmp_path), test_fraction=0.5)
    assert len(lists.train + lists.test) == 4
    (record,) = caplog.records
    assert "4 files and folders are left out" in record.getMessage()
    for name in ("run/deep/e.video", "walk/no_ending", "f.mp4", "_old/"):
        assert name in record.getMessage()


def test_folders_in_a_circle_are_read_once(tmp_path):
    make(tmp_path, "run/a.mp4", "run/b.mp4", "walk/c.mp4", "walk/d.mp4")
    (tmp_path / "run" / "again").symlink_to(tmp_path / "run")
    lists = folder(str(tmp_path), test_fraction=0.5)
    assert len(lists.train + lists.test) == 4


@pytest.mark.parametrize(
    "names", [("train", "val", "test"), ("Training", "valid", "testing"), ("TRAIN", "dev", "Test")]
)
def test_split_folders_above_the_classes(tmp_path, names):
    train, val, test = names
    for side, number in ((train, 3), (val, 2), (test, 1)):
        make(tmp_path, *(f"{side}/{c}/{i}.mp4" for c in ("jump", "run") for i in range(number)))
    lists = folder(str(tmp_path))
    assert lists.classes == ["jump", "run"]
    assert [len(side) for side in (lists.train, lists.val, lists.test)] == [6, 4, 2]
    assert {v.name for v in lists.test} == {f"{test}/jump/0.mp4", f"{test}/run/0.mp4"}
    assert len({v.group for v in [*lists.train, *lists.val, *lists.test]}) == 12


def test_split_folders_without_validation(tmp_path):
    make(tmp_path, "train/a/1.mp4", "train/b/2.mp4", "test/a/3.mp4", "test/b/4.mp4")
    lists = folder(str(tmp_path))
    assert lists.val is None and [len(lists.train), len(lists.test)] == [2, 2]


def test_a_class_may_be_called_train(tmp_path):
    make(tmp_path, "train/1.mp4", "train/station/2.mp4", "plane/3.mp4", "plane/4.mp4")
    lists = folder(str(tmp_path), test_fraction=0.5)
    assert lists.classes == ["plane", "train"] and len(lists.train + lists.test) == 4


@pytest.mark.parametrize(
    ("names", "message"),
    [
        ((), "holds no class folders"),
        (("hollow/",), "class folder .*hollow holds no video; remove it"),
        (
            ("a/clip/img_00001.jpg",),
            "class folder .*a holds no video; read folders of numbered pictures with data=frames",
        ),
        (("a/1.mp4",), "names one video only; training needs videos of two classes"),
        (
            ("train/a/1.mp4", "test/a/1.mp4", "more/a/1.mp4"),
            "the split folders test/ and train/ and others .more/.",
        ),
        (("train/a/1.mp4", "val/a/1.mp4"), "holds train/ and val/ but no test/; call one of them test"),
        (("train/a/1.mp4",), "holds train/ but no test/"),
        (("train/a/1.mp4", "test/a/1.mp4", "val/a/2.mp4", "dev/a/2.mp4"), "two of dev/ and .* are the same split"),
        (("train/1.mp4", "test/2.mp4"), "no class folders in test/ and train/; sort .* like train/<class>/"),
        (("a/train/1.mp4", "a/test/2.mp4", "b/train/1.mp4"), "class folder .*a holds split folders.* train/a/"),
        (
            ("train/a/1.mp4", "train/b/2.mp4", "test/c/3.mp4"),
            r"no training video has the label c of test/c/3.mp4 \(test\)",
        ),
    ],
)
def test_folders_that_cannot_be_meant(tmp_path, names, message):
    make(tmp_path, *names)
    with pytest.raises(UserError, match=message) as caught:
        folder(str(tmp_path))
    assert "\n" not in str(caught.value)


def test_wrong_words(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist; set data.root"):
        folder(str(tmp_path / "nowhere"))
    make(tmp_path, "a/1.mp4", "b/2.mp4")
    with pytest.raises(UserError, match=r"data.group_pattern=\( is not a valid regular expression"):
        folder(str(tmp_path), group_pattern="(")


@pytest.mark.parametrize("link", [os.symlink, os.link])
def test_one_file_in_two_classes(tmp_path, link):
    make(tmp_path, "run/a.mp4", "run/b.mp4", "walk/c.mp4", "walk/d.mp4")
    link(tmp_path / "run" / "a.mp4", tmp_path / "walk" / "e.mp4")
    with pytest.raises(UserError, match=r"run/a.mp4 and walk/e.mp4 are the same file; remove one of the links"):
        folder(str(tmp_path))


def test_a_tree_of_links_is_a_tree(tmp_path):
    make(tmp_path / "pool", "1.mp4", "2.mp4", "3.mp4", "4.mp4")
    for i, label in enumerate("aabb", 1):
        (tmp_path / "data" / label).mkdir(parents=True, exist_ok=True)
        (tmp_path / "data" / label / f"{i}.mp4").symlink_to(tmp_path / "pool" / f"{i}.mp4")
    lists = folder(str(tmp_path / "data"), test_fraction=0.5)
    assert sorted(v.name for v in lists.train + lists.test) == ["a/1.mp4", "a/2.mp4", "b/3.mp4", "b/4.mp4"]


def test_class_numbers_are_the_same_in_every_process(tmp_path, caplog):
    make(tmp_path, *(f"{c}/{i}.mp4" for c in ("1", "01", "001", "10", "2") for i in range(2)))
    words = "import sys; from src.data.folder import folder; print(folder(sys.argv[1], test_fraction=0.5).classes)"
    for seed in ("0", "1", "2"):
        done = subprocess.run(
            [sys.executable, "-c", words, str(tmp_path)],
            capture_output=True,
            text=True,
            check=True,
            env={**os.environ, "PYTHONHASHSEED": seed},
        )
        assert done.stdout.strip() == "['001', '01', '1', '2', '10']"
    folder(str(tmp_path), test_fraction=0.5)
    assert "001 and 01 are taken as two classes" in caplog.text


STRANGE = ["$\\alpha$", "\\foo", "[b]", "a\nb", "\x1b[31mred", "x" * 180, "caf\udce9", "12:30:00", " a", "日本"]


def test_any_name_is_a_class_and_a_video(tmp_path, caplog):
    for i, name in enumerate(STRANGE):
        make(tmp_path, f"{name}/{i}{name}.mp4", f"{name}/other {i}.mp4", f"{name}/{name}.txt")
    lists = folder(str(tmp_path), test_fraction=0.5)
    assert lists.classes == sorted(STRANGE)
    for video in lists.train + lists.test:
        assert Path(video.path).is_file() and video.name == os.path.relpath(video.path, tmp_path)
        assert lists.classes[video.label] == video.name.partition("/")[0]
    assert not any("\x1b" in record.getMessage() or "\n" in record.getMessage() for record in caplog.records)


def test_readers_of_lists_start_without_torch_or_decoders():
    modules = "annotations folder class_folders csv_lists frame_lists hmdb51 ucf101 kinetics400 published".split()
    words = (
        f"import sys, {', '.join(f'src.data.{name}' for name in modules)}; "
        "print(*{'torch', 'torchvision', 'av', 'decord'} & set(sys.modules))"
    )
    done = subprocess.run([sys.executable, "-c", words], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == ""


def test_runs_in_the_data_folder_are_no_class(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("run/0.mp4", "run/1.mp4", "walk/0.mp4", "walk/1.mp4", "outputs/a run/mistakes/00_run_as_walk.mp4"):
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_text(name)
    assert folder(str(tmp_path)).classes == ["outputs", "run", "walk"]  # somebody's class
    monkeypatch.chdir(tmp_path)
    assert folder(".").classes == folder(str(tmp_path)).classes == ["run", "walk"]
