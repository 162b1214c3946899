"""Files: whole or not at all, under names that are safe whatever they come from."""

import os
import random
import subprocess
import sys
from pathlib import Path, PurePosixPath

import av
import pytest
from src import files
from src.files import LONGEST_NAME, safe_name, safe_path

PLAIN = [
    "Diving",
    "v_Diving_g01_c01.avi",
    "walk (2)",
    "a+b=c@d",
    "Größe",
    "跳水",
    "x",
    "2024-20240101",
    "clip-0123abcd",
]
ODD = [
    "",
    ".",
    "..",
    "...",
    " ",
    "a ",
    ".hidden",
    "-rf",
    "a/b",
    "a\\b",
    "a\0b",
    "a\nb",
    "\x1b[31m",
    "$HOME",
    "[/b]",
    "~",
]
ODD += [
    "x" * 101,
    "x" * 300,
    "跳" * 40,
    "\udcff\udcfe",
    "con:",
    "12:30:00.mp4",
    "a~0123456789ab",
    "e\u0301",
    "a.",
    "\u202eavi",
]


def random_names(count: int) -> list[str]:
    """Names of characters that matter, of all lengths."""
    rng = random.Random(0)
    characters = "ab.-_ ~/\\\0\n$[]:é跳\u0301\udc80"
    return ["".join(rng.choices(characters, k=rng.choice([1, 2, 3, 5, 60, 140]))) for _ in range(count)]


def names() -> list[str]:
    return sorted({*PLAIN, *ODD, *random_names(5000)})


def test_any_string_becomes_one_name_that_any_file_system_takes(tmp_path: Path) -> None:
    for name in names():
        safe = safe_name(name)
        assert PurePosixPath(safe).parts == (safe,) and safe not in (".", ".."), name
        assert len(safe.encode()) <= LONGEST_NAME and safe.isprintable(), name
        assert not safe.startswith((".", "-", "~", " ")) and not safe.endswith((".", " ")), name
    for name in ODD:
        (tmp_path / safe_name(name)).touch()
    assert len(list(tmp_path.iterdir())) == len(ODD)


def test_plain_names_stay_and_no_two_names_become_one() -> None:
    assert [safe_name(name) for name in PLAIN] == PLAIN
    assert not [name for name in ODD if safe_name(name) == name]
    every = names()
    every += [safe_name(name) for name in every if safe_name(name) != name]  # as somebody may call a file
    assert len({safe_name(name) for name in every}) == len(set(every))


def test_a_path_from_outside_stays_inside(tmp_path: Path) -> None:
    paths = ["../x.mp4", "a/../../x.mp4", "/etc/passwd", "//etc/passwd", "..", "../..", "/", "a/..", "a/../b.mp4"]
    paths += [
        "../" * 30 + "x",
        "./a/./b",
        "a//b",
        "",
        ".",
        "...",
        "a/.../b",
        "a/ ../b",
        "a\\..\\..\\b",
        "~/x",
        "x" * 5000,
    ]
    for name in [*paths, *random_names(5000)]:
        safe = safe_path(name)
        assert safe.parts and not safe.is_absolute() and ".." not in safe.parts, name
        assert (tmp_path / safe).resolve().is_relative_to(tmp_path) and (tmp_path / safe) != tmp_path, name


def test_plain_paths_stay_and_only_spellings_of_one_path_meet() -> None:
    assert safe_path("Diving/v_Diving_g01_c01.avi") == Path("Diving/v_Diving_g01_c01.avi")
    assert safe_path("./a//b.avi") == safe_path("a/b.avi") == Path("a/b.avi")
    places: dict[Path, str] = {}
    for name in {"a/b", "/a/b", "../a/b", "../../a/b", "a/../b", "b", "/b", "../b", *names()}:
        parts = "/".join(part for part in name.split("/") if part not in ("", "."))
        spelling = name if files.leaves(name) or not parts else parts
        assert places.setdefault(safe_path(name), spelling) == spelling


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path: Path) -> None:
    path = tmp_path / "results.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_the_ending_stays_so_that_writers_know_the_format(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "clip.mp4") as temporary:
        assert temporary.suffix == ".mp4"


def test_a_folder_is_there_whole_or_not_at_all(tmp_path: Path) -> None:
    with pytest.raises(RuntimeError), files.filling(tmp_path / "set") as folder:
        (folder / "half").touch()
        raise RuntimeError
    assert list(tmp_path.iterdir()) == []
    with files.filling(tmp_path / "set") as folder:
        (folder / "whole").touch()
    assert [path.name for path in (tmp_path / "set").iterdir()] == ["whole"]


