"""torchvision's video networks: the same names, numbers and preprocessing as torchvision's own."""

import hashlib
import math
import re
from pathlib import Path

import pytest
import torch
from src.build import build_recognizer
from src.build.compose import compose
from src.build.network import skeleton
from src.errors import UserError
from src.models import weights
from src.models.weights import classes, layouts
from torch import nn
from torchvision.models import get_model, get_model_weights
from torchvision.models.video import mvit

from tests.networks import opened
from tests.tiny import options, tiny

PLACE = "src.models.backbones.torchvision"
RATES = {30: 1, 15: 2, 7.5: 4}  # frames a second of published evaluations → every n-th of a video with 30


def configuration(model, *words):
    return compose([f"model={model}", "pooling=average", *words], "network")


VIDEO_MODELS = [model for model in options("model") if configuration(model).model.backbone._target_.startswith(PLACE)]
LARGE = ("swin3d_s", "swin3d_b")  # which differ from swin3d_t in sizes alone


def named_as_theirs(recognizer):
    """Our state under torchvision's names."""
    state = {}
    last = {"MViT": "head.1", "Swin": "head", "S3D": "classifier.1"}.get(type(recognizer.backbone).__name__, "fc")
    for name, tensor in recognizer.state_dict().items():
        name = name.removeprefix("backbone.network.").replace("classifier.", f"{last}.", 1)
        state[name] = tensor.clone()
    return state


def randomize(network):
    """Weights and statistics that leave no part without influence."""
    torch.manual_seed(0)
    with torch.no_grad():
        for name, tensor in network.state_dict().items():
            if name.endswith("running_var"):
                tensor.uniform_(0.5, 1.5)
            elif tensor.is_floating_point() and tensor.ndim < 3:
                tensor.add_(0.05 * torch.randn_like(tensor))
    return network


def test_all_of_them_are_there():
    assert set(VIDEO_MODELS) == {
        *("r3d_18", "mc3_18", "r2plus1d_18", "s3d", "mvit_v1_b", "mvit_v2_s", "swin3d_t", "swin3d_s", "swin3d_b")
    }


@pytest.mark.parametrize("model", VIDEO_MODELS)
def test_weights_and_preprocessing_are_those_of_torchvisions_enum(model):
    published = get_model_weights(model).DEFAULT
    cfg = configuration(model)
    source = cfg.model.pretrained.rgb
    assert source.url == published.url
    assert source.file == Path(published.url).name == re.sub(r"-.*", f"-{source.sha256}.pth", source.file)
    assert source.url in source.how

    preset = published.transforms()
    clip = cfg.model.clip
    assert preset.mean == list(cfg.model.mean) and preset.std == list(cfg.model.std)
    assert preset.crop_size == [clip.crop, clip.crop]
    assert clip.frame_size[1] == preset.resize_size[0]  # height
    assert clip.keep_aspect == (len(preset.resize_size) == 1)
    if not clip.keep_aspect:
        assert clip.frame_size[0] == preset.resize_size[1]

    evaluated = published.meta["_docs"]
    assert f"clip_len={clip.frames}`" in evaluated
    assert clip.stride == RATES[float(re.search(r"frame_rate=([\d.]+)`", evaluated)[1])]
    assert published.meta["categories"] == classes.kinetics400()


@pytest.mark.parametrize("model", VIDEO_MODELS)
def test_names_and_shapes_are_torchvisions(model):
    with torch.device("meta"):
        theirs = get_model(model).state_dict()
        ours = named_as_theirs(skeleton(configuration(model), 400))
    shapes = {name: tuple(tensor.shape) for name, tensor in theirs.items() if "position_index" not in name}
    if model == "s3d":
        shapes["classifier.1.weight"] = shapes["classifier.1.weight"][:2]  # a convolution of one position there
    assert {name: tuple(tensor.shape) for name, tensor in ours.items()} == shapes


@pytest.mark.parametrize(
    "model", [pytest.param(model, marks=pytest.mark.slow if model in LARGE else ()) for model in VIDEO_MODELS]
)
@torch.inference_mode()
def test_logits_equal_torchvisions_at_equal_weights(model, monkeypatch):
    """The whole network on a small clip; S3D's own pooling needs a map of 7x7, and two time steps to be a mean."""
    frames, size = (14, 224) if model == "s3d" else (4, 32)
    whole = mvit.MViT
    monkeypatch.setattr(mvit, "MViT", lambda spatial_size, temporal_size, **kw: whole((size, size), frames, **kw))
    theirs = randomize(get_model(model)).eval()
    if model == "s3d":  # initial weights that let no signal through
        for module in theirs.features.modules():
            if isinstance(module, nn.Conv3d):
                module.weight.mul_(math.sqrt(6))
    words = [f"model.clip.frames={frames}", f"model.clip.crop={size}"]
    if "mvit" in model:
        words.append("model.backbone.pooled=true")
    ours = skeleton(configuration(model, *words), 400).eval()
    loaded = weights.load(ours, theirs.state_dict())
    assert loaded.layout == "torchvision"
    assert not (loaded.initial or loaded.dropped or loaded.notes)

    clip = torch.randn(2, 3, frames, size, size)
    expected = theirs(clip)
    assert (expected[0] - expected[1]).abs().max() > 1e-2 * expected.abs().max()
    assert (ours(clip) - expected).abs().max() <= 1e-5 * max(1, expected.abs().max())


