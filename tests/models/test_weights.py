"""Loading weights: what is reported, what is refused, and what is made of RGB weights for flow."""

import random
from functools import partial

import pytest
import torch
from src.errors import UserError
from src.models import weights
from src.models.backbones.i3d import I3D
from src.models.backbones.r2plus1d import R2Plus1D
from src.models.backbones.resnext import ResNeXt
from src.models.backbones.slowfast import SlowFast
from src.models.pooling.average import Average
from src.models.pooling.concat import Concat
from src.models.recognizer import Recognizer
from src.models.weights.translation import assemble, into_place, translate

from tests.models.configured import bert, bert_with, sizes
from tests.models.golden import fill, layouts

BERT = bert_with(heads=2)


def resnext(reduction="none", in_channels=3):
    small = {
        "blocks": (1, 1, 1, 2),
        "stem_width": 8,
        "widths": (4, 4, 4, 8),
        "cardinality": 2,
        "reduced_channels": 8,
    }
    return ResNeXt(in_channels, reduction, **(sizes("resnext101") | small))


def r2plus1d(in_channels=3):
    small = {"blocks": (1, 1, 1, 1), "widths": (4, 4, 4, 8), "stem_width": 5}
    return R2Plus1D(in_channels, "none", **(sizes("r2plus1d") | small))


def recognizer(backbone, head=Average, num_classes=5, frames=16):
    stats = [0.5] * backbone.stem[0].in_channels
    arguments = {"fusion": "late", "frames": frames, "num_classes": num_classes, "dropout": 0.0}
    return Recognizer(backbone, head, mean=stats, std=stats, **arguments).eval()


def as_mars(network, prefix="module."):
    """The state of a tiny ResNeXt under the names of the published Kinetics weights."""
    state = {}
    for name, tensor in network.state_dict().items():
        name = name.replace("backbone.stem.0", "conv1").replace("backbone.stem.1", "bn1")
        for stage in range(4):
            name = name.replace(f"backbone.stages.{stage}.", f"layer{stage + 1}.")
        state[prefix + name.replace("classifier", "fc")] = tensor.clone()
    return state


def as_ig65m(network):
    state = {}
    for name, tensor in network.state_dict().items():
        for stage in range(4):
            name = name.replace(f"backbone.stages.{stage}.", f"layer{stage + 1}.")
        state[name.replace("backbone.stem", "stem").replace("classifier", "fc")] = tensor.clone()
    return state


def randomize(network):
    with torch.no_grad():
        for tensor in network.state_dict().values():
            if tensor.is_floating_point():
                tensor.uniform_(0.1, 1)
    return network


def same(first, second):
    first, second = first.state_dict(), second.state_dict()
    return first.keys() == second.keys() and all(torch.equal(first[name], second[name]) for name in first)


@pytest.mark.parametrize("prefix", ["", "module.", "_orig_mod.", "recognizer.", "model.recognizer._orig_mod."])
@pytest.mark.parametrize("wrapper", [None, "state_dict", "model_state"])
def test_own_weights_come_back(tmp_path, prefix, wrapper):
    source, target = randomize(recognizer(resnext("frmb"), BERT)), recognizer(resnext("frmb"), BERT)
    state = {prefix + name: tensor for name, tensor in source.state_dict().items()}
    content = {"epoch": 3, wrapper: state} if wrapper else state
    torch.save(content, tmp_path / "own.ckpt")
    loaded = weights.load(target, tmp_path / "own.ckpt")
    assert same(source, target)
    assert loaded.layout == "this project"
    assert not (loaded.initial or loaded.dropped or loaded.notes)


def test_tensors_of_a_lightning_module_around_the_recognizer_are_no_concern():
    source, target = randomize(recognizer(resnext())), recognizer(resnext())
    state = {f"recognizer.{name}": tensor for name, tensor in source.state_dict().items()}
    weights.load(target, {"state_dict": state | {"loss.weight": torch.ones(5)}})
    assert same(source, target)


