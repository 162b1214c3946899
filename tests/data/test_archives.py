import shutil
import subprocess
import sys
import warnings
import zipfile

import pytest
from src.build.compose import compose
from src.build.data import build_data
from src.data import archives, inventory
from src.data.archives import UNPACKERS, unpack
from src.data.flow import find_flow, open_flow
from src.errors import UserError
from src.prepare import prepare

from tests import lookalikes
from tests.rar import write_rar

HAS_UNPACKER = any(shutil.which(u.program) for u in UNPACKERS if u.program not in ("7z", "7zz"))


def hmdb_archives(tree, folder):
    """The look-alike as it is published: one .rar of .rars, and one of the lists."""
    inner = {}
    for class_folder in sorted(d for d in tree.iterdir() if d.name != "testTrainMulti_7030_splits"):
        files = {f"{class_folder.name}/{f.name}": f.read_bytes() for f in class_folder.iterdir()}
        inner[f"{class_folder.name}.rar"] = write_rar(folder / "one.rar", files).read_bytes()
    (folder / "one.rar").unlink()
    write_rar(folder / "hmdb51_org.rar", inner)
    lists = {f"testTrainMulti_7030_splits/{f.name}": f.read_bytes() for f in tree.glob("testTrain*/*")}
    write_rar(folder / "test_train_splits.rar", lists)


def ucf_archives(tree, folder):
    videos = {f"UCF-101/{f.parent.name}/{f.name}": f.read_bytes() for f in tree.glob("*/*.avi")}
    write_rar(folder / "UCF101.rar", videos)
    with zipfile.ZipFile(folder / "UCF101TrainTestSplits-RecognitionTask.zip", "w") as opened:
        for file in tree.glob("ucfTrainTestlist/*"):
            opened.write(file, f"ucfTrainTestlist/{file.name}")


@pytest.mark.skipif(not HAS_UNPACKER, reason="no program for .rar is installed")
@pytest.mark.parametrize("name", ["hmdb51", "ucf101"])
def test_from_archives_to_batches(tmp_path, capsys, name):
    tree = getattr(lookalikes, name)(tmp_path / "made")
    downloads, root = tmp_path / "downloads", tmp_path / "data" / name
    downloads.mkdir()
    {"hmdb51": hmdb_archives, "ucf101": ucf_archives}[name](tree, downloads)
    chosen = [f"data={name}", f"data.root={root}", "data.check_counts=false"]
    words = [*chosen, f"archives={downloads}", "flow=dis", "workers=2"]
    prepare(compose(words, "prepare"))
    said = capsys.readouterr().out
    assert "videos can be read to their end, 0 are bad" in said and "split 3" in said and len(said.splitlines()) < 25
    for file in tree.rglob("*.*"):
        assert (root / file.relative_to(tree)).read_bytes() == file.read_bytes()
    entries = inventory.load(root)
    assert set(entries) == {f.relative_to(tree).as_posix() for f in tree.glob("*/*.avi")}
    for modality, channels in (("rgb", 3), ("flow", 2)):
        data = build_data(compose([*chosen, f"modality={modality}", "data.flow=dis", "model=tiny", "data.workers=0"]))
        data.setup("fit")
        assert next(iter(data.train_dataloader()))["clip"].shape[2] == channels
    some = next(iter(entries.values()))
    with open_flow(find_flow(root, some.name, "dis")) as flow:
        assert len(flow) == some.frames - 1
    prepare(compose(words, "prepare"))
    said = capsys.readouterr().out
    assert "unpacked" not in said and said.count("are done already") == 2


@pytest.mark.skipif(not HAS_UNPACKER, reason="no program for .rar is installed")
@pytest.mark.parametrize("name", ["../../evil.avi", "/tmp/evil.avi", "a/../../../evil.avi"])
def test_no_rar_writes_outside(tmp_path, name):
    write_rar(tmp_path / "x.rar", {"good/a.avi": b"1", name: b"2"})
    target = tmp_path / "deep" / "target"
    try:
        list(unpack([tmp_path / "x.rar"], target))
    except UserError as error:
        assert "do not trust it" in str(error) or "cannot be unpacked" in str(error)
    assert not [p for p in tmp_path.rglob("*evil*") if target not in p.parents]


def zip_of(path, name, content="x", mode=0o100644):
    with zipfile.ZipFile(path, "w") as opened:
        info = zipfile.ZipInfo(name)
        info.external_attr = mode << 16
        opened.writestr(info, content)
    return path


