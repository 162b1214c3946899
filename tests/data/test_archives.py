import shutil
import zipfile

import pytest
from src.build import build_data, compose
from src.data import inventory
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


def test_bad_archives_are_refused_and_leave_nothing(tmp_path):
    target = tmp_path / "target"
    (tmp_path / "text.zip").write_text("<html>404</html>")
    bad = [
        (zip_of(tmp_path / "slip.zip", "../../evil.avi"), "outside its folder"),
        (zip_of(tmp_path / "absolute.zip", "/evil.avi"), "outside its folder"),
        (zip_of(tmp_path / "windows.zip", "..\\..\\evil.avi"), "outside its folder"),
        (zip_of(tmp_path / "link.zip", "a/link.avi", "/etc/passwd", 0o120777), "link"),
        (tmp_path / "text.zip", "no sound .zip"),
    ]
    if HAS_UNPACKER:
        (tmp_path / "text.rar").write_text("<html>404</html>")
        bad.append((tmp_path / "text.rar", "cannot be unpacked"))
        bad.append((write_rar(tmp_path / "link.rar", {"a/l.avi": b"/etc"}, {"a/l.avi": 0o120777}), "regular file"))
    for archive, reason in bad:
        with pytest.raises(UserError, match=reason):
            list(unpack([archive], target))
        assert list(target.iterdir()) == [], archive


def test_a_missing_unpacker_is_told(tmp_path, monkeypatch):
    monkeypatch.setenv("PATH", str(tmp_path))
    with pytest.raises(UserError, match="apt-get install unar"):
        list(unpack([write_rar(tmp_path / "x.rar", {"a/b.avi": b"1"})], tmp_path / "target"))
