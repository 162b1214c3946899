"""What `video=` means."""

import shutil
from pathlib import Path

import pytest
from src.data.address import is_live, is_stream, without_password
from src.data.flow import flow_path
from src.prediction.inputs import Input, Problem, collect, source_of


def names(words: list[str], lines: list[str] | None = None) -> tuple[list[str], list[str]]:
    inputs, problems = collect(words, lines or [])
    return [one.path for one in inputs], [problem.name for problem in problems]


def pictures(folder: Path, stem: str = "img") -> Path:
    folder.mkdir(parents=True)
    (folder / f"{stem}_00001.jpg").write_bytes(b"")
    return folder


def test_files_folders_patterns_and_lists(folder: Path, tmp_path: Path) -> None:
    inside = [f"{folder}/in/\x1b[31m.mp4", f"{folder}/in/c.mp4", f"{folder}/in/d.mp4"]
    whole = [f"{folder}/a.mp4", f"{folder}/b.mp4", *inside]
    assert names([f"{folder}/a.mp4"]) == (whole[:1], [])
    assert names([str(folder)]) == (whole, [])
    assert names([f"{folder}/*.mp4"]) == (whole[:2], [])
    assert names([f"{folder}/**/c.*"]) == ([f"{folder}/in/c.mp4"], [])
    assert names([f"{folder}/i*"]) == (inside, [])
    assert names(["-"], [f"{folder}/b.mp4\n", "\n", f"{folder}/in\r\n"]) == ([f"{folder}/b.mp4", *inside], [])
    assert names([f"{folder}/b.mp4", str(folder), f"{folder}/b.mp4"])[0] == [whole[1], whole[0], *inside]
    assert names([f"{folder}/notes.txt"]) == ([f"{folder}/notes.txt"], [])


def test_names_that_look_like_patterns_are_names(tmp_path: Path) -> None:
    for name in ("[b].mp4", "what?.mp4", "*.mp4", " .mp4"):
        (tmp_path / name).write_bytes(b"")
    assert names([f"{tmp_path}/[b].mp4", f"{tmp_path}/ .mp4"])[0] == [f"{tmp_path}/[b].mp4", f"{tmp_path}/ .mp4"]
    assert names([f"{tmp_path}/*.mp4"])[0] == [f"{tmp_path}/*.mp4"]


def test_frame_folders(tmp_path: Path) -> None:
    one, other = pictures(tmp_path / "set" / "one"), pictures(tmp_path / "set" / "deep" / "other", "flow_x")
    assert names([str(one)])[0] == [str(one)]
    assert names([str(tmp_path / "set")])[0] == [str(other), str(one)]
    assert names([f"{tmp_path}/set/*"])[0] == [str(other), str(one)]


@pytest.mark.parametrize(
    ("word", "reason"),
    [
        ("none.mp4", "no such file"),
        ("no*ne.mp4", "matches no file"),
        ("empty", "holds no videos"),
        ("-", "list on standard input is empty"),
        ("x" * 5000, "no such file"),
        ("a\0b", "no such file"),
    ],
)
def test_what_names_nothing(word: str, reason: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("empty").mkdir()
    inputs, (problem,) = collect([word], ["\n"])
    assert not inputs
    assert reason in problem.reason
    assert "\x00" not in str(problem)


def test_a_problem_names_its_input_once() -> None:
    assert str(Problem("a.mp4", "a.mp4: it is empty")) == "a.mp4: it is empty"
    assert str(Problem("a\n.mp4", "it is empty")) == "a\\n.mp4: it is empty"


def test_streams() -> None:
    for word in ("rtsp://me:secret@camera/1", "http://x/a.ts", "HTTPS://x/a?b=c", "/dev/null", "udp://@:1234"):
        assert is_stream(word), word
        assert names([word]) == ([word], [])
    assert not any(is_stream(word) for word in ("a.mp4", "http:/x", "file:///etc/passwd", "concat:a|b", "\0"))
    assert is_live("rtsp://x")
    assert not is_live("http://x/a.ts")
    assert without_password("rtsp://me:secret@camera/1?x=@") == "rtsp://…@camera/1?x=@"
    assert without_password("http://x/a@b") == "http://x/a@b"


def test_flow_is_found_beside_videos_or_where_it_is_said_to_be(tmp_path: Path) -> None:
    root = tmp_path / "set"
    video = root / "run" / "a.mp4"
    video.parent.mkdir(parents=True)
    video.write_bytes(b"")
    alone, below = Input(str(video)), Input(str(video), root)
    assert source_of(alone, "rgb", "tvl1", None) == str(video)
    assert source_of(alone, "flow", "tvl1", None) == str(video)  # its reader says that it is no flow
    made = flow_path(root, "run/a.mp4")
    made.parent.mkdir(parents=True)
    made.write_bytes(b"")
    assert source_of(alone, "flow", "tvl1", None) == source_of(below, "flow", "tvl1", None) == str(made)
    assert source_of(alone, "flow", "dis", None) == str(video)
    moved = Path(shutil.copytree(tmp_path / "set_flow_tvl1", tmp_path / "elsewhere"))
    assert source_of(below, "flow", "tvl1", moved) == str(moved / "run" / "a.mp4.mkv")
    assert source_of(alone, "flow", "tvl1", moved / "run") == str(moved / "run" / "a.mp4.mkv")
    assert source_of(alone, "flow", "tvl1", moved / "run" / "a.mp4.mkv") == str(moved / "run" / "a.mp4.mkv")
    assert source_of(below, "flow", "tvl1", pictures(tmp_path / "f", "flow_x")) == str(tmp_path / "f")


def test_a_frame_folder_has_its_own_flow(tmp_path: Path) -> None:
    one = pictures(tmp_path / "one", "flow_x")
    assert source_of(Input(str(one)), "flow", "tvl1", None) == str(one)
