"""BERT pooling: the block by its definition, masking, the order of time, initialisation."""

import math

import pytest
import torch
import torch.nn.functional as F

from tests.models.configured import bert

WIDTH, LENGTH = 16, 4
CALM = {"dropout": 0.0, "feedforward_dropout": 0.0, "embedding_dropout": 0.0, "output_dropout": 0.0}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def feature_map(n=3, length=LENGTH):
    return torch.randn(n, WIDTH, length, 2, 2)


def by_definition(head, sequence, hidden=None):
    """Equations 1 to 3 and the pre-norm block, spelt out with the head's weights."""
    heads = head.blocks()[0].self_attn.num_heads
    for layer in head.blocks():
        attention = layer.self_attn
        x = F.layer_norm(sequence, (WIDTH,), layer.norm1.weight, layer.norm1.bias)
        query, key, value = F.linear(x, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=-1)
        query, key, value = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in (query, key, value))
        scores = query @ key.transpose(2, 3) / math.sqrt(WIDTH // heads)
        if hidden is not None:
            scores = scores.masked_fill(hidden[:, None, None], -1e9)
        mixed = (scores.softmax(-1) @ value).transpose(1, 2).flatten(2)
        sequence = sequence + F.linear(mixed, attention.out_proj.weight, attention.out_proj.bias)
        x = F.layer_norm(sequence, (WIDTH,), layer.norm2.weight, layer.norm2.bias)
        x = F.linear(x, layer.linear1.weight, layer.linear1.bias)
        x = 0.5 * x * (1 + torch.tanh(math.sqrt(2 / math.pi) * (x + 0.044715 * x**3)))
        sequence = sequence + F.linear(x, layer.linear2.weight, layer.linear2.bias)
    return sequence[:, 0]


@pytest.mark.parametrize("layers", [1, 2])
@pytest.mark.parametrize("gradients", [True, False], ids=["plain path", "inference path"])
def test_equals_its_definition(layers, gradients):
    head, x = bert(WIDTH, LENGTH, layers=layers).eval(), feature_map()
    tokens = x.mean((3, 4)).transpose(1, 2)
    sequence = torch.cat([head.cls.expand(3, 1, WIDTH), tokens], dim=1) + head.positions
    with torch.set_grad_enabled(gradients):
        torch.testing.assert_close(head(x), by_definition(head, sequence), atol=1e-5, rtol=1e-5)
    with torch.inference_mode():
        torch.testing.assert_close(head(x), by_definition(head, sequence), atol=1e-5, rtol=1e-5)


def test_masked_training_step_equals_its_definition(monkeypatch):
    head, x = bert(WIDTH, LENGTH, layers=2, **CALM).train(), feature_map()
    hidden = torch.tensor([[0, 1, 0, 0, 1], [0, 0, 0, 0, 0], [0, 1, 1, 1, 1]]).bool()
    monkeypatch.setattr(head, "draw_mask", lambda _: hidden)
    torch.testing.assert_close(head(x), by_definition(head, head.embed(x), hidden), atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("cls_token", ["learned", "pooled"])
@pytest.mark.parametrize("layers", [1, 2])
def test_a_hidden_token_has_exactly_no_influence(cls_token, layers):
    head = bert(WIDTH, LENGTH, layers=layers, cls_token=cls_token, mask_rate=0.5, **CALM).train()
    x = feature_map(64).requires_grad_()
    torch.manual_seed(1)
    hidden = head.draw_mask(x)[:, 1:]
    changed = torch.where(hidden[:, None, :, None, None], 1e4 * torch.randn_like(x), x)
    torch.manual_seed(1)
    output = head(x)
    torch.manual_seed(1)
    assert torch.equal(head(changed), output)
    (gradient,) = torch.autograd.grad((output * torch.randn_like(output)).sum(), x)
    influence = gradient.abs().sum((1, 3, 4))
    assert (influence[hidden] == 0).all() and (influence[~hidden] > 0).all()


def test_mask_rate_and_that_cls_is_never_hidden():
    head = bert(WIDTH, LENGTH)
    hidden = head.draw_mask(torch.zeros(20_000, WIDTH, LENGTH, 1, 1))
    assert hidden.shape == (20_000, LENGTH + 1)
    assert not hidden[:, 0].any()
    for step in range(1, LENGTH + 1):
        assert hidden[:, step].float().mean() == pytest.approx(0.2, abs=0.012)


def test_nothing_is_hidden_in_eval_mode_or_at_rate_zero():
    x = feature_map()
    head = bert(WIDTH, LENGTH, mask_rate=0.9, **CALM)
    assert torch.equal(head.eval()(x), head(x))
    calm = bert(WIDTH, LENGTH, mask_rate=0.0, **CALM)
    torch.testing.assert_close(calm.train()(x), calm.eval()(x))


@pytest.mark.parametrize("cls_token", ["learned", "pooled"])
def test_all_tokens_hidden_is_still_finite(cls_token):
    head = bert(WIDTH, LENGTH, cls_token=cls_token, mask_rate=0.999).train()
    assert head(feature_map()).isfinite().all()


def test_order_matters_because_of_the_positions():
    head, x = bert(WIDTH, LENGTH).eval(), feature_map()
    shuffled = x[:, :, [1, 3, 0, 2]]
    assert not torch.allclose(head(x), head(shuffled), atol=1e-4)
    torch.nn.init.zeros_(head.positions)
    torch.testing.assert_close(head(x), head(shuffled), atol=1e-5, rtol=1e-5)


def test_pooled_cls_is_the_mean_of_the_tokens():
    head, x = bert(WIDTH, LENGTH, cls_token="pooled").eval(), feature_map()
    sequence = head.embed(x) - head.positions
    torch.testing.assert_close(sequence[:, 0], x.mean((2, 3, 4)), atol=1e-6, rtol=1e-5)
    assert head.cls is None and "cls" not in dict(head.named_parameters())


def test_normalised_tokens_have_length_one():
    head = bert(WIDTH, LENGTH, normalize_tokens=True).eval()
    tokens = (head.embed(feature_map()) - head.positions)[:, 1:]
    torch.testing.assert_close(tokens.norm(dim=2), torch.ones(3, LENGTH))


@pytest.mark.parametrize("layers", [1, 2])
def test_attention_shows_what_cls_looks_at(layers):
    head, x = bert(WIDTH, LENGTH, layers=layers, heads=2).train(), feature_map()
    attention = head.attention(x)
    assert attention.shape == (3, layers, 2, LENGTH + 1, LENGTH + 1)
    torch.testing.assert_close(attention.sum(-1), torch.ones(attention.shape[:-1]))
    assert head.training
    layer = head.blocks()[0]
    normed, inner = layer.norm1(head.eval().embed(x)), layer.self_attn
    query, key, _ = F.linear(normed, inner.in_proj_weight, inner.in_proj_bias).chunk(3, -1)
    scores = query[..., :8] @ key[..., :8].transpose(1, 2) / math.sqrt(8)
    torch.testing.assert_close(attention[:, 0, 0], scores.softmax(-1), atol=1e-5, rtol=1e-4)


@torch.no_grad()
def test_initialisation():
    positions = bert(512, LENGTH).positions
    assert positions.std() == pytest.approx(0.02, rel=0.1)
    assert bert(512, LENGTH).cls.std() == pytest.approx(0.02, rel=0.2)

    (layer,) = bert(512, LENGTH, init_std=0.02).blocks()
    for linear in (layer.linear1, layer.linear2, layer.self_attn.out_proj):
        assert linear.weight.std() == pytest.approx(0.02, rel=0.05) and linear.bias.eq(0).all()
    assert layer.self_attn.in_proj_weight.std() == pytest.approx(0.02, rel=0.05)
    assert layer.self_attn.in_proj_bias.eq(0).all()

    (layer,) = bert(512, LENGTH).blocks()  # as torch.nn.Linear starts: uniform, 1/sqrt(inputs)
    for weight, inputs in [(layer.self_attn.in_proj_weight, 512), (layer.linear2.weight, 2048)]:
        assert 0.99 < weight.abs().max() * math.sqrt(inputs) <= 1


def test_each_dropout_has_its_place():
    rates = {"feedforward_dropout": 0.9, "embedding_dropout": 0.3, "output_dropout": 0.4}
    head = bert(WIDTH, LENGTH, dropout=0.1, **rates)
    (layer,) = head.blocks()
    assert (layer.self_attn.dropout, layer.dropout1.p, layer.dropout2.p) == (0.1, 0.1, 0.1)
    assert (layer.dropout.p, head.embedding_dropout.p, head.output_dropout.p) == (0.9, 0.3, 0.4)


@pytest.mark.parametrize(
    ("arguments", "words"),
    [
        ({"heads": 3}, ["heads=3", "16 channels", "[1, 2, 4, 8, 16]"]),
        ({"layers": 0}, ["layers=0"]),
        ({"cls_token": "mean"}, ["unknown cls_token 'mean'", "learned or pooled"]),
        ({"mask_rate": 1.5}, ["mask_rate=1.5 must be in [0, 1)"]),
    ],
)
def test_wrong_arguments_are_named_in_one_line(arguments, words):
    with pytest.raises(ValueError) as error:
        bert(WIDTH, LENGTH, **arguments)
    assert all(word in str(error.value) for word in words) and "\n" not in str(error.value)