def zip_with(path, *members):
    """Write (name, content) pairs, also the same name twice."""
    with warnings.catch_warnings(), zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as opened:
        warnings.simplefilter("ignore")
        for name, content in members:
            opened.writestr(name, content)
    return path


def lying_zip(path, size):
    """An archive that promises `size` bytes in one member (Zip64)."""
    zip_with(path, ("a/a.avi", b"x"))
    content = path.read_bytes()
    start = content.index(b"PK\x01\x02")
    header = bytearray(content[start : content.index(b"PK\x05\x06")])
    header[24:28], header[30:32] = b"\xff" * 4, (12).to_bytes(2, "little")
    header += (1).to_bytes(2, "little") + (8).to_bytes(2, "little") + size.to_bytes(8, "little")
    end = bytearray(content[content.index(b"PK\x05\x06") :])
    end[12:16] = len(header).to_bytes(4, "little")
    path.write_bytes(content[:start] + header + end)
    return path


def test_bad_archives_are_refused_and_leave_nothing(tmp_path):
    target = tmp_path / "target"
    (tmp_path / "text.zip").write_text("<html>404</html>")
    bomb = zip_with(tmp_path / "inner.zip", ("a/a.avi", bytes(2 << 20)))
    bad = [
        (zip_of(tmp_path / "slip.zip", "../../evil.avi"), "outside its folder"),
        (zip_of(tmp_path / "absolute.zip", "/evil.avi"), "outside its folder"),
        (zip_of(tmp_path / "windows.zip", "..\\..\\evil.avi"), "outside its folder"),
        (zip_of(tmp_path / "drive.zip", "C:/evil.avi"), "outside its folder"),
        (zip_of(tmp_path / "link.zip", "a/link.avi", "/etc/passwd", 0o120777), "link"),
        (zip_of(tmp_path / "inventory.zip", "x/../inventory.jsonl"), "outside its folder"),
        (zip_of(tmp_path / "records.zip", "inventory.jsonl", "{}"), "writes itself"),
        (zip_with(tmp_path / "twice.zip", ("a/a.avi", "1"), ("a/a.avi", "2")), "a/a.avi twice"),
        (zip_with(tmp_path / "dots.zip", ("a/a.avi", "1"), ("a/./a.avi", "2")), "a/./a.avi twice"),
        (zip_with(tmp_path / "meet.zip", ("x/a/a.avi", "1"), ("y/a/a.avi", "2")), "two different files"),
        (zip_with(tmp_path / "both.zip", ("a", "1"), ("a/a.avi", "2")), "cannot be unpacked"),
        (zip_with(tmp_path / "long.zip", ("a/" + "x" * 300, "1")), "cannot be unpacked"),
        (lying_zip(tmp_path / "liar.zip", 320 << 40), "more than 100 times its size"),
        (zip_with(tmp_path / "slip within.zip", ("in.zip", (tmp_path / "slip.zip").read_bytes())), "outside its"),
        (tmp_path / "text.zip", "not a valid .zip"),
    ]
    if HAS_UNPACKER:
        (tmp_path / "text.rar").write_text("<html>404</html>")
        bad.append((tmp_path / "text.rar", "cannot be unpacked"))
        bad.append((write_rar(tmp_path / "link.rar", {"a/l.avi": b"/etc"}, {"a/l.avi": 0o120777}), "regular file"))
    for archive, reason in bad:
        with pytest.raises(UserError, match=reason) as caught:
            list(unpack([archive], target))
        assert archive.name in str(caught.value) and "\n" not in str(caught.value)
        assert list(target.iterdir()) == [], archive
    assert not list(tmp_path.parent.glob("evil*")) and bomb.stat().st_size < 10_000


def test_a_bomb_is_refused_by_what_it_unpacks_to(tmp_path, monkeypatch):
    monkeypatch.setattr(archives, "SMALL", 1 << 20)
    inner = zip_with(tmp_path / "inner.zip", ("a/a.avi", bytes(2 << 20)))
    outer = zip_with(tmp_path / "outer.zip", ("inner.zip", inner.read_bytes()))
    for archive in (inner, outer):
        with pytest.raises(UserError, match=rf"{archive.name}.* unpacks to 0\.0 GB, more than 100 times"):
            list(unpack([archive], tmp_path / "target"))
        assert list((tmp_path / "target").iterdir()) == []


