"""Lists as people have them: read where they have one meaning, else refused with file, line and mend."""

import os
from pathlib import Path

import pytest
from src.data.annotations import Lists
from src.data.folder import folder
from src.errors import UserError

CLIPS = ("run/clip0.mp4", "run/clip1.mp4", "walk/clip0.mp4", "walk/clip1.mp4")


@pytest.fixture
def root(tmp_path: Path) -> Path:
    """Four clips of two classes."""
    base = tmp_path / "videos"
    for i, name in enumerate(CLIPS):
        (base / name).parent.mkdir(parents=True, exist_ok=True)
        (base / name).write_bytes(b"%d" % i)
    return base


def read(root: Path, text: str | bytes, **arguments: object) -> Lists:
    content = text if isinstance(text, bytes) else text.encode()
    (root / "list.csv").write_bytes(content)
    return folder(str(root), csv="list.csv", test_fraction=0.5, **arguments)


def pairs(lists: Lists) -> list[tuple[str, str]]:
    """(name, class) of all videos, in order of their names."""
    videos = [*lists.train, *(lists.val or []), *lists.test]
    assert all(Path(video.path).exists() for video in videos)
    return sorted((video.name, lists.classes[video.label]) for video in videos)


EXPECTED = [(name, name.partition("/")[0]) for name in CLIPS]


def rows(separator: str = ",", header: str = "", line: str = "{path}{separator}{label}") -> str:
    lines = [header] if header else []
    lines += [line.format(path=path, label=label, separator=separator) for path, label in EXPECTED]
    return "\n".join(lines) + "\n"


FORMS = {
    "commas": rows(header="path,label"),
    "spaces after commas": rows(", ", header="path, label"),
    "semicolons": rows(";", header="path;label"),
    "tabs": rows("\t", header="path\tlabel"),
    "bars": rows("|", header="path|label"),
    "spaces": rows(" ", header="path label"),
    "several spaces": rows("   "),
    "sep=": "sep=;\n" + rows(";", header="path;label"),
    "sep= quoted": '"sep=\t"\r\n' + rows("\t"),
    "Path,Label": rows(header="Path,Label"),
    "path ,label ": rows(header="path ,label "),
    "filename,class": rows(header="filename,class"),
    "File Name;Category": rows(";", header="File Name;Category"),
    "video\taction": rows("\t", header="video\taction"),
    "label first": rows(header="label,path", line="{label},{path}"),
    "other columns": rows(header="id,path,label,fps", line="7,{path},{label},25"),
    "the documented name wins": rows(header="name,path,label,class_name", line="x,{path},{label},y"),
    "no header": rows(),
    "no header, spaces": rows(" "),
    "no header, label first": rows(line="{label},{path}"),
    "no header, split": rows(line="{path},{label},train").replace("1.mp4,run,train", "1.mp4,run,test"),
    "comment first": '# my clips, 2024: "the good ones\n' + rows(header="path,label"),
    "comment and no header": "# my clips\n" + rows(),
    "comment between": rows(header="path,label").replace("walk/clip0", "#run/clip9.mp4,run\nwalk/clip0", 1),
    "empty lines": "\n\n" + rows(header="path,label").replace("\n", "\n\n"),
    "empty cells at the end": rows(header="path;label;;", line="{path};{label};;"),
    "old line ends": rows(header="path,label").replace("\n", "\r"),
    "Windows line ends": rows(header="path,label").replace("\n", "\r\n"),
    "UTF-8 with BOM": "\ufeff" + rows(header="path,label"),
    "UTF-16": rows("\t", header="path\tlabel").encode("utf-16"),
    "UTF-16 big-endian": b"\xfe\xff" + rows(header="path,label").encode("utf-16-be"),
    "UTF-32": rows(header="path,label").encode("utf-32"),
    "backslashes": rows(header="path,label").replace("/", "\\"),
    "backslashes, no header": rows().replace("/", "\\"),
    "./": rows(header="path,label", line="./{path},{label}"),
    "//": rows(header="path,label").replace("/", "//"),
    "..": rows(header="path,label", line="run/../{path},{label}"),
    "no ending": rows(header="path,label").replace(".mp4", ""),
    "no ending, no header": rows(" ").replace(".mp4", ""),
    "two marks of byte order": b"\xef\xbb\xbf\xef\xbb\xbf" + rows(header="path,label").encode(),
    "end of a file in DOS": rows(header="path,label") + "\x1a",
    "quotes": rows(header='"path","label"', line='"{path}","{label}"'),
}


