import json
import subprocess
import sys

import pytest
import torch
from src.build.compose import compose
from src.build.network import measure_network
from src.command_line.options import parse
from src.complexity import COMMAND, complexity
from src.config import ROOT
from src.models.cost import PARTS, measure, total
from src.models.recognizer import Recognizer
from src.sweeps import paper
from src.sweeps.costs import MODELS, paper_lines
from torchvision.models import get_model_weights

from tests.models.configured import bert
from tests.models.test_torchvision import VIDEO_MODELS
from tests.models.toy import Toy


@pytest.fixture(scope="module")
def rows():
    return paper_lines()


def test_every_row_that_prints_both_columns_is_there(rows):
    for table in MODELS:
        assert [row.name for row in rows if row.table == table] == list(paper.rows(table))
    assert len(rows) == 28


def test_every_row_is_as_printed(rows):
    assert [row for row in rows if not row.right] == []
    noted = [row for row in rows if row.note]
    assert [(row.table, row.params, row.paper_params) for row in noted] == [("table6", 63.52, 63.67)]
    assert all(row.params == row.paper_params for row in rows if not row.note)


@pytest.mark.parametrize(
    ("overrides", "parameters"),
    [  # of the authors' checkpoints
        ("model=resnext101 pooling=average modality=flow", 47_603_763),
        ("model=resnext101 pooling=bert modality=flow reduction=frab", 52_443_187),
        ("model=resnext101 pooling=nonlocal_concat_fc", 47_347_987),
        ("model=resnext101 pooling=lstm", 47_578_089),
        ("model=i3d pooling=bert modality=flow", 16_374_403),
        ("model=i3d pooling=bert reduction=frmb", 13_539_427),
        ("model=slowfast pooling=bert_late_fusion", 42_038_155 - 922_000),  # less an unused 400-way classifier
        ("model=slowfast pooling=bert_early_fusion", 43_174_283 - 922_000),
        ("model=r2plus1d pooling=bert model.clip.frames=64", 66_675_642),
    ],
)
def test_parameters_of_published_networks(overrides, parameters):
    cfg = compose(overrides.split(), "network")
    assert total(measure_network(cfg, 51)).params == parameters


@pytest.mark.parametrize(
    ("overrides", "macs"),
    [  # of convolutions and linear layers, from the layers' shapes
        ("model=resnext101 pooling=average", 38_267_688_960),
        ("model=i3d pooling=average", 111_150_328_832),
        ("model=slowfast pooling=average", 50_307_779_328),
        ("model=r2plus1d pooling=average", 152_355_536_384),
        ("model=r2plus1d pooling=lstm", 152_368_939_622),
    ],
)
def test_multiply_accumulates_of_the_papers_networks(overrides, macs):
    assert total(measure_network(compose(overrides.split(), "network"), 51)).macs == macs


@pytest.mark.parametrize("model", VIDEO_MODELS)
def test_multiply_accumulates_are_those_that_torchvision_publishes(model):
    """Of 16 frames, by all of its networks, with their 400 classes."""
    published = get_model_weights(model).DEFAULT.meta
    words = [f"model={model}", "pooling=average", "model.clip.frames=16"]
    cost = total(measure_network(compose(words, "network"), 400))
    assert cost.macs / 1e9 == pytest.approx(published["_ops"], rel=1e-4)
    assert cost.params == published["num_params"]


def test_attention_counts_whatever_computes_it():
    cost = total(measure_network(compose(["model=swin3d_t", "pooling=average"], "network"), 400))
    assert cost.macs / 1e9 == pytest.approx(87.76, abs=0.01)
    assert cost.operations < cost.macs  # the paper counts no products of activations


def test_counts_by_hand():
    with torch.device("meta"):
        recognizer = Recognizer(
            Toy((16,)), bert, fusion="late", frames=4, num_classes=5, dropout=0.5, mean=[0.5] * 3, std=[0.5] * 3
        )
        parts = measure(recognizer.train(), torch.empty(1, 3, 4, 6, 6))
    assert recognizer.training and list(parts) == list(PARTS)
    assert parts["backbone"].macs == 3 * 16 * 4 * 3 * 3
    layers = 5 * 12 * 16 * 16  # 5 positions, 4 projections and twice 4·D feed-forward
    assert parts["head"].operations == layers
    assert parts["head"].macs == layers + 2 * 5 * 5 * 16  # and queries with keys, weights with values
    assert parts["classifier"].macs == 16 * 5 and parts["classifier"].params == 17 * 5
    assert total(parts).params == sum(p.numel() for p in recognizer.parameters())


@pytest.mark.parametrize(
    ("pooling", "layers", "attention"),
    [  # multiply-accumulates of the weights, and of activations, for a map of 128 × 16 × 4 × 4: 256 positions
        # three blocks of 12 D² per position; the last: keys and values per position, query and 8 D² for the rest
        ("attentive", 128**2 * (3 * 12 * 256 + 2 * 256 + 1 + 8), 128 * 2 * 256 * (3 * 256 + 1)),
        ("attentive_step", 128**2 * (2 * 257 + 2), 128 * 2 * 257),
        ("efficient_probing", 128**2 * 256 + 16 * 128 * 256, 128 * 256),  # the queries are weights
    ],
)
def test_counts_of_attentive_heads(pooling, layers, attention):
    cfg = compose(["model=tiny", f"pooling={pooling}"], "network")
    head = measure_network(cfg, 8)["head"]
    assert (head.operations, head.macs) == (layers, layers + attention)


def test_one_configuration_for_machines(capsys):
    words = ["model=i3d", "pooling=bert", "reduction=frab", "modality=flow", "format=json"]
    assert complexity(parse(COMMAND, words)) == 0
    answer = json.loads(capsys.readouterr().out)
    assert answer["params"] == 16_374_403
    assert answer["operations"] == pytest.approx(102.91e9, rel=1e-3)
    assert answer["macs"] < answer["operations"]
    for column in ("params", "macs", "operations"):
        assert sum(part[column] for part in answer["parts"].values()) == answer[column]
    assert set(answer["parts"]) == {"backbone", "reduction", "head", "classifier"}


def test_one_configuration_imports_no_data():
    """What a fast start depends on: loading any of these takes longer than all the rest."""
    code = (
        "import sys; from src.complexity import *; from src.command_line.options import parse; "
        "complexity(parse(COMMAND, sys.argv[1:])); print(*sys.modules, file=sys.stderr)"
    )
    words = ["model=slowfast", "pooling=bert_late_fusion", "format=json"]
    done = subprocess.run([sys.executable, "-c", code, *words], cwd=ROOT, capture_output=True, text=True, check=True)
    assert json.loads(done.stdout)["params"] == 42_038_155 - 922_000
    slow = {
        "torchvision",
        "pytorch_lightning",
        "torchmetrics",
        "av",
        "decord",
        "matplotlib",
    }
    assert not slow & set(done.stderr.split())


def test_wrong_choices_are_told_in_one_line():
    command = [sys.executable, "-m", "src.complexity", "model=r2plus1d", "pooling=bert", "reduction=frmb"]
    done = subprocess.run(command, cwd=ROOT, capture_output=True, text=True)
    assert done.returncode == 2
    assert done.stderr.startswith("error: ") and "frmb" in done.stderr and done.stderr.count("\n") == 1
