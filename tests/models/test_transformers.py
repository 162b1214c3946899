"""VideoMAE and V-JEPA 2: published files, and the numbers and preprocessing of the transformers library."""

import math

import pytest
import torch
from src.build import build_recognizer
from src.build.compose import compose
from src.build.network import measure_network, skeleton
from src.errors import UserError
from src.models import weights
from src.models.cost import total
from src.models.weights import classes, safetensors

from tests.networks import opened
from tests.tiny import tiny

transformers = pytest.importorskip("transformers")

MODELS = ("videomae", "vjepa2")
FRAMES, SIZE, WIDTH, DEPTH, HEADS, HIDDEN = 4, 32, 32, 4, 2, 64
SMALL = [
    *(f"model.clip.frames={FRAMES}", f"model.clip.crop={SIZE}", f"model.backbone.width={WIDTH}"),
    *(f"model.backbone.depth={DEPTH}", f"model.backbone.heads={HEADS}", f"model.backbone.hidden={HIDDEN}"),
]


def theirs(model):
    """The library's own classifier of 400 classes, every tensor random."""
    torch.manual_seed(0)
    common = {"hidden_size": WIDTH, "num_hidden_layers": DEPTH, "num_attention_heads": HEADS, "num_labels": 400}
    if model == "videomae":
        sizes = {"image_size": SIZE, "num_frames": FRAMES, "intermediate_size": HIDDEN}
        network = transformers.VideoMAEForVideoClassification(transformers.VideoMAEConfig(**common, **sizes))
    else:
        sizes = {"crop_size": SIZE, "frames_per_clip": FRAMES, "mlp_ratio": HIDDEN / WIDTH, "pred_hidden_size": 24}
        network = transformers.VJEPA2ForVideoClassification(transformers.VJEPA2Config(**common, **sizes))
    with torch.no_grad():
        for parameter in network.parameters():
            parameter.add_(0.1 * torch.randn_like(parameter))
    return network.eval()


def published(network):
    """Its tensors by the names of the files on the hub."""
    state = {}
    for name, tensor in network.state_dict().items():
        for part in ("query", "value"):
            if name.startswith("videomae."):
                name = name.replace(f"{part}.bias", f"{part[0]}_bias")
        state[name] = tensor.contiguous()
    return state


@pytest.fixture(params=MODELS)
def pair(request, tmp_path):
    """The name of a model, the library's network, and a file of its weights."""
    network = theirs(request.param)
    safetensors.write(tmp_path / "model.safetensors", published(network), {"format": "pt"})
    return request.param, network, tmp_path / "model.safetensors"


CLIP = torch.randn(2, 3, FRAMES, SIZE, SIZE, generator=torch.Generator().manual_seed(0))


def recognizer(model, *words, number=400):
    return build_recognizer([f"model={model}", *SMALL, "pooling=average", *words], number).eval()


