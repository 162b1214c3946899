"""Files whose tensor names are said in YAML: loaded as strictly as those that are known."""

import re
from pathlib import Path

import pytest
import torch
from omegaconf import OmegaConf
from src.build.compose import check
from src.build.network import build_recognizer
from src.command_line.hydra import composed
from src.errors import UserError
from src.models import weights
from src.models.weights import classes, safetensors
from src.models.weights.stated import layout_of, stated
from src.prediction import network
from src.runs.identity import describe, identity

from tests.tiny import tiny

LAYOUT = {
    "name": "somebody's release",
    "prefix": "encoder.",
    "rename": {r"^layers\.": "backbone.blocks.", r"^fc\.": "classifier."},
    "leave_out": [r"^decoder\.", "queue"],
}


def theirs(pooling="average"):
    """A network of ours, and its tensors by somebody else's names."""
    torch.manual_seed(1)
    ours = build_recognizer([*tiny("tiny"), f"pooling={pooling}"])
    state = {}
    for name, tensor in ours.state_dict().items():
        for begin, other in (("backbone.blocks.", "encoder.layers."), ("classifier.", "encoder.fc.")):
            if name.startswith(begin):
                state[other + name.removeprefix(begin)] = tensor.clone()
    return ours, {**state, "decoder.weight": torch.zeros(3, 3), "queue": torch.zeros(5)}


@pytest.mark.parametrize("wrapper", ["", "module."])
@pytest.mark.parametrize("ending", ["pt", "safetensors"])
def test_a_file_loads_by_what_is_said_of_it(tmp_path: Path, ending, wrapper):
    ours, state = theirs()
    state = {wrapper + name: tensor for name, tensor in state.items()}
    file = tmp_path / f"weights.{ending}"
    if ending == "pt":
        torch.save({"state_dict": state}, file)
    else:
        safetensors.write(file, state, {})
    torch.manual_seed(2)
    other = build_recognizer([*tiny("tiny"), "pooling=average"])
    with pytest.raises(UserError, match=r"no known layout .*say it with weights.layout"):
        weights.load(other, file)
    loaded = weights.load(other, file, layout_of(LAYOUT))
    assert not loaded.initial and not loaded.dropped
    assert "somebody's release" in loaded.summary
    clip = torch.randint(0, 256, (2, 3, 16, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(ours.eval()(clip), other.eval()(clip), rtol=0, atol=0)


def test_a_head_of_ones_own_keeps_its_initial_values_and_a_whole_networks_does_not():
    _, state = theirs("average")
    other = build_recognizer([*tiny("tiny"), "pooling=concat_fc"])
    assert any(name.startswith("pooling.") for name in weights.load(other, state, layout_of(LAYOUT)).initial)
    with pytest.raises(UserError, match=r"missing: pooling\.heads\.0\.linear"):
        weights.load(other, state, layout_of({**LAYOUT, "pretrained": False}))


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda state: state.pop("encoder.layers.0.0.weight"), r"missing: backbone\.blocks\.0\.0\.weight"),
        (lambda state: state.update({"encoder.more.weight": torch.zeros(1)}), r"unknown use: encoder\.more\.weight"),
        (lambda state: state.update({"fc.weight": torch.zeros(1)}), r"unknown use: fc\.weight"),
        (lambda state: state.update({"encoder.layers.9.weight": torch.zeros(1)}), "blocks.9.weight"),
        (lambda state: state.update({"encoder.layers.0.0.weight": torch.zeros(2, 2)}), "the network has"),
        (lambda state: state["encoder.layers.0.0.weight"].fill_(float("nan")), "NaN or infinity"),
    ],
)
def test_nothing_is_missing_or_left_over(change, said):
    ours, state = theirs()
    before = {name: tensor.clone() for name, tensor in ours.state_dict().items()}
    change(state)
    with pytest.raises(UserError, match=said):
        weights.load(ours, state, layout_of(LAYOUT))
    assert all(torch.equal(before[name], tensor) for name, tensor in ours.state_dict().items())


@pytest.mark.parametrize(
    "said",
    [
        *("prefix", ["rename"], {"renames": {}}, {"name": 5}, {"prefix": ["a"]}, {"pretrained": "yes"}),
        *({"rename": ["a", "b"]}, {"rename": {"a": 5}}, {"rename": {"(": ""}}, {"rename": {"a": r"\1"}}),
        *({"leave_out": "a"}, {"leave_out": [5]}, {"leave_out": ["["]}, {"leave_out": {"a": "b"}}),
    ],
)
def test_a_layout_that_says_nothing_is_one_line(said):
    with pytest.raises(UserError, match=re.escape("weights.layout")) as refusal:
        layout_of(said)
    assert "\n" not in str(refusal.value)


def test_it_stands_beside_the_file_or_the_published_source(tmp_path: Path):
    _, state = theirs()
    file = tmp_path / "theirs.safetensors"
    safetensors.write(file, state, {})
    words = [*tiny("tiny"), "pooling=average", "weights=file", f"weights.path={file}"]
    cfg = composed(words)
    OmegaConf.update(cfg, "weights.layout", LAYOUT)
    check(cfg)
    assert stated(cfg.weights) == layout_of(LAYOUT)
    assert stated(composed(words).weights) is None
    assert stated({"kind": "published", "source": {"layout": LAYOUT}}) == layout_of(LAYOUT)
    assert identity(describe(cfg)) != identity(describe(composed(words)))
    names = tmp_path / "classes.txt"
    names.write_text("\n".join("abcde"))
    asked = network.of_weights(cfg, names)
    assert asked.classes == list("abcde")
    with pytest.raises(UserError, match="their names are not known; give classes=FILE"):
        network.of_weights(cfg)
    assert classes.known_names(layout_of(LAYOUT), 400) is None
