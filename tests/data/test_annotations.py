from collections import Counter

import pytest
from src.data.annotations import Video, folder, group_holdout, identity
from src.errors import UserError


def listing(tmp_path, text, files=("a/1.mp4", "a/2.mp4", "b/3.mp4", "b/4.mp4")):
    for name in files:
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).touch()
    (tmp_path / "list.csv").write_text(text)
    return {"root": str(tmp_path), "csv": "list.csv"}


def videos(groups):
    """(label, group) → videos."""
    return [Video(f"{i}.mp4", label, group, f"{i}.mp4") for i, (label, group) in enumerate(groups)]


def test_folder_per_class(tree):
    lists = folder(str(tree))
    assert lists.classes == ["hop", "jump", "skip"] and lists.val is None and not lists.official
    assert len(lists.train) == 9 and Counter(v.label for v in lists.test) == {0: 1, 1: 1, 2: 1}
    assert {v.name for v in lists.train + lists.test} >= {"hop/clip 0.mp4", "jump/clip 3.mp4"}
    assert folder(str(tree)) == lists  # deterministic
    assert folder(str(tree), split_seed=1).test != lists.test


def test_csv_with_split_and_groups(tmp_path):
    text = "path,label,group,split\na/1.mp4,x,g1,train\na/2.mp4,y,g2,train\nb/3.mp4,x,g3,val\nb/4.mp4,y,g4,test\n"
    lists = folder(**listing(tmp_path, "\ufeff" + text))
    assert lists.classes == ["x", "y"]
    assert [v.name for v in lists.train] == ["a/1.mp4", "a/2.mp4"]
    assert [v.group for v in lists.val + lists.test] == ["g3", "g4"] and lists.test[0].label == 1


def test_csv_without_split_is_held_out_by_group(tmp_path):
    text = "path,label,group\na/1.mp4,10,g\na/2.mp4,10,h\nb/3.mp4,9,g\nb/4.mp4,9,h\n"
    lists = folder(**listing(tmp_path, text))
    assert lists.classes == ["9", "10"]  # by value
    assert {v.group for v in lists.train} | {v.group for v in lists.test} == {"g", "h"}
    assert not {v.group for v in lists.train} & {v.group for v in lists.test}


def test_ucf_names_and_patterns_give_groups(tmp_path, caplog):
    names = [f"{c}/v_{c}_g0{g}_c0{i}.avi" for c in "AB" for g in (1, 2, 3, 4) for i in (1, 2)]
    lists = folder(listing(tmp_path, "", names)["root"])
    assert {v.group for v in lists.test} <= {f"v_{c}_g0{g}" for c in "AB" for g in (1, 2, 3, 4)}
    assert len(lists.test) == 4 and not {v.group for v in lists.train} & {v.group for v in lists.test}
    assert {v.group for v in folder(str(tmp_path), group_pattern=r"_g(\d+)_").train} < {"01", "02", "03", "04"}
    assert "one source only" not in caplog.text


def test_one_source_a_class_falls_back_to_files(tmp_path, caplog):
    names = [f"{c}/v_{c}_g01_c0{i}.avi" for c in "AB" for i in range(1, 6)]
    lists = folder(listing(tmp_path, "", names)["root"])
    assert len(lists.test) == 2 and len(lists.train) == 8
    assert "one source only" in caplog.text


@pytest.mark.parametrize("fraction", [0.1, 0.25, 0.5])
def test_holdout_by_group(fraction):
    many = videos([(c, f"{c}-{g}") for c in range(5) for g in range(20) for _ in range(1 + g % 3)])
    kept, held = group_holdout(many, fraction, seed=0)
    assert not {v.group for v in kept} & {v.group for v in held}
    assert sorted(v.name for v in kept + held) == sorted(v.name for v in many)
    total = Counter(v.label for v in many)
    for label, count in Counter(v.label for v in held).items():
        assert abs(count - fraction * total[label]) <= 3
    assert group_holdout(many[::-1], fraction, 0)[1] == held[::-1]
    assert group_holdout(many, fraction, 1)[1] != held


def test_holdout_never_empties_a_class(caplog):
    kept, held = group_holdout(videos([(0, "a"), (0, "b"), (0, "c"), (1, "d"), (1, "d")]), 0.5, 0)
    assert {v.label for v in kept} == {0, 1} and {v.label for v in held} == {0}
    assert "1 of 2 classes" in caplog.text
    with pytest.raises(UserError, match="none can be held out without emptying a class"):
        group_holdout(videos([(0, "a"), (0, "a"), (1, "b")]), 0.5, 0)
    with pytest.raises(UserError, match="not between 0 and 1"):
        group_holdout(videos([(0, "a"), (0, "b")]), 1.5, 0)


def test_identity_is_of_the_list_not_its_order():
    some = videos([(0, "a"), (1, "b")])
    assert identity(some) == identity(some[::-1])
    assert identity(some)["videos"] == 2 and identity(some) != identity(some[:1])


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("file,label\na/1.mp4,x\n", "list.csv has no column path .*it needs path,label"),
        ("path,label\n", "names no video"),
        ("", "has no column path and no column label"),
        ("path,label\na/1.mp4,\n", "line 2: path or label is empty"),
        ("path,label\na/1.mp4,x\na/1.mp4,y\n", "a/1.mp4 is listed more than once"),
        ("path,label\na/1.mp4,x\na/9.mp4,y\n", "1 of 2 videos are not under .*the first is a/9.mp4"),
        ("path,label,split\na/1.mp4,x,dev\n", "split 'dev' is none of train, val, test"),
        ("path,label,split\na/1.mp4,x,train\n", "no video has split test"),
        ("path,label,split\na/1.mp4,x,train\na/2.mp4,z,test\n", "label 'z' of a/2.mp4 .* is not a class"),
    ],
)
def test_wrong_lists(tmp_path, text, message):
    with pytest.raises(UserError, match=message) as caught:
        folder(**listing(tmp_path, text))
    assert "\n" not in str(caught.value)


def test_wrong_folders(tmp_path):
    with pytest.raises(UserError, match=r"nowhere does not exist; set data.root"):
        folder(str(tmp_path / "nowhere"))
    with pytest.raises(UserError, match="holds no class folders"):
        folder(str(tmp_path))
    with pytest.raises(UserError, match=r"list .*absent\.csv cannot be read"):
        folder(str(tmp_path), csv="absent.csv")
    (tmp_path / "hollow").mkdir()
    with pytest.raises(UserError, match=r"class folder .*hollow holds no video"):
        folder(str(tmp_path))
    (tmp_path / "hollow" / "x.MP4").touch()
    with pytest.raises(UserError, match="not a regular expression"):
        folder(str(tmp_path), group_pattern="(")
