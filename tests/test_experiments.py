"""The experiments' files: what they plan is what the paper's tables print, without data or weights."""

import os
import subprocess
import sys
from functools import cache

import numpy as np
import pytest
from omegaconf import OmegaConf
from src.build.compose import compose
from src.config import ROOT
from src.data.flow import flow_path
from src.data.make_flow import write_video
from src.sweeps import paper
from src.sweeps.arguments import SweepOptions
from src.sweeps.manifest import unique
from src.sweeps.plan import experiment_of, parameters, plan

from tests import lookalikes
from tests.small_runs import start
from tests.tiny import SMALL

FILES = sorted(path.stem for path in (ROOT / "experiments").glob("*table*.yaml"))
PAPER = [name for name in FILES if name.startswith("table")]
ONE_STEP = (
    *("weights=none", "logger=csv", "trainer.accelerator=cpu", "recipe.epochs=1", "recipe.batch_size=2"),
    *("recipe.accumulate=1", "trainer.limit_train_batches=1", "trainer.limit_val_batches=1", "data.workers=0"),
    *("data.check_counts=false", "model.clip.crop=32", "model.clip.frame_size=[43,32]", "test.clips=1"),
)
# M parameters that some printed sizes have and the network of the row has not: Kinetics-400's classifier beside
# BERT's own (Table 5), IG65M's 359 classes instead of HMDB51's (Table 6).
UNUSED_CLASSIFIERS = {"table5": 0.922, "table6": 0.158}
HEADS = {"average", "concat", "lstm", "concat_fc", "nonlocal_concat_fc", "bert"}
LATER = ["attentive", "attentive_step", "efficient_probing"]  # heads that the paper has not


@cache
def experiment(name: str):
    return experiment_of(compose([f"experiments={name}"]).experiment)


@cache
def composed(words: tuple[str, ...]):
    return compose(list(words))


@cache
def jobs(name: str):
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("XDG_CACHE_HOME", os.devnull)  # which weights this machine has decides on fallbacks
        return plan(experiment(name), SweepOptions(seeds=[0]), lambda words: composed(tuple(words)))


def test_there_is_one_for_each_table():
    small = [f"{kind}_table{n}" for kind in ("mini", "probe") for n in (1, 2)]
    assert [*small, *(f"table{n}" for n in range(1, 8))] == FILES


@pytest.mark.parametrize("name", PAPER)
def test_rows_are_the_papers(name):
    printed = paper.rows(name)
    assert [row for row in experiment(name).rows if row in printed] == list(printed)
    for row, line in printed.items():
        own = jobs(name)[row]
        if not own:  # the sum of two streams
            continue
        own_words = [word for word in own[0].overrides if not word.startswith(("logger.", "seed=", "data.split="))]
        cfg = composed(tuple(own_words))
        assert line.get("pooling", "bert") == cfg.pooling.name
        assert line.get("modality", "rgb") == cfg.modality.name
        assert line.get("reduction", cfg.reduction.kind) == cfg.reduction.kind
        assert line.get("optimizer", cfg.optim.name) == cfg.optim.name
        assert line.get("frames", cfg.model.clip.frames) == cfg.model.clip.frames
        assert cfg.optim.name == ("adamw" if cfg.pooling.name != "average" else cfg.optim.name)
        for key in ("layers", "heads", "cls_token"):
            assert line.get(key, cfg.pooling.head.get(key)) == cfg.pooling.head.get(key)
        size = float(parameters(cfg).removesuffix(" M"))
        if "params" in line:
            unused = (0, UNUSED_CLASSIFIERS.get(name, 0))
            assert any(size == pytest.approx(line["params"] - extra, abs=0.011) for extra in unused)


@pytest.mark.parametrize("name", PAPER)
def test_streams_are_the_two_modalities_of_one_model(name):
    for row in experiment(name).rows.values():
        if row.streams:
            rgb, flow = (jobs(name)[stream] for stream in row.streams)
            for one, other in zip(rgb, flow, strict=True):
                words = [{word for word in job.overrides if not word.startswith("logger.")} for job in (one, other)]
                assert words[1] - words[0] == {"modality=flow"} and words[0] <= words[1]


def test_jobs_are_splits_times_rows():
    counts = {name: len(unique(job for own in jobs(name).values() for job in own)) for name in PAPER}
    assert counts == {
        **{"table1": 24, "table2": 12, "table3": 4, "table4": 6},
        **{"table5": 3, "table6": 2, "table7": 42},
    }