@pytest.mark.parametrize("form", FORMS)
def test_what_has_one_meaning_is_read(root: Path, form: str) -> None:
    assert pairs(read(root, FORMS[form])) == EXPECTED


def test_absolute_paths_get_the_names_of_relative_ones(root: Path, tmp_path: Path, monkeypatch) -> None:
    assert pairs(read(root, rows(header="path,label", line=f"{root}/{{path}},{{label}}"))) == EXPECTED
    (tmp_path / "link").symlink_to(root)
    text = rows(header="path,label", line=f"{tmp_path}/link/{{path}},{{label}}")
    assert pairs(read(root, text)) == EXPECTED
    assert pairs(read(tmp_path / "link", rows(header="path,label", line=f"{root}/{{path}},{{label}}"))) == EXPECTED
    monkeypatch.chdir(tmp_path)
    assert pairs(read(Path("videos"), text)) == EXPECTED


@pytest.mark.parametrize(
    "words", ["train val test", "Train validation Testing", "training dev TEST", "train valid test"]
)
@pytest.mark.parametrize("header", ["path,label,group,split", "Video,Class,Source,Subset", ""])
def test_groups_and_splits(root: Path, words: str, header: str) -> None:
    train, val, test = words.split()
    sides, labels = (train, train, val, test), ("run", "walk", "run", "walk")
    lines = [f"{CLIPS[i]},{labels[i]},g{i},{sides[i]}" for i in range(4)]
    lists = read(root, "\n".join([header, *lines]))
    assert [(v.name, v.group) for v in lists.train] == [(CLIPS[0], "g0"), (CLIPS[1], "g1")]
    assert [(v.name, v.group, v.label) for v in lists.val] == [(CLIPS[2], "g2", 0)]
    assert [(v.name, v.group, v.label) for v in lists.test] == [(CLIPS[3], "g3", 1)]


def test_without_splits_the_test_videos_are_held_out_by_group(root: Path) -> None:
    text = "path,label,group\nrun/clip0.mp4,10,g\nrun/clip1.mp4,10,h\nwalk/clip0.mp4,9,g\nwalk/clip1.mp4,9,h\n"
    lists = read(root, text)
    assert lists.classes == ["9", "10"]  # by value
    assert {v.group for v in lists.train} | {v.group for v in lists.test} == {"g", "h"}
    assert not {v.group for v in lists.train} & {v.group for v in lists.test}


def test_names_with_separators_spaces_and_signs(root: Path) -> None:
    names = ("run/a,b;c.mp4", "run/my clip (1).mp4", "#1.mp4", "walk/back\\slash.mp4")
    for i, name in enumerate(names):
        (root / name).write_bytes(b"other %d" % i)
    labels = ("run", "run", "walk", "walk")
    expected = sorted(zip(names, labels, strict=True))
    quoted = "path,label\n" + "".join(f'"{name}",{label}\n' for name, label in zip(names, labels, strict=True))
    assert pairs(read(root, quoted)) == expected
    spaced = "".join(f"{name} {label}\n" for name, label in zip(names, labels, strict=True))
    assert pairs(read(root, spaced)) == expected
    tabs = "".join(f"{name}\t{label}\n" for name, label in zip(names, labels, strict=True))
    assert pairs(read(root, tabs)) == expected


def test_letters_of_windows_and_names_of_stray_bytes(root: Path) -> None:
    (root / "café").mkdir()
    (root / "café" / "ä.mp4").write_bytes(b"x")
    (root / "café" / "ö.mp4").write_bytes(b"yy")
    text = "path;label\ncafé/ä.mp4;café\ncafé/ö.mp4;café\nrun/clip0.mp4;run\nrun/clip1.mp4;run\n"
    expected = [("café/ä.mp4", "café"), ("café/ö.mp4", "café"), *EXPECTED[:2]]
    for encoding in ("utf-8", "cp1252", "utf-16"):
        assert pairs(read(root, text.encode(encoding))) == sorted(expected), encoding
    (root / "café").rename(root / "caf\udce9")
    (root / "caf\udce9" / "ä.mp4").rename(root / "caf\udce9" / "\udce4.mp4")
    (root / "caf\udce9" / "ö.mp4").rename(root / "caf\udce9" / "\udcf6.mp4")
    expected = [("caf\udce9/\udce4.mp4", "caf\udce9"), ("caf\udce9/\udcf6.mp4", "caf\udce9"), *EXPECTED[:2]]
    assert pairs(read(root, text.encode("cp1252"))) == sorted(expected)