def test_another_number_of_classes_drops_the_classifier_and_says_so():
    source, target = randomize(recognizer(resnext("frab"), BERT)), recognizer(resnext("frab"), BERT, num_classes=7)
    before = target.classifier.weight.clone()
    loaded = weights.load(target, source.state_dict())
    assert torch.equal(target.classifier.weight, before)
    assert loaded.dropped == loaded.initial == ("classifier.weight", "classifier.bias")
    assert "initial values kept in classifier" in loaded.summary
    assert same(source.backbone, target.backbone)


@pytest.mark.parametrize("reduction", ["none", "frmb", "frab"])
@pytest.mark.parametrize("prefix", ["", "module."])
def test_a_pretrained_backbone_leaves_head_and_reduction_alone(reduction, prefix):
    source, target = randomize(recognizer(resnext(), num_classes=9)), recognizer(resnext(reduction), BERT)
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    loaded = weights.load(target, {"epoch": 1, "state_dict": as_mars(source, prefix)})
    kept = {n for n in before if n.startswith(("pooling.", "classifier.", "backbone.reduction."))}
    assert set(loaded.initial) == {name for name in kept if not name.endswith("num_batches_tracked")}
    assert all(torch.equal(before[name], target.state_dict()[name]) for name in kept)
    assert torch.equal(target.backbone.stages[3][0].conv2.weight, source.backbone.stages[3][0].conv2.weight)
    replaced = [name for name in as_mars(source, prefix) if name.startswith(f"{prefix}layer4.1.")]
    assert set(loaded.dropped) == {f"{prefix}fc.weight", f"{prefix}fc.bias"} | set(
        replaced if reduction == "frmb" else []
    )
    assert ("layer4.1" in loaded.summary) == (reduction == "frmb")


def test_a_pretrained_classifier_is_kept_where_it_fits():
    source, target = randomize(recognizer(resnext(), num_classes=9)), recognizer(resnext(), num_classes=9)
    loaded = weights.load(target, as_mars(source))
    assert same(source, target)
    assert not loaded.dropped


def test_files_without_batch_counters_load():
    source, target = randomize(recognizer(resnext())), recognizer(resnext())
    state = {name: t for name, t in as_mars(source).items() if not name.endswith("num_batches_tracked")}
    loaded = weights.load(target, state)
    assert same(source, target)
    assert not loaded.initial


def test_whatever_else_does_not_fit_is_an_error_with_names_and_shapes():
    source, target = recognizer(resnext()), recognizer(resnext())
    before = {name: tensor.clone() for name, tensor in target.state_dict().items()}
    state = source.state_dict()
    del state["backbone.stages.0.0.conv1.weight"]
    state["backbone.stages.0.5.conv1.weight"] = torch.ones(3, 2)
    state["backbone.stages.1.0.conv1.weight"] = torch.ones(7)
    with pytest.raises(UserError) as error:
        weights.load(target, state)
    message = str(error.value)
    assert "missing: backbone.stages.0.0.conv1.weight (4, 8, 1, 1, 1)" in message
    assert "left over: backbone.stages.0.5.conv1.weight (3, 2)" in message
    assert "another shape: backbone.stages.1.0.conv1.weight (7,), the network has (4, 8, 1, 1, 1)" in message
    assert all(torch.equal(before[name], tensor) for name, tensor in target.state_dict().items())


def test_another_head_is_an_error():
    with pytest.raises(UserError, match=r"left over: pooling\.heads\.0\.cls"):
        weights.load(recognizer(resnext("frab")), recognizer(resnext("frab"), BERT).state_dict())
    with pytest.raises(UserError, match=r"missing: pooling\.heads\.0\.cls"):
        weights.load(recognizer(resnext("frab"), BERT), recognizer(resnext("frab")).state_dict())


def test_a_published_layout_with_tensors_too_many_is_an_error():
    state = as_mars(recognizer(resnext()), "") | {"layer9.0.weight": torch.ones(2, 3)}
    with pytest.raises(UserError, match=r"unknown use: layer9\.0\.weight \(2, 3\)"):
        weights.load(recognizer(resnext()), state)