@pytest.mark.parametrize("kind", ["folder", "file"])
def test_what_is_in_the_place_of_a_folder_is_not_replaced(tmp_path: Path, kind: str) -> None:
    place = tmp_path / "set"
    mine = place / "mine" if kind == "folder" else place
    mine.parent.mkdir(exist_ok=True)
    mine.write_text("mine")
    with pytest.raises(OSError), files.filling(place) as folder:
        (folder / "whole").touch()
    assert mine.read_text() == "mine" and list(tmp_path.iterdir()) == [place]


def test_only_what_a_dead_process_left_is_removed(tmp_path: Path) -> None:
    words = [sys.executable, "-c", "import os; print(os.getpid())"]
    dead = int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)
    left = [f".best.{dead}.abcd_123.unfinished.ckpt", f".x\ny.{dead}.abcd_123.unfinished.png"]
    stays = [
        f".best.{os.getpid()}.abcd_123.unfinished.ckpt",
        f".notes.{dead}.holidays.txt",
        f"x.{dead}.abcd_123.unfinished",
    ]
    stays += [".unfinished", ".lock", "results.json"]
    for name in (*left, *stays):
        (tmp_path / "below").mkdir(exist_ok=True)
        (tmp_path / "below" / name).touch()
    folder = tmp_path / f".set.{dead}.abcd_123.unfinished"
    (folder / "a").mkdir(parents=True)
    (tmp_path / "mine").mkdir()
    (tmp_path / f".link.{dead}.abcd_123.unfinished").symlink_to(tmp_path / "mine")
    files.remove_leftovers(tmp_path)
    assert sorted(path.name for path in (tmp_path / "below").iterdir()) == sorted(stays)
    assert not folder.exists() and (tmp_path / "mine").is_dir()


@pytest.mark.skipif(not Path("/proc").is_dir(), reason="only /proc tells one that has ended")
def test_a_process_that_nobody_has_asked_about_has_ended_all_the_same() -> None:
    with subprocess.Popen([sys.executable, "-c", "import sys; sys.stdin.read()"], stdin=subprocess.PIPE) as process:
        assert files.process_exists(process.pid)
        assert process.stdin is not None
        process.stdin.close()
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        assert not files.process_exists(process.pid)
    assert files.process_exists(os.getpid()) and not files.process_exists(2**80)


def test_what_is_written_now_is_found_by_its_name_once_its_process_is_dead(tmp_path: Path) -> None:
    with files.replacing(tmp_path / "x.json") as file, files.filling(tmp_path / "set.d") as folder:
        for path in (file, folder):
            match = files.LEFTOVER.fullmatch(path.name)
            assert match and int(match[1]) == os.getpid()


def test_bytes_that_are_no_utf8_survive(tmp_path: Path) -> None:
    text = os.fsdecode(b"caf\xe9 \xff")
    files.write_text(tmp_path / "list.txt", text)
    assert files.read_text(tmp_path / "list.txt") == text
    assert (tmp_path / "list.txt").read_bytes() == b"caf\xe9 \xff"


def test_a_lock_is_held_by_one(tmp_path: Path) -> None:
    lock = tmp_path / "below" / ".lock"
    assert not files.is_locked(lock)
    with files.locked(lock) as mine:
        assert mine and files.is_locked(lock)
        with files.locked(lock) as other:
            assert not other
    with files.locked(lock) as again:
        assert again
    assert not files.is_locked(lock)


def test_home_is_expanded_and_that_of_nobody_stays(monkeypatch):
    monkeypatch.setenv("HOME", "/home/me")
    assert files.home_expanded("~/a b") == Path("/home/me/a b")
    assert files.home_expanded("a/~") == Path("a/~")
    assert files.home_expanded("~nobody of this name/a") == Path("~nobody of this name/a")


def test_an_error_of_pyav_names_the_file_that_was_meant(tmp_path):
    with pytest.raises(OSError, match="No space left") as caught, files.replacing(tmp_path / "a.mp4") as temporary:
        raise av.error.OSError(28, "No space left on device", str(temporary))
    assert caught.value.filename == str(tmp_path / "a.mp4")
    assert list(tmp_path.iterdir()) == []