@torch.inference_mode()
def test_maps_and_logits_are_the_librarys(pair):
    model, network, file = pair
    ours = recognizer(model)
    loaded = weights.load(ours, file)
    assert loaded.layout == "transformers"
    assert loaded.initial == ("classifier.weight", "classifier.bias")  # it reads the pooled vector, not the map
    body = getattr(network, model)
    extra = {"skip_predictor": True} if model == "vjepa2" else {}
    tokens = body(CLIP.transpose(1, 2), **extra).last_hidden_state  # N P C
    (found,) = ours.features(CLIP)
    assert found.shape == (2, WIDTH, FRAMES // 2, SIZE // 16, SIZE // 16)
    torch.testing.assert_close(found.flatten(2).transpose(1, 2), tokens, atol=1e-5, rtol=1e-5)

    pooled = recognizer(model, "model.backbone.pooled=true")
    loaded = weights.load(pooled, file)
    assert not (loaded.initial or loaded.dropped or loaded.notes)
    torch.testing.assert_close(pooled(CLIP), network(CLIP.transpose(1, 2)).logits, atol=1e-5, rtol=1e-5)


@torch.inference_mode()
def test_a_file_that_the_library_writes_is_read(pair, tmp_path):
    model, network, _ = pair
    network.save_pretrained(tmp_path / "saved")
    pooled = recognizer(model, "model.backbone.pooled=true")
    weights.load(pooled, tmp_path / "saved" / "model.safetensors")
    torch.testing.assert_close(pooled(CLIP), network(CLIP.transpose(1, 2)).logits, atol=1e-5, rtol=1e-5)


def test_an_encoder_trained_without_labels(tmp_path):
    network = theirs("vjepa2").vjepa2
    safetensors.write(tmp_path / "model.safetensors", published(network), {})
    ours = recognizer("vjepa2")
    assert weights.load(ours, tmp_path / "model.safetensors").initial == ("classifier.weight", "classifier.bias")
    assert torch.equal(ours.backbone.network.layernorm.weight, network.encoder.layernorm.weight)
    with pytest.raises(UserError, match=r"missing: backbone\.pooler\."):
        weights.load(recognizer("vjepa2", "model.backbone.pooled=true"), tmp_path / "model.safetensors")


@torch.inference_mode()
def test_published_weights_alone_are_asked_with_their_own_classifier(pair):
    model, network, file = pair
    words = [f"model={model}", *SMALL, "weights=file", f"weights.path={file}", "trainer.accelerator=cpu"]
    found = opened(*words)
    assert found.classes == classes.kinetics400()
    torch.testing.assert_close(found.recognizer(CLIP), network(CLIP.transpose(1, 2)).logits, atol=1e-5, rtol=1e-5)


def test_flow_takes_the_first_convolution_from_rgb(pair):
    model, _, file = pair
    loaded = weights.load(recognizer(model, "modality=flow"), file)
    (note,) = loaded.notes
    assert note.startswith("cross-modality initialisation from RGB weights of backbone.network.embeddings")


@pytest.mark.parametrize("model", ["videomae", "videomae_l", "vjepa2", "vjepa2_g"])
def test_sizes_are_those_of_the_library_and_of_the_papers(model):
    cfg = compose([f"model={model}", "pooling=average"], "network")
    sizes = cfg.model.backbone
    millions = {"videomae": 86, "videomae_l": 304, "vjepa2": 304, "vjepa2_g": 1012}[model]
    with torch.device("meta"):
        parameters = sum(p.numel() for p in skeleton(cfg, 2).backbone.parameters())
    assert parameters / 1e6 == pytest.approx(millions, rel=0.01)
    library = transformers.VideoMAEConfig() if "mae" in model else transformers.VJEPA2Config()
    if model == "videomae":
        assert (sizes.width, sizes.depth, sizes.heads) == (768, 12, 12)
        assert (sizes.width, sizes.hidden) == (library.hidden_size, library.intermediate_size)
        assert (cfg.model.clip.frames, cfg.model.clip.crop) == (library.num_frames, library.image_size)
    if model == "vjepa2":
        assert (sizes.width, sizes.hidden) == (library.hidden_size, library.mlp_ratio * library.hidden_size)
        assert (sizes.depth, sizes.heads) == (library.num_hidden_layers, library.num_attention_heads)
        assert (cfg.model.clip.frames, cfg.model.clip.crop) == (library.frames_per_clip, library.crop_size)
        assert cfg.model.clip.frame_size[1] == int(256 * 256 / 224)  # the short side that its processor resizes to
    assert list(cfg.model.mean) == pytest.approx(transformers.image_utils.IMAGENET_DEFAULT_MEAN)
    assert list(cfg.model.std) == pytest.approx(transformers.image_utils.IMAGENET_DEFAULT_STD)


def test_attention_counts():
    """ViT-B on 1568 tokens: 180 G (Tong et al., 2022, Table 18)."""
    cost = total(measure_network(compose(["model=videomae", "pooling=average"], "network"), 400))
    assert cost.macs / 1e9 == pytest.approx(180, abs=1)


@pytest.mark.parametrize("words", [["model.clip.frames=5"], ["model.clip.crop=40"], ["model.backbone.heads=3"]])
@pytest.mark.parametrize("model", MODELS)
def test_wrong_sizes_are_one_line(model, words):
    with pytest.raises(UserError) as refused:
        recognizer(model, *words)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("model", MODELS)
def test_stages_are_quarters_of_the_layers(model):
    parts = recognizer(model, "model.backbone.pooled=true").backbone.parts()
    assert list(parts) == ["stem", "stage1", "stage2", "stage3", "stage4"]
    backbone = recognizer(model).backbone
    held = {id(p) for modules in backbone.parts().values() for module in modules for p in module.parameters()}
    assert held == {id(p) for p in backbone.parameters()}
    assert math.prod(backbone.grid) == FRAMES // 2 * (SIZE // 16) ** 2
    assert tiny(model)
