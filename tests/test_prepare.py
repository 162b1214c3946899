"""The command that prepares videos and their flow."""

import json
import subprocess
import sys

import numpy as np
import pytest
from src.config import ROOT
from src.data import inventory
from src.data.flow import find_flow, flow_path, flow_root, open_flow
from src.data.ucf101 import ucf101 as read_ucf101
from src.errors import UserError

from tests import lookalikes
from tests.conftest import write_video
from tests.prepared import QUICK, everything, run


def test_frame_folders_are_counted_and_read(tmp_path):
    tree = lookalikes.ucf101(tmp_path / "made", groups=3, clips=1)
    splits = [read_ucf101(str(tree), split, check_counts=False) for split in (1, 2, 3)]
    root = lookalikes.frame_folders(splits, tmp_path / "frames")
    broken = sorted(folder for folder in root.iterdir() if folder.name.startswith("v_"))[0]
    (broken / "img_00004.jpg").write_bytes(b"torn")
    run("data=frames", f"data.root={root}")
    entries = inventory.load(root)
    assert len(entries) == 9 and [entry.name for entry in entries.values() if entry.bad] == [broken.name]
    name, entry = next((name, entry) for name, entry in entries.items() if not entry.bad)
    assert entry.frames == len(list((root / name).glob("img_*"))) and entry.size == (64, 48)


def test_flow_of_another_making_is_not_mixed_in(tmp_path):
    root = tmp_path / "tree"
    for name in "ab":
        for i in range(2):
            write_video(root / name / f"{i}.mp4", 3, seed=i)
    run(f"data.root={root}", "flow=dis")
    with pytest.raises(UserError, match=r"made with other settings \(crf"):
        run(f"data.root={root}", "flow=dis", "flow.crf=0")
    find_flow(root, "a/0.mp4", "dis").unlink()
    folder = root.with_name("tree_flow_dis") / "a"
    dead = subprocess.Popen(["true"])
    dead.wait()
    (folder / f".0.{dead.pid}.abcd1234.unfinished.mkv").write_bytes(b"x")
    (folder / f".0.{dead.pid}.abcd1234.unfinished").mkdir()
    (folder / ".mine").write_text("mine")
    run(f"data.root={root}", "flow=dis")
    assert sorted(path.name for path in folder.iterdir()) == [".mine", "0.mp4.mkv", "1.mp4.mkv"]


def test_flow_by_pytorch(tmp_path):
    """Close to OpenCV's, continued where it stopped, and never mixed with OpenCV's in one folder."""
    root = tmp_path / "tree"
    for name in ("a/0.mp4", "a/1.mp4", "b/0.mp4", "b/1.mp4"):
        write_video(root / name, 4)
    run(f"data.root={root}", *QUICK)
    run(f"data.root={root}", *QUICK, "flow.device=cpu", "flow.method=torch")
    for name in ("a/0.mp4", "b/0.mp4"):
        with open_flow(find_flow(root, name, "tvl1")) as one, open_flow(find_flow(root, name, "torch")) as other:
            assert len(one) == len(other) == 3 and one.size == other.size == (32, 24)
            assert np.abs(one.frames(range(3)).astype(int) - other.frames(range(3))).mean() < 1
    made = find_flow(root, "a/0.mp4", "torch")
    content = made.read_bytes()
    made.unlink()
    run(f"data.root={root}", *QUICK, "flow.device=cpu", "flow.method=torch")
    assert made.read_bytes() == content
    for words in (["flow.device=cpu"], ["flow.method=torch"]):
        with pytest.raises(UserError, match=r"made with other settings \(made_with: see"):
            run(f"data.root={root}", *QUICK, *words)


def test_a_device_that_is_not_there_is_refused_before_any_work(tmp_path, monkeypatch):
    write_video(tmp_path / "tree" / "a" / "0.mp4", 3)
    monkeypatch.setattr("torch.cuda.is_available", lambda: False)
    for words, said in (
        (["flow=tvl1", "flow.device=cuda"], "this machine has no GPU"),
        (["flow=dis", "flow.device=cpu"], "PyTorch makes TV-L1 only"),
    ):
        with pytest.raises(UserError, match=said):
            run(f"data.root={tmp_path / 'tree'}", *words)
    assert not (tmp_path / "tree" / "inventory.jsonl").exists()