def test_position_embeddings_of_another_length_name_both_lengths():
    source, target = recognizer(resnext("frab"), BERT, frames=64), recognizer(resnext("frab"), BERT, frames=32)
    with pytest.raises(UserError, match="position embeddings are for 4 time steps, the network has 2"):
        weights.load(target, source.state_dict())


def test_another_architecture_is_named():
    with pytest.raises(UserError, match=r"the checkpoint is for ResNeXt .*the network has R2Plus1D"):
        weights.load(recognizer(r2plus1d()), as_mars(recognizer(resnext())))


@pytest.mark.parametrize("state", [{}, {"some.weight": torch.ones(2)}, {"epoch": 3}])
def test_an_unknown_layout_is_an_error(state):
    with pytest.raises(UserError, match="no known layout"):
        weights.load(recognizer(resnext()), state)


def test_cross_modality_initialisation_keeps_the_response_to_a_constant():
    source, target = randomize(recognizer(r2plus1d(3))), recognizer(r2plus1d(2))
    loaded = weights.load(target, as_ig65m(source))
    rgb, flow = source.backbone.stem[0].weight, target.backbone.stem[0].weight
    torch.testing.assert_close(flow, (1.5 * rgb.mean(1, keepdim=True)).repeat(1, 2, 1, 1, 1))
    torch.testing.assert_close(flow.sum(1), rgb.sum(1))
    assert loaded.notes == ("cross-modality initialisation from RGB weights of backbone.stem.0.weight",)
    assert loaded.notes[0] in loaded.summary


def test_cross_modality_initialisation_takes_both_of_slowfasts_stems():
    with torch.device("meta"):
        network = Recognizer(
            SlowFast(2, "none", fusion="late", **sizes("slowfast")),
            Average,
            fusion="late",
            frames=64,
            num_classes=400,
            dropout=0.0,
            mean=[0.5] * 2,
            std=[0.5] * 2,
        )
    state = {
        n: torch.empty(s, device="meta") for n, s in layouts()["slowfast_8x8_r50_pyslowfast"]["state_dict"].items()
    }
    (note,) = weights.load(network, state).notes
    assert "stems.0.0.weight" in note
    assert "stems.1.0.weight" in note


def test_flow_networks_with_published_flow_weights_refuse_rgb_weights():
    with pytest.raises(UserError, match=r"another shape: backbone\.stem\.0\.weight \(8, 3, 7, 7, 7\)"):
        weights.load(recognizer(resnext(in_channels=2)), as_mars(recognizer(resnext(in_channels=3))))


def test_the_authors_concatenation_runs_channel_by_channel():
    network = recognizer(resnext("frmb"), partial(Concat, hidden=6), frames=32)
    theirs = torch.randn(6, 8 * 2)
    named = into_place("pooling.heads.0.linear.weight", theirs, network)[1]
    x = torch.randn(3, 8, 2)  # N, D, T
    torch.testing.assert_close(x.transpose(1, 2).flatten(1) @ named.T, x.flatten(1) @ theirs.T)


def test_the_authors_layer_norm_divides_by_the_unbiased_deviation():
    scale, shift, x = torch.rand(16) + 0.5, torch.randn(16), torch.randn(4, 16)
    ours = assemble({"pooling.heads.0.layers.0.norm1.a_2": ("", scale)})
    norm = torch.nn.functional.layer_norm(x, (16,), ours["pooling.heads.0.layers.0.norm1.weight"], shift)
    expected = scale * (x - x.mean(1, keepdim=True)) / (x.std(1, keepdim=True) + 1e-6) + shift
    torch.testing.assert_close(norm, expected, atol=1e-4, rtol=1e-4)