def test_accents_in_either_form(root: Path) -> None:
    (root / "run" / "cafe\u0301.mp4").write_bytes(b"as a Mac writes it")
    lists = read(root, "path,label\nrun/café.mp4,é\nrun/clip0.mp4,e\u0301\nwalk/clip0.mp4,b\nwalk/clip1.mp4,b\n")
    assert lists.classes == ["b", "é"]
    assert ("run/cafe\u0301.mp4", "é") in pairs(lists)


@pytest.mark.parametrize(
    "other",
    [
        "run/clip0.mp4",
        "./run/clip0.mp4",
        "run//clip0.mp4",
        "{root}/run/clip0.mp4",
        "run/link.mp4",
        "run/hard.mp4",
        "walk/../run/clip0.mp4",
        "run\\clip0.mp4",
        "run/clip0",
    ],
)
@pytest.mark.parametrize("sides", [("train", "train", "run"), ("train", "train", "walk"), ("train", "test", "run")])
def test_one_video_in_two_lines(root: Path, other: str, sides: tuple[str, str, str]) -> None:
    (root / "run" / "link.mp4").symlink_to("clip0.mp4")
    os.link(root / "run" / "clip0.mp4", root / "run" / "hard.mp4")
    first, second, label = sides
    lines = [
        "path,label,split",
        f"run/clip0.mp4,run,{first}",
        "walk/clip0.mp4,walk,train",
        "",
        "walk/clip1.mp4,walk,test",
    ]
    lines += [f"{other.format(root=root)},{label},{second}"]
    with pytest.raises(UserError, match=r"list.csv: lines 2 and 6 name the same video: run/clip0.mp4") as caught:
        read(root, "\n".join(lines))
    assert "\n" not in str(caught.value)
    assert ("(labels run and walk)" in str(caught.value)) == (label == "walk")


def test_videos_outside_of_the_root_are_read_with_a_warning(root: Path, caplog: pytest.LogCaptureFixture) -> None:
    (root.parent / "thesis.mp4").write_bytes(b"outside")
    lists = read(root, rows(header="path,label") + "../thesis.mp4,run\n")
    assert ("../thesis.mp4", "run") in pairs(lists)
    assert "1 videos are outside of data.root: ../thesis.mp4" in caplog.text


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("", "names no video; begin it with the line path,label"),
        ("path,label\n", "names no video; every line after the first"),
        ("foo,label\nrun/clip0.mp4,x\n", r"list.csv has no column path \(its first line is foo,label\)"),
        ("path,foo\nrun/clip0.mp4,x\n", "has no column label"),
        ("foo,bar\nrun/clip0.mp4,x\n", "has no column path and no column label"),
        ("file,video,label\na,b,c\n", "file and video may both be the column path; call one of them path"),
        ("path,label\nrun/clip0.mp4,\n", "line 2: path or label is empty"),
        ("path,label\n\n\nrun/clip0.mp4\n", "line 4: path or label is empty"),
        ("path,label\nrun/clip0.mp4,x\nrun/clip9.mp4,y\n", r"line 3: run/clip9.mp4 does not exist \(1 of 2 videos"),
        (
            "path,label\nrun/clip0.mp4,x,y,z\n",
            "line 2 has 4 fields instead of 2; put names that hold ',' in double",
        ),
        ("run/clip9.mp4,run\n", "line 1: run/clip9.mp4 does not exist"),
        ("run/clip0.mp4,run,3\n", "has 3 columns and does not name them"),
        ("run/clip0.mp4 long jump\n", "line 1 has 3 fields instead of 2"),
        ("run/clip0.mp4 run\nrun/clip1.mp4 long jump\n", "line 2 has 3 fields instead of 2"),
        ('path,label\n"run/clip0.mp4,x\nrun/clip1.mp4,x\n', "after line .*not a valid row"),
        (
            "path,label\nC:\\videos\\run\\clip0.mp4,x\n",
            r"line 2: C:\\videos\\run\\clip0.mp4 is on a Windows drive; write",
        ),
        ("path,label,split\nrun/clip0.mp4,x,fold1\n", "line 2: split fold1 is not train, val or test"),
        ("path,label,split\nrun/clip0.mp4,x,\n", r"line 2: split \(empty\) is not train, val or test"),
        ("path,label,split\nrun/clip0.mp4,x,train\nrun/clip1.mp4,y,train\n", "no video has the split test"),
        (
            "path,label,split\nrun/clip0.mp4,x,train\nrun/clip1.mp4,z,test\n",
            "no training video has the label z of run/clip1.mp4",
        ),
        ("path,label\nrun/clip0.mp4,1\nrun/clip1.mp4,2\nwalk/clip0.mp4,01\n", r"labels 01 and 1 \(lines 2 and 4\)"),
        (
            "path,label\nrun/clip0.mp4,1.0\nrun/clip1.mp4,1\n",
            r"labels 1 and 1.0 \(lines 2 and 3\) are the same number",
        ),
        ("path,label\nrun/clip0.mp4,x\n", "names one video only"),
        ("path,label\n\x1b[31m.mp4,x\n", r"line 2: \\x1b\[31m.mp4 does not exist"),
        (b"PK\x03\x04\0\0", r"is not a text file \(line 1 holds a NUL byte\); save it as CSV in UTF-8"),
        ("path,label\nrun/cl\0ip0.mp4,x\n", "line 2 holds a NUL byte"),
        ("path,label\nrun/clip0.mp4,x\nrun,x\n", "line 3: run is a folder; name a video in each line"),
        ("path,label\n.,x\nrun/clip0.mp4,x\n", r"line 2: \. is a folder"),
        ("path,label\nrun/clip0.mp4,1000\nrun/clip1.mp4,1e3\n", r"labels 1000 and 1e3 \(lines 2 and 3\)"),
        (b"\xff\xfea\0b\0c", "is not valid UTF-16; save it as UTF-8"),
        ("path,label\n" + "x" * 300 + ".mp4,x\n", "does not exist"),
    ],
)
def test_what_cannot_be_meant_is_named(root: Path, text: str | bytes, message: str) -> None:
    with pytest.raises(UserError, match=message) as caught:
        read(root, text)
    assert "list.csv" in str(caught.value) and "\n" not in str(caught.value) and "\x1b" not in str(caught.value)