def test_nothing_that_is_there_is_replaced(tmp_path):
    target = tmp_path / "target"
    (target / "a").mkdir(parents=True)
    (target / "a" / "thesis.mp4").write_text("mine")
    (tmp_path / "elsewhere").mkdir()
    (target / "linked").symlink_to(tmp_path / "elsewhere")
    (target / ".unpacking.me").mkdir()
    archive = zip_with(tmp_path / "x.zip", ("a/new.mp4", "1"), ("b/a/thesis.mp4", "other"))
    with pytest.raises(UserError, match=r"would replace .*a/thesis\.mp4"):
        list(unpack([archive], target))
    archive = zip_with(tmp_path / "y.zip", ("linked/new.mp4", "1"))
    with pytest.raises(UserError, match=r"linked leads out of"):
        list(unpack([archive], target))
    assert (target / "a" / "thesis.mp4").read_text() == "mine" and not list((tmp_path / "elsewhere").iterdir())
    archive = zip_with(tmp_path / "z.zip", ("a/thesis.mp4", "mine"), ("a/new.mp4", "1"), ("a/.DS_Store", "junk"))
    assert list(unpack([archive], target)) == [(archive, 2)]
    names = {path.relative_to(target).as_posix() for path in target.rglob("*")}
    assert names == {"a", "a/thesis.mp4", "a/new.mp4", "linked", ".unpacking.me", ".unpacked.json"}


def test_what_a_dead_process_left_is_removed(tmp_path):
    dead = subprocess.run([sys.executable, "-c", "import os; print(os.getpid())"], capture_output=True, text=True)
    for name in (f".unpacking.{int(dead.stdout)}.abcd1234.unfinished", ".unpacking-abcd1234"):
        (tmp_path / name / "tmp").mkdir(parents=True)
    assert list(unpack([], tmp_path)) == [] and list(tmp_path.iterdir()) == []


FAKE = """#!{python}
import os, sys, time
if sys.argv[1] == "lb":
    print({names!r})
    sys.exit()
os.chdir(sys.argv[-1])
{action}
"""


@pytest.mark.parametrize(
    ("names", "action", "reason"),
    [
        ("a.avi", "os.symlink('/etc/passwd', 'a.avi')", "a.avi, which is a link"),
        ("a.avi", "open('b.avi', 'w'); os.link('b.avi', 'a.avi')", "avi, which is a link"),
        ("a.avi", "os.mkfifo('a.avi')", "a.avi, which is a link or not a regular file"),
        ("../x = y.avi", "sys.exit(1)", r"would write to \.\./x = y\.avi"),
        ("a.avi", "sys.exit('two\\nno [/b] \x1b[31mpassword')", r"unrar: no \[/b\] \\x1b\[31mpassword"),
        ("a.avi", "open('a.avi', 'wb').truncate(3 << 20)", "unpacks to"),
        ("a.avi", "open('a.avi', 'wb').truncate(3 << 20); time.sleep(600)", "unpacks to"),
    ],
)
def test_a_program_that_does_what_the_archive_says_is_not_trusted(tmp_path, monkeypatch, names, action, reason):
    fake_unrar(tmp_path / "bin", monkeypatch, names, action)
    with pytest.raises(UserError, match=reason):
        list(unpack([write_rar(tmp_path / "x.rar", {"a.avi": b"1"})], tmp_path / "target"))
    assert list((tmp_path / "target").iterdir()) == []


def test_what_others_write_to_the_disk_is_not_the_archives(tmp_path, monkeypatch):
    other = f"open({str(tmp_path / 'other')!r}, 'wb').write(bytes(3 << 20))"
    fake_unrar(tmp_path / "bin", monkeypatch, "a.avi", f"open('a.avi', 'w').write('1'); {other}; time.sleep(0.2)")
    list(unpack([write_rar(tmp_path / "x.rar", {"a.avi": b"1"})], tmp_path / "target"))
    assert (tmp_path / "target" / "a.avi").read_text() == "1"


def fake_unrar(folder, monkeypatch, names, action):
    """The only program that unpacks: it lists `names` and does what `action` says; an archive may grow to 1 MB."""
    monkeypatch.setattr(archives, "SMALL", 1 << 20)
    monkeypatch.setattr(archives, "PATIENCE_S", 0.01)
    monkeypatch.setattr(archives, "UNPACKERS", UNPACKERS[:1])
    monkeypatch.setenv("PATH", str(folder))
    program = folder / "unrar"
    folder.mkdir()
    program.write_text(FAKE.format(python=sys.executable, names=names, action=action))
    program.chmod(0o755)


def test_a_missing_unpacker_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt-get install unar"):
        list(unpack([write_rar(tmp_path / "x.rar", {"a/b.avi": b"1"})], tmp_path / "target"))