def test_where_a_file_names_a_tensor_twice_the_later_one_counts():
    layout = layouts()["rgb_slowfast64f_50_bert10_FRMB_late"]["state_dict"]
    pair = ("model.s5.pathway0_res2.conv1.weight", "mapper.conv1.weight")
    assert list(layout).index(pair[0]) < list(layout).index(pair[1])
    with torch.device("meta"):
        network = recognizer_of_slowfast("frmb")
    state = {name: torch.empty(shape, device="meta") for name, shape in layout.items()}
    state |= {name: fill.fill_tensor(name, layout[name]) for name in pair}
    _, named = translate(state, network)
    assert named["backbone.reduction.0.conv1.weight"][0] == pair[1]


def recognizer_of_slowfast(reduction):
    arguments = {"fusion": "late", "frames": 64, "num_classes": 51, "dropout": 0.0}
    slowfast = SlowFast(3, reduction, fusion="late", **sizes("slowfast"))
    return Recognizer(slowfast, bert, mean=[0.5] * 3, std=[0.5] * 3, **arguments)


def test_a_file_that_is_no_checkpoint_is_named(tmp_path):
    with pytest.raises(UserError, match="no such checkpoint file"):
        weights.load(recognizer(resnext()), tmp_path / "absent.pth")
    (tmp_path / "text.pth").write_text("hello")
    with pytest.raises(UserError, match=r"text\.pth: damaged, or not a checkpoint of PyTorch"):
        weights.load(recognizer(resnext()), tmp_path / "text.pth")
    torch.save([1, 2], tmp_path / "list.pth")
    with pytest.raises(UserError, match="holds a list"):
        weights.load(recognizer(resnext()), tmp_path / "list.pth")


class Evil:
    def __reduce__(self):
        return (print, ("code has run",))


def test_no_code_in_a_file_is_run(tmp_path, capsys):
    torch.save({"state_dict": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(UserError, match=r"evil\.pth: holds builtins\.print; only tensors are read"):
        weights.load(recognizer(resnext()), tmp_path / "evil.pth")
    assert "code has run" not in capsys.readouterr().out


@pytest.mark.filterwarnings("ignore:.*copying from a non-meta parameter")
def test_i3d_loads_with_and_without_a_head():
    layout = layouts()["i3d_kinetics_rgb"]["state_dict"]
    state = {name: torch.empty(shape, device="meta") for name, shape in layout.items()}
    for reduction in ("none", "frmb", "frab"):
        with torch.device("meta"):
            network = Recognizer(
                I3D(3, reduction, **sizes("i3d")),
                bert,
                fusion="late",
                frames=64,
                num_classes=51,
                dropout=0.0,
                mean=[0.5] * 3,
                std=[0.5] * 3,
            )
        loaded = weights.load(network, state)
        dropped = {name.rsplit(".", 3)[0] for name in loaded.dropped if not name.startswith("logits")}
        assert dropped == ({"Mixed_5c"} if reduction == "frmb" else set())


@pytest.mark.parametrize("layout", ["pretrained", "authors"])
def test_foreign_states_changed_at_random(layout):
    draw, target = random.Random(2), recognizer(resnext("frmb"), BERT)
    original = as_mars(recognizer(resnext()))
    if layout == "authors":
        original = {f"features.{i}.{name}": tensor for i, (name, tensor) in enumerate(original.items())}
        original |= {"features.4.0.conv1.weight": torch.ones(4, 8, 1, 1, 1), "linear.weight": torch.ones(6, 16)}
        thirds = "bert.transformer_blocks.0.attention.linear_layers"
        original |= {f"{thirds}.{i}.weight": torch.ones(8, 8) for i in range(3)}
        original["bert.transformer_blocks.0.input_sublayer.norm.a_2"] = torch.ones(8)
    for _ in range(200):
        content = dict(original)
        for name in draw.sample(list(content), 3):
            content[name] = torch.ones([draw.choice([0, 1, 2, 8]) for _ in range(draw.randrange(6))])
        try:
            weights.load(target, content)
        except UserError as error:
            assert "\n" not in str(error)