def test_a_name_without_ending_that_two_files_have(root: Path) -> None:
    (root / "run" / "clip0.avi").write_bytes(b"other")
    with pytest.raises(UserError, match=r"line 2: run/clip0 may be run/clip0.avi, run/clip0.mp4; add the ending"):
        read(root, "path,label\nrun/clip0,run\nwalk/clip0,walk\n")


def test_a_list_without_an_end(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("src.data.list_text.LARGEST", 1 << 20)
    with pytest.raises(UserError, match=r"list /dev/zero is over 1 MiB large, as no list is"):
        folder(str(root), csv="/dev/zero")


def test_home_in_a_list(root: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(root))
    assert pairs(read(root, rows(header="path,label", line="~/{path},{label}"))) == EXPECTED


def test_a_list_that_is_not_there(root: Path) -> None:
    with pytest.raises(UserError, match=r"list .*absent\.csv cannot be read \(No such file"):
        folder(str(root), csv="absent.csv")


def test_numbers_are_sorted_by_value_and_words_by_letters(root: Path) -> None:
    text = "path,label\nrun/clip0.mp4,{}\nrun/clip1.mp4,{}\nwalk/clip0.mp4,{}\nwalk/clip1.mp4,{}\n"
    assert read(root, text.format("10", "10", "9", "9")).classes == ["9", "10"]
    assert read(root, text.format("10.0", "10.0", "-2", "-2")).classes == ["-2", "10.0"]
    assert read(root, text.format("10", "10", "a", "a")).classes == ["10", "a"]


def test_labels_that_differ_in_case_are_two_classes_with_a_warning(root: Path, caplog) -> None:
    text = rows(header="path,label").replace("walk\n", "Run\n")
    assert read(root, text).classes == ["Run", "run"]
    assert "Run and run are taken as two classes" in caplog.text


def test_labels_are_data(root: Path) -> None:
    labels = ["$\\alpha$", "\\foo", "[/b]", "a\nb", "\x1b[31mred", "x" * 180, "日本", "../up", ":smile:"]
    for i in range(len(labels)):
        for copy in range(2):
            (root / f"{i}-{copy}.mp4").write_bytes(b"label %d %d" % (i, copy))
    text = "".join(f'{i}-{copy}.mp4,"{label}"\n' for i, label in enumerate(labels) for copy in range(2))
    lists = read(root, "path,label\n" + text)
    assert lists.classes == sorted(labels)
    assert {(v.name[0], lists.classes[v.label]) for v in lists.train} == {(str(i), x) for i, x in enumerate(labels)}
