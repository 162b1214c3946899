import pytest
import torch
from src.build import build_recognizer
from src.models.pooling.average import Average
from src.models.recognizer import Recognizer

from tests.models.configured import bert_with
from tests.models.toy import Toy
from tests.tiny import CROP, FRAMES, tiny

MEAN, STD = (0.43216, 0.394666, 0.37645), (0.22803, 0.22145, 0.216989)


def recognizer(channels=(16,), head=Average, **changes):
    arguments = {"fusion": "late", "frames": 4, "num_classes": 5, "dropout": 0.8, "mean": MEAN, "std": STD}
    return Recognizer(Toy(channels), head, **arguments | changes)


def test_submodules_have_the_names_that_weights_are_loaded_by():
    names = [name for name, _ in recognizer((16, 8)).named_children()]
    assert names == ["backbone", "pooling", "dropout", "classifier"]
    assert len(recognizer((16, 8)).pooling.heads) == 2


def test_uint8_clips_are_normalised_and_floating_point_ones_stay():
    model = recognizer().eval()
    clip = torch.randint(0, 256, (2, 3, 4, 6, 6), dtype=torch.uint8)
    mean, std = (torch.tensor(values).view(3, 1, 1, 1) for values in (MEAN, STD))
    normalised = (clip / 255 - mean) / std
    torch.testing.assert_close(model.normalize(clip), normalised, atol=2e-6, rtol=1e-5)
    assert model.normalize(normalised) is normalised
    torch.testing.assert_close(model(clip), model(normalised), atol=1e-5, rtol=1e-5)


def test_settings_stay_out_of_checkpoints():
    assert not {"mean", "std"} & set(recognizer().state_dict())


@torch.no_grad()
def test_classifier_starts_xavier_uniform_without_bias():
    classifier = recognizer((512,), num_classes=51).classifier
    bound = (6 / (512 + 51)) ** 0.5
    assert classifier.bias.eq(0).all()
    assert 0.98 * bound < classifier.weight.abs().max() <= bound
    assert classifier.weight.std() == pytest.approx(bound / 3**0.5, rel=0.02)


def test_dropout_stands_before_the_classifier():
    model = recognizer((64,), dropout=0.8).train()
    seen = []
    model.classifier.register_forward_hook(lambda _, inputs, __: seen.append(inputs[0]))
    model(torch.rand(64, 3, 4, 6, 6) + 1)
    vectors = model.pooling(model.features(torch.rand(64, 3, 4, 6, 6) + 1))
    kept = seen[0] != 0
    assert kept.sum() / (vectors > 0).sum() == pytest.approx(0.2, abs=0.05)


def test_features_are_the_maps_of_each_pathway():
    model = recognizer((16, 8))
    shapes = [tuple(m.shape) for m in model.features(torch.zeros(2, 3, 4, 6, 6, dtype=torch.uint8))]
    assert shapes == [(2, 16, 4, 3, 3), (2, 8, 2, 3, 3)]


@pytest.mark.parametrize("fusion", ["late", "early"])
@pytest.mark.parametrize("channels", [(16,), (16, 8)])
def test_shapes_and_gradients(fusion, channels):
    model = recognizer(channels, bert_with(heads=2), fusion=fusion)
    logits = model(torch.randint(0, 256, (2, 3, 4, 6, 6), dtype=torch.uint8))
    assert logits.shape == (2, 5)
    logits.square().sum().backward()
    assert all(p.grad is not None for p in model.parameters())


def test_runs_in_bfloat16():
    model = recognizer().bfloat16().eval()
    clip = torch.randint(0, 256, (2, 3, 4, 6, 6), dtype=torch.uint8)
    assert model(clip).dtype == torch.bfloat16
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(recognizer().eval()(clip).isfinite().all(), torch.tensor(True))


@pytest.mark.parametrize(
    ("changes", "words"),
    [
        ({"fusion": "middle"}, ["unknown fusion 'middle'", "late or early"]),
        ({"num_classes": 0}, ["num_classes=0"]),
        ({"head": bert_with(heads=5)}, ["heads=5", "16"]),
    ],
)
def test_wrong_arguments_are_named_in_one_line(changes, words):
    with pytest.raises(ValueError) as error:
        recognizer(**changes)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)


@pytest.mark.parametrize(
    ("clip", "word"),
    [
        (torch.zeros(1, 2, 4, 6, 6), r"\(1, 2, 4, 6, 6\)"),
        (torch.zeros(3, 4, 6, 6), "N, 3, T, H, W"),
        (torch.zeros(1, 3, 4, 6, 6, dtype=torch.int64), "int64"),
    ],
)
def test_wrong_clips_are_refused(clip, word):
    with pytest.raises(ValueError, match=word):
        recognizer()(clip)


def test_a_clip_of_another_length_is_refused_by_heads_with_weights_per_step():
    with pytest.raises(ValueError, match="built for 4 time steps and the feature map has 8"):
        recognizer(head=bert_with(heads=2))(torch.zeros(1, 3, 8, 6, 6))
    assert recognizer()(torch.zeros(1, 3, 8, 6, 6)).shape == (1, 5)


def test_another_memory_layout_gives_the_same_numbers():
    model = build_recognizer(tiny("slowfast")).eval()
    clip = torch.randint(0, 256, (2, 3, FRAMES, CROP, CROP), dtype=torch.uint8)
    expected = model(clip)
    torch.testing.assert_close(model.channels_last()(clip), expected, atol=1e-4, rtol=1e-4)