@torch.inference_mode()
def test_the_map_of_mvit_has_all_tokens_but_the_class_token(model="mvit_v2_s"):
    torch.manual_seed(0)
    recognizer = randomize(build_recognizer([*tiny(model), "pooling=average"])).eval()
    clip = torch.randn(1, 3, 16, 32, 32)
    (whole,) = recognizer.features(clip)
    assert whole.shape == (1, 32, 8, 4, 4)
    network = recognizer.backbone.network
    seen = []
    network.norm.register_forward_hook(lambda _, __, output: seen.append(output))
    recognizer.features(clip)
    assert torch.equal(seen[0][:, 1:], whole.flatten(2).transpose(1, 2))
    recognizer.backbone.pooled = True
    assert torch.equal(seen[0][:, 0], recognizer.features(clip)[0].flatten(1))


@torch.inference_mode()
def test_swins_map_is_laid_out_in_time_and_space():
    """A change in the last frames changes the last step most, one at the right border the rightmost column."""
    recognizer = build_recognizer([*tiny("swin3d_t"), "pooling=average", "model.backbone.window=[1,1,1]"]).eval()
    clip = torch.randn(1, 3, 16, 32, 32)
    late, right = clip.clone(), clip.clone()
    late[:, :, 14:] += 1
    right[:, :, :, :, 24:] += 1
    (before,) = recognizer.features(clip)
    assert before.shape == (1, 32, 8, 4, 4)
    in_time = (recognizer.features(late)[0] - before).abs().sum(dim=(0, 1, 3, 4))
    in_space = (recognizer.features(right)[0] - before).abs().sum(dim=(0, 1, 2, 3))
    assert in_time.nonzero().flatten().tolist() == [7]
    assert in_space.nonzero().flatten().tolist() == [3]


@pytest.mark.parametrize("model", VIDEO_MODELS)
def test_every_parameter_gets_a_gradient_and_parts_hold_them_all(model):
    torch.manual_seed(0)
    recognizer = build_recognizer([*tiny(model), "pooling=average", "model.clip.frames=8"])
    backbone = recognizer.backbone.train()
    sum((x * torch.randn_like(x)).sum() for x in backbone(torch.randn(2, 3, 8, 32, 32))).backward()
    idle = [name for name, p in backbone.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0]
    # The class token's position has no weight of its own in v1's map: it moves that token alone, through its keys.
    assert not [name for name in idle if "class" not in name]
    held = {id(p) for modules in backbone.parts().values() for module in modules for p in module.parameters()}
    assert held == {id(p) for p in backbone.parameters()}


# Weights


@pytest.fixture
def cache(tmp_path, monkeypatch):
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    folder = tmp_path / "late-temporal" / "weights"
    folder.mkdir(parents=True)
    return folder


def put(model, folder, *words):
    """A random network's state as torchvision's file in the cache; the words that make a network of it."""
    own = [*tiny(model), *words]
    cfg = configuration(model)
    file = folder / cfg.model.pretrained.rgb.file
    recognizer = randomize(build_recognizer([*own, "pooling=average", *cfg.model.get("published", [])], 400))
    torch.save(named_as_theirs(recognizer), file)
    digest = hashlib.sha256(file.read_bytes()).hexdigest()[:8]
    return own, [*own, "weights=pretrained", f"model.pretrained.rgb.sha256='{digest}'"], recognizer.eval()


@pytest.mark.parametrize("model", ["mvit_v2_s", "swin3d_t", "r2plus1d_18"])
@torch.inference_mode()
def test_published_weights_alone_are_asked_with_their_own_classifier(model, cache):
    _, words, recognizer = put(model, cache)
    network = opened(*[word for word in words if not word.startswith("data.")], "trainer.accelerator=cpu")
    assert network.classes == classes.kinetics400()
    clip = torch.randint(0, 256, (1, 3, 16, 32, 32), dtype=torch.uint8)
    torch.testing.assert_close(network.recognizer(clip), recognizer(clip), atol=1e-5, rtol=1e-5)


def test_another_file_than_the_published_one_is_refused(cache):
    own, _, _ = put("swin3d_t", cache)
    with pytest.raises(UserError, match=r"not the published file: its SHA-256 is \w+, not 7615ae03"):
        opened(*[word for word in own if not word.startswith("data.")], "weights=pretrained")