def listed_outside(tmp_path):
    """A data folder whose list names a video beside it, and the folder of somebody's thesis there."""
    root, other = tmp_path / "data" / "tree", tmp_path / "data" / "other"
    for name in ("a/0.mp4", "b/0.mp4"):
        write_video(root / name, 3)
    write_video(other / "thesis.mp4", 3, seed=1)
    write_video(tmp_path / "far" / "0.mp4", 3, seed=2)
    (other / "thesis").mkdir()
    (other / "thesis" / "chapter.txt").write_text("mine")
    names = ["a/0.mp4", "b/0.mp4", "../other/thesis.mp4", str(tmp_path / "far" / "0.mp4")]
    rows = [f"{name},{'ab'[i % 2]}" for i, name in enumerate(names)]
    (tmp_path / "videos.csv").write_text("\n".join(["path,label", *rows]) + "\n")
    return root, names


@pytest.mark.parametrize("form", ["video", "frames"])
def test_flow_is_written_beside_the_root_and_nowhere_else(tmp_path, form):
    root, names = listed_outside(tmp_path)
    before = everything(tmp_path)
    words = [f"data.root={root}", f"data.csv={tmp_path / 'videos.csv'}", "flow=dis", f"flow.format={form}"]
    run(*words)
    folder = flow_root(root, "dis")
    after = everything(tmp_path)
    assert {path: after.pop(path) for path in before} == before
    assert {path.parent for path in after if not path.is_relative_to(folder)} == {root}
    assert len(inventory.load(folder)) == len(names)
    for name in names:
        with open_flow(find_flow(root, name, "dis")) as flow:
            assert len(flow) == 2


@pytest.mark.parametrize("form", ["video", "frames"])
def test_somebody_elses_files_where_flow_belongs_end_prepare_with_one_line(tmp_path, form):
    for name in ("a/0.mp4", "a/1.mp4", "b/0.mp4", "b/1.mp4"):
        write_video(tmp_path / "tree" / name, 3)
    place = flow_path(tmp_path / "tree", "b/0.mp4", "dis", form)
    mine = place / "chapter.txt" if form == "frames" else place
    mine.parent.mkdir(parents=True)
    mine.write_text("mine")
    with pytest.raises(UserError, match=r"b/0.* does not say that src\.prepare made it"):
        run(f"data.root={tmp_path / 'tree'}", "flow=dis", f"flow.format={form}")
    assert mine.read_text() == "mine"


def test_frames_of_videos_that_differ_in_their_ending_are_not_mixed(tmp_path):
    write_video(tmp_path / "tree" / "a" / "0.mp4", 3)
    write_video(tmp_path / "tree" / "a" / "0.mkv", 3, seed=1)
    write_video(tmp_path / "tree" / "b" / "0.mp4", 3)
    with pytest.raises(UserError, match=r"a/0\.mkv and a/0\.mp4 would have their flow in one place.*format=video"):
        run(f"data.root={tmp_path / 'tree'}", "flow=dis", "flow.format=frames")
    run(f"data.root={tmp_path / 'tree'}", "flow=dis")
    assert len(list(flow_root(tmp_path / "tree", "dis").rglob("*.mkv"))) == 3


def test_a_flow_method_that_leads_out_is_refused_before_any_work(tmp_path):
    write_video(tmp_path / "tree" / "a" / "0.mp4", 3)
    with pytest.raises(UserError, match="cannot be the end of a folder's name"):
        run(f"data.root={tmp_path / 'tree'}", "flow=dis", "flow.method=../../x")
    assert not (tmp_path / "tree" / "inventory.jsonl").exists()


@pytest.mark.parametrize(
    "overrides, said",
    [
        (["data=ordered_motions"], "nothing to prepare"),
        (["data=folder"], "give data.root="),
        (["data=folder", "data.root=/not/there"], "data.root=/not/there is not a folder"),
        (["data=hmdb51", "data.root=.", "archives=/not/there"], "archives=/not/there is not a folder"),
    ],
)
def test_mistakes_are_told_in_one_line(overrides, said):
    with pytest.raises(UserError, match=said) as caught:
        run(*overrides)
    assert "\n" not in str(caught.value)


def test_the_command(tmp_path):
    for name in "ab":
        for i in range(2):
            write_video(tmp_path / "t" / name / f"{i}.mp4", 3, seed=i)
    command = [sys.executable, "-m", "src.prepare", f"data.root={tmp_path / 't'}", "workers=1"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.returncode == 0, done.stderr
    assert "4 videos can be read to their end, 0 are bad" in done.stdout and "Traceback" not in done.stderr
    assert len(json.loads((tmp_path / "t" / "inventory.jsonl").read_text().splitlines()[0])["sha256"]) == 64
