"""Runs with trainer.compile=true: resumed, on two ranks, and where there is no compiler."""

import functools
import os
import shutil

import numpy as np
import pytest
import torch
from src.errors import UserError
from src.models.recognizer import Recognizer

from tests.conftest import write_video
from tests.tiny import tiny
from tests.training_runs import assert_same, cut, outcome, own_videos, train

# Dynamo asks maps for a gradient that they do not keep.
pytestmark = pytest.mark.filterwarnings("ignore:The .grad attribute of a Tensor that is not a leaf")


@pytest.fixture(scope="module")
def words(tmp_path_factory):
    """Two classes of six clips; the last batch of an epoch is a smaller one."""
    root = tmp_path_factory.mktemp("videos")
    for i in range(12):
        write_video(root / ("hop", "skip")[i % 2] / f"{i}.mp4", 9 + i, seed=i, g="8", bf="0")
    return [*own_videos(root), "recipe.epochs=2", "recipe.batch_size=4"]


@pytest.fixture
def eager(monkeypatch):
    """A backend that needs no compiler and traces as all backends do."""
    compile_regions = functools.partialmethod(Recognizer.compile_regions, backend="aot_eager")
    monkeypatch.setattr(Recognizer, "compile_regions", compile_regions)


def assert_close(one, other):
    """Up to what rounding becomes in a few steps."""
    first, second = outcome(one), outcome(other)
    assert first[0].keys() == second[0].keys()
    for name, value in first[0].items():
        torch.testing.assert_close(value, second[0][name], atol=1e-3, rtol=1e-2, msg=lambda m, n=name: f"{n}: {m}")
    np.testing.assert_allclose(first[1].scores, second[1].scores, atol=0.02)


def test_a_compiled_run_is_resumed_and_is_the_one_that_is_not_compiled(words, eager, monkeypatch, tmp_path):
    fast = [*words, "trainer.compile=true", "model.checkpointing=true"]
    whole, _ = train(fast, tmp_path / "whole")
    with cut(monkeypatch, epoch=1, step=1):
        train(fast, tmp_path / "cut")
    assert_same(whole, train(fast, tmp_path / "cut")[0])
    plain, _ = train(words, tmp_path / "plain")
    assert whole.read_run().identity == plain.read_run().identity
    assert_close(plain, whole)


def test_averages_of_compiled_networks_are_those_of_others(words, eager, tmp_path):
    more = [*words, "recipe.ema=0.9", "recipe.epochs=1"]
    compiled, _ = train([*more, "trainer.compile=true"], tmp_path / "compiled")
    assert_close(train(more, tmp_path / "plain")[0], compiled)


def test_another_librarys_network_is_compiled_and_cannot_compute_maps_again(words, eager, tmp_path):
    others = [*words, *tiny("mvit_v2_s"), "pooling=average", "recipe.epochs=1", "recipe.batch_size=2"]
    others = [word for word in others if not word.startswith("data.num_classes")]
    _, results = train([*others, "trainer.compile=true"], tmp_path / "compiled")
    assert results.metrics is not None
    with pytest.raises(UserError, match=r"model\.checkpointing=true: this network's maps cannot be computed again"):
        train([*others, "model.checkpointing=true"], tmp_path / "refused")


@pytest.mark.slow
def test_with_a_compiler_too_and_without_one_in_one_line(words, monkeypatch, tmp_path):
    fast = [*words, "trainer.compile=true", "recipe.epochs=1"]
    if shutil.which(os.environ.get("CXX", "g++")):
        compiled, _ = train(fast, tmp_path / "compiled")
        plain, _ = train([*words, "recipe.epochs=1"], tmp_path / "plain")
        assert_close(plain, compiled)
    monkeypatch.setattr(torch._inductor.config.cpp, "cxx", (None, "no-such-compiler"))
    monkeypatch.setenv("TORCHINDUCTOR_CACHE_DIR", str(tmp_path / "cache"))
    torch._dynamo.reset()
    with pytest.raises(UserError, match=r"trainer\.compile=true needs"):
        train(fast, tmp_path / "refused")