def test_without_a_network_the_line_says_what_to_get_and_where_to_put_it(cache):
    nowhere = "http://127.0.0.1:9/swin3d_t-7615ae03.pth"
    with pytest.raises(UserError) as refused:
        opened("model=swin3d_t", "weights=pretrained", f"model.pretrained.rgb.url={nowhere}")
    said = str(refused.value)
    assert f"download {nowhere} on another machine" in said
    assert str(cache / "swin3d_t-7615ae03.pth") in said and "\n" not in said


def test_a_classifier_of_the_class_token_is_not_put_on_the_mean_of_the_others(cache):
    own, _, source = put("mvit_v1_b", cache)
    target = build_recognizer([*own, "pooling=average"], 400)
    loaded = weights.load(target, named_as_theirs(source))
    assert loaded.dropped == ("head.1.weight", "head.1.bias") and loaded.initial == (
        "classifier.weight",
        "classifier.bias",
    )


@pytest.mark.parametrize("model", VIDEO_MODELS)
def test_flow_takes_the_first_convolution_from_rgb(model, cache):
    own, _, source = put(model, cache)
    target = build_recognizer([*own, "pooling=bert", "modality=flow", "reduction=none"])
    loaded = weights.load(target, named_as_theirs(source))
    (note,) = loaded.notes
    assert note.startswith("cross-modality initialisation from RGB weights of backbone.network.")
    theirs = source.state_dict()
    changed = []
    for name, tensor in target.state_dict().items():
        if name in theirs and tensor.ndim == 5 and tensor.shape[1] != theirs[name].shape[1]:
            changed.append(name)
    assert len(changed) == 1
    mean = theirs[changed[0]].mean(1, keepdim=True)
    assert torch.allclose(target.state_dict()[changed[0]], mean.expand(-1, 2, -1, -1, -1) * 1.5)


@pytest.mark.parametrize("model", ["mvit_v1_b", "mvit_v2_s"])
def test_positions_of_another_clip_are_refused_with_the_clip_that_fits(model, cache):
    own, _, source = put(model, cache)
    target = build_recognizer([*own, "pooling=average", "model.clip.crop=64"], 400)
    with pytest.raises(UserError) as refused:
        weights.load(target, named_as_theirs(source))
    said = str(refused.value)
    assert "its positions are for clips of another size" in said and "model.clip.crop" in said and "\n" not in said


@pytest.mark.parametrize("words", [["model.clip.frames=15"], ["model.clip.crop=112"], ["model.clip.frames=1"]])
def test_clips_that_mvit_has_no_positions_for_are_refused_in_one_line(words):
    with pytest.raises(UserError, match=r"model\.clip\.frames=16 model\.clip\.crop=224") as refused:
        build_recognizer(["model=mvit_v2_s", "pooling=bert", *words], 5)
    assert "a multiple of 32" in str(refused.value) and "\n" not in str(refused.value)


def test_names_that_two_layouts_share_are_told_by_the_network(cache):
    _, _, source = put("r2plus1d_18", cache)
    state = named_as_theirs(source)
    names = set(state)
    assert layouts.recognise(names, source.backbone).name == "torchvision"
    assert layouts.recognise(names).name == "ig65m-pytorch"
    with pytest.raises(UserError, match="the checkpoint is for VideoResNet"):
        weights.load(build_recognizer([*tiny("tiny"), "pooling=average"]), named_as_theirs(put("r3d_18", cache)[2]))


def test_full_sizes_of_maps():
    for model, shape in {
        "r3d_18": (512, 2, 7, 7),
        "mc3_18": (512, 16, 7, 7),
        "r2plus1d_18": (512, 2, 7, 7),
        "s3d": (1024, 16, 7, 7),
        "mvit_v1_b": (768, 8, 7, 7),
        "mvit_v2_s": (768, 8, 7, 7),
        "swin3d_t": (768, 16, 7, 7),
        "swin3d_s": (768, 16, 7, 7),
        "swin3d_b": (1024, 16, 7, 7),
    }.items():
        cfg = configuration(model)
        clip = cfg.model.clip
        with torch.device("meta"):
            backbone = skeleton(cfg, 400).eval().backbone
            (found,) = backbone(torch.empty(1, 3, clip.frames, clip.crop, clip.crop))
        assert found.shape[1:] == shape
        assert backbone.channels == shape[:1] and backbone.lengths(clip.frames) == shape[1:2]


@pytest.mark.parametrize("frames", [5, 9, 13, 16, 17, 31])
@pytest.mark.parametrize("model", [model for model in VIDEO_MODELS if "mvit" not in model])
def test_lengths_of_odd_clips(model, frames):
    with torch.device("meta"):
        backbone = skeleton(configuration(model), 400).eval().backbone
        (found,) = backbone(torch.empty(1, 3, frames, 50, 66))
    assert (found.shape[2],) == backbone.lengths(frames)
    assert math.prod(found.shape) > 0
    assert isinstance(backbone, nn.Module)