def test_the_tables_are_78_different_runs():
    planned = [job.identity for name in PAPER for job in unique(job for own in jobs(name).values() for job in own)]
    assert (len(planned), len(set(planned))) == (93, 78)


@pytest.mark.parametrize(
    ("here", "there", "shared"),
    [
        ("table1", "table2", 3),
        ("table1", "table3", 2),
        ("table1", "table7", 6),
        ("table3", "table7", 4),
        ("table6", "table7", 2),
    ],
)
def test_tables_share_runs(here, there, shared):
    first, second = ({job.folder for own in jobs(name).values() for job in own} for name in (here, there))
    assert len(first & second) == shared


@pytest.mark.parametrize("kind", ["mini", "probe"])
def test_the_small_tables_share_bert(kind):
    first, second = (jobs(f"{kind}_table{n}")["bert"] for n in (1, 2))
    assert [job.folder for job in first] == [job.folder for job in second]
    assert set(experiment(f"{kind}_table1").rows) >= HEADS | set(LATER)


def test_no_number_of_the_paper_stands_beside_a_later_head():
    for name in FILES:
        rows = experiment(name).rows
        if name in PAPER:
            assert not set(LATER) & set(rows)
        for row in LATER:
            assert paper.numbers(experiment(name).table, row, "hmdb51") == {}
    pooling = {row: composed(tuple(own[0].overrides)).pooling.name for row, own in jobs("mini_table1").items()}
    assert [pooling[row] for row in LATER] == LATER


def test_probe_tables_are_rows_of_tables_1_and_2_on_a_frozen_backbone():
    for number in (1, 2):
        probe = experiment(f"probe_table{number}")
        later = LATER if number == 1 else []
        assert list(probe.rows) == [*experiment(f"table{number}").rows, *later]
        assert probe.table is None and probe.seeds == [0, 1, 2, 3, 4]
        for own in jobs(probe.name).values():
            cfg = composed(tuple(own[0].overrides))
            assert (cfg.freeze.kind, cfg.features.keep, cfg.model.name) == ("backbone", "tokens", "i3d")


@pytest.mark.parametrize("name", FILES)
def test_the_header_says_the_command(name):
    text = (ROOT / "experiments" / f"{name}.yaml").read_text()
    assert f"python -m src.train experiments={name}" in text
    assert f"Table {name[-1]}" in text.splitlines()[1]
    assert OmegaConf.create(text).experiment.name == name


def test_dry_run_from_the_command_line(tmp_path):
    words = ["experiments=table6", "dry_run=true", "rows=average"]
    command = [sys.executable, "-m", "src.train", *words]
    done = subprocess.run(command, capture_output=True, text=True, cwd=tmp_path, env=environment())
    assert done.returncode == 0, done.stderr
    (job,) = jobs("table6")["average"]
    line = next(line for line in done.stdout.splitlines() if job.identity in line)
    assert "63.52 M" in line and job.folder in line
    assert not (tmp_path / "outputs" / "runs").exists()


def environment():
    return os.environ | {"PYTHONPATH": str(ROOT), "WANDB_MODE": "disabled"}


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    """A folder with look-alikes of both data sets and their flow where the experiments look for them."""
    folder = tmp_path_factory.mktemp("place")
    for name in ("hmdb51", "ucf101"):
        root = folder / "data" / name
        getattr(lookalikes, name)(root)
        for number, video in enumerate(sorted(root.glob("*/*.avi"))):
            fields = np.full((20, 48, 64, 2), 100 + number, np.uint8)  # no two with the same content
            path = flow_path(root, video.relative_to(root).as_posix())
            path.parent.mkdir(parents=True, exist_ok=True)
            write_video(path, fields, 0)
    return folder


@pytest.mark.slow
@pytest.mark.parametrize("name", PAPER)
def test_every_run_of_a_table_trains_and_tests(name, place, tmp_path, monkeypatch):
    """One step each, with small networks in the real ones' place."""
    monkeypatch.chdir(place)
    for planned in unique(job for own in jobs(name).values() for job in own):
        model = compose(planned.overrides).model.name
        own = [word for word in planned.overrides if not word.startswith("logger.")]
        outcome = start([*own, *SMALL[model], *ONE_STEP, f"run_dir={tmp_path / planned.identity}"])
        assert outcome.epochs == 1 and outcome.tested > 0
        assert (outcome.data.name, outcome.split, outcome.seed) == (planned.data, planned.split, 0)
