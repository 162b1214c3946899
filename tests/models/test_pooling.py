"""The heads at small size: what all share, then what is special to each. BERT has a file of its own."""

import functools
import math

import pytest
import torch
import torch.nn.functional as F
from src.models.pooling.attentive import Attentive
from src.models.pooling.attentive_step import AttentiveStep
from src.models.pooling.average import Average
from src.models.pooling.concat import Concat
from src.models.pooling.efficient_probing import EfficientProbing
from src.models.pooling.fusion import EarlyFusion, LateFusion, shorten
from src.models.pooling.lstm import Lstm
from src.models.pooling.nonlocal_concat import NonLocal, NonLocalConcat

from tests.models.configured import bert, bert_with

WIDTH, LENGTH = 16, 4
SMALL = {
    "average": Average,
    "concat": functools.partial(Concat, hidden=None),
    "concat_fc": functools.partial(Concat, hidden=12),
    "lstm": functools.partial(Lstm, hidden=10, layers=2),
    "nonlocal_concat": functools.partial(NonLocalConcat, inner=None, hidden=12),
    "attentive": functools.partial(Attentive, layers=3, heads=4, init_std=0.2),
    "attentive_step": functools.partial(AttentiveStep, heads=4, init_std=0.2),
    "efficient_probing": functools.partial(EfficientProbing, queries=4, init_std=0.2),
    "bert": bert,
    "bert_pooled": bert_with(cls_token="pooled", layers=2, init_std=0.2),
    "bert_normalized": bert_with(normalize_tokens=True),
}


@pytest.fixture(autouse=True)
def seed():
    torch.manual_seed(0)


def feature_map(*shape):
    return torch.randn(shape or (3, WIDTH, LENGTH, 3, 3))


def small(name):
    """The head with every parameter moved off its start, where some are zero."""
    head = SMALL[name](channels=WIDTH, length=LENGTH)
    with torch.no_grad():
        for parameter in head.parameters():
            parameter.add_(torch.randn_like(parameter) * 0.1)
    return head


@pytest.mark.parametrize("name", SMALL)
def test_declared_width_gradients_and_determinism(name):
    head = small(name).train()
    x = feature_map().requires_grad_()
    output = head(x)
    assert output.shape == (3, head.out_channels)
    (output * torch.randn_like(output)).sum().backward()
    # A bias on the keys shifts all scores of a query alike and so never learns.
    dead = {n for n, p in head.named_parameters() if p.grad is None or not p.grad.abs().sum() > 0}
    assert dead <= {"block.phi.bias", "pool.key.bias"} and x.grad.abs().sum() > 0
    head.eval()
    assert torch.equal(head(x), head(x))


@pytest.mark.parametrize("name", SMALL)
def test_bfloat16(name):
    head, x = small(name).eval(), feature_map()
    expected = head(x)
    with torch.autocast("cpu", torch.bfloat16):
        torch.testing.assert_close(head(x).float(), expected, atol=0.06, rtol=0.05)
    output = head.bfloat16()(x.bfloat16())
    assert output.dtype == torch.bfloat16
    torch.testing.assert_close(output.float(), expected, atol=0.06, rtol=0.05)


@pytest.mark.parametrize("name", SMALL)
def test_heads_without_positions_ignore_order(name):
    head, x = small(name).eval(), feature_map()
    same = torch.allclose(head(x), head(x[:, :, [2, 0, 3, 1]]), atol=1e-4)
    assert same == (not head.sees_order) == (name in ("average", "attentive", "efficient_probing"))


def test_average():
    x = feature_map()
    torch.testing.assert_close(Average(WIDTH, LENGTH)(x), F.adaptive_avg_pool3d(x, 1).flatten(1))


def test_concat_puts_tokens_side_by_side():
    x = feature_map()
    expected = torch.cat([x[:, :, step].mean((2, 3)) for step in range(LENGTH)], dim=1)
    torch.testing.assert_close(Concat(WIDTH, LENGTH, hidden=None)(x), expected)
    head = Concat(WIDTH, LENGTH, hidden=7)
    torch.testing.assert_close(head(x), F.linear(expected, head.linear.weight, head.linear.bias))


def test_lstm_reads_the_last_step():
    head, x = Lstm(WIDTH, LENGTH, hidden=10, layers=2), feature_map()
    _, (state, _) = head.lstm(x.mean((3, 4)).transpose(1, 2))
    torch.testing.assert_close(head(x), state[-1])


def test_nonlocal_block_starts_as_the_identity():
    x = feature_map()
    assert torch.equal(NonLocal(WIDTH, WIDTH)(x), x)


def test_nonlocal_block_by_its_definition():
    block, x = NonLocal(WIDTH, 6).eval(), feature_map()
    torch.nn.init.normal_(block.norm.weight)
    theta, phi, g = (conv(x).flatten(2) for conv in (block.theta, block.phi, block.g))
    scores = torch.einsum("ndi,ndj->nij", theta, phi) / math.sqrt(LENGTH * 3 * 3)
    gathered = torch.einsum("nij,ndj->ndi", scores.softmax(2), g).view(3, 6, LENGTH, 3, 3)
    torch.testing.assert_close(block(x), x + block.norm(block.output(gathered)))


@pytest.mark.parametrize("name", ["attentive", "efficient_probing"])
def test_attentive_pooling_sees_a_set_of_positions(name):
    """Any order of all positions, of space and time together, gives the same; without one of them it is another."""
    head, x = small(name).eval(), feature_map()
    shuffled = x.flatten(2)[:, :, torch.randperm(LENGTH * 9)].view_as(x)
    torch.testing.assert_close(head(shuffled), head(x), atol=1e-4, rtol=1e-4)
    assert not torch.allclose(head(x[..., :-1]), head(x), atol=1e-3)


def test_attentive_step_sees_a_set_of_positions_in_each_frame():
    head, x = small("attentive_step").eval(), feature_map()
    shuffled = x.flatten(3)[..., torch.randperm(9)].view_as(x)
    torch.testing.assert_close(head(shuffled), head(x), atol=1e-5, rtol=1e-4)
    with torch.no_grad():
        head.frame_positions.zero_()  # without them time is no more than space
    anywhere = x.flatten(2)[:, :, torch.randperm(LENGTH * 9)].view_as(x)
    torch.testing.assert_close(head(anywhere), head(x), atol=1e-5, rtol=1e-4)


def attend(query, key, value, heads):
    """Scaled dot-product attention, spelt out: (N, Q, C), (N, P, C), (N, P, C) → (N, Q, C)."""
    query, key, value = (t.unflatten(2, (heads, -1)).transpose(1, 2) for t in (query, key, value))
    weights = (query @ key.transpose(2, 3) / math.sqrt(query.shape[3])).softmax(-1)
    return (weights @ value).transpose(1, 2).flatten(2)


def test_attentive_by_its_definition():
    head, x = small("attentive").eval(), feature_map()
    sequence = x.flatten(2).transpose(1, 2)
    for block in head.blocks:
        normed = block.norm1(sequence)
        attention = block.self_attn
        parts = F.linear(normed, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=2)
        sequence = sequence + attention.out_proj(attend(*parts, heads=4))
        sequence = sequence + block.linear2(F.gelu(block.linear1(block.norm2(sequence))))
    pool, query = head.pool, head.query.expand(3, 1, WIDTH)
    seen = pool.norm1(sequence)
    query = query + attend(pool.query(query), pool.key(seen), pool.value(seen), heads=4)
    query = query + pool.linear2(F.gelu(pool.linear1(pool.norm2(query))))
    torch.testing.assert_close(head(x), query[:, 0], atol=1e-5, rtol=1e-5)


def test_attentive_step_by_its_definition():
    head, x = small("attentive_step").eval(), feature_map()
    normed = head.norm(x.permute(0, 2, 3, 4, 1)) + head.frame_positions.permute(1, 2, 3, 0)  # N T H W C + T 1 1 C
    cls, attention = head.cls.expand(3, 1, WIDTH), head.attention_layer
    sequence = torch.cat([cls, normed.flatten(1, 3)], dim=1)
    query, key, value = F.linear(sequence, attention.in_proj_weight, attention.in_proj_bias).chunk(3, dim=2)
    expected = attention.out_proj(attend(query[:, :1], key, value, heads=4))[:, 0]
    torch.testing.assert_close(head(x), expected, atol=1e-5, rtol=1e-5)


@pytest.mark.parametrize("queries", [1, 4])
def test_efficient_probing_by_its_definition(queries):
    head, x = EfficientProbing(WIDTH, LENGTH, queries=queries, init_std=1.0), feature_map()
    tokens = x.flatten(2).transpose(1, 2)
    width = WIDTH // queries
    expected = []
    for place, query in enumerate(head.queries.weight):
        value = F.linear(tokens, head.value.weight[place * width : (place + 1) * width])
        weights = (tokens @ query / math.sqrt(WIDTH)).softmax(1)
        expected.append(torch.einsum("np,npd->nd", weights, value))
    torch.testing.assert_close(head(x), torch.cat(expected, dim=1))


def test_one_query_that_asks_for_nothing_is_average_pooling():
    head, x = EfficientProbing(WIDTH, LENGTH, queries=1, init_std=1.0), feature_map()
    torch.nn.init.zeros_(head.queries.weight)
    torch.nn.init.eye_(head.value.weight)
    torch.testing.assert_close(head(x), Average(WIDTH, LENGTH)(x))


@pytest.mark.parametrize(
    ("make", "message"),
    [
        (functools.partial(Attentive, layers=4, heads=3, init_std=0.02), "attentive: heads=3"),
        (functools.partial(AttentiveStep, heads=3, init_std=0.02), "attentive_step: heads=3"),
        (functools.partial(EfficientProbing, queries=32, init_std=0.02), "efficient_probing: queries=32"),
    ],
)
def test_what_does_not_divide_the_channels_is_refused(make, message):
    with pytest.raises(ValueError, match=rf"{message} .*16 channels; choose from \[1, 2, 4, 8, 16\]"):
        make(WIDTH, LENGTH)


def test_attentive_step_refuses_another_number_of_time_steps():
    with pytest.raises(ValueError, match="attentive_step was built for 4 time steps"):
        small("attentive_step")(feature_map(3, WIDTH, 5, 3, 3))


# Sizes


@pytest.mark.parametrize(
    ("head", "parameters"),
    [  # width 512, four time steps; from the tensors of the authors' checkpoints
        (bert, 3_155_456),
        (functools.partial(Concat, hidden=1550), 2048 * 1550 + 1550),
        (functools.partial(Lstm, hidden=450, layers=2), 3_358_800),
        (
            functools.partial(NonLocalConcat, inner=None, hidden=1000),
            4 * (512 * 512 + 512) + 2 * 512 + 2048 * 1000 + 1000,
        ),
        # blocks of 12 D² + 13 D; the last one has no output projection, and its query is learned
        (functools.partial(Attentive, layers=4, heads=16, init_std=0.02), 47 * 512**2 + 52 * 512),
        # attention alone: 4 D² + 4 D, norm, cls and four positions
        (functools.partial(AttentiveStep, heads=8, init_std=0.02), 4 * 512**2 + 11 * 512),
        (functools.partial(EfficientProbing, queries=16, init_std=0.02), 512**2 + 16 * 512),
        (Average, 0),
        (functools.partial(Concat, hidden=None), 0),
    ],
)
def test_parameters_at_full_size(head, parameters):
    with torch.device("meta"):
        assert sum(p.numel() for p in head(channels=512, length=4).parameters()) == parameters


# Fusion


def test_one_pathway_makes_both_fusions_the_plain_head():
    x = feature_map()
    for fusion in (LateFusion, EarlyFusion):
        model = fusion(bert, (WIDTH,), (LENGTH,)).eval()
        assert torch.equal(model([x]), model.heads[0](x))


def test_late_fusion_is_one_head_per_pathway():
    slow, fast = feature_map(2, 32, 4, 3, 3), feature_map(2, 16, 16, 3, 3)
    model = LateFusion(bert, (32, 16), (4, 16)).eval()
    assert model.out_channels == 48
    expected = torch.cat([model.heads[0](slow), model.heads[1](fast)], dim=1)
    assert torch.equal(model([slow, fast]), expected)


def test_early_fusion_is_one_head_over_both():
    slow, fast = feature_map(2, 32, 4, 3, 3), feature_map(2, 16, 16, 3, 3)
    model = EarlyFusion(bert, (32, 16), (4, 16)).eval()
    joined = torch.cat([slow, fast.view(2, 16, 4, 4, 3, 3).mean(3)], dim=1)
    assert model.out_channels == 48
    torch.testing.assert_close(model([slow, fast]), model.heads[0](joined))


def test_early_fusion_of_maps_of_unequal_size_joins_their_tokens():
    slow, fast = feature_map(2, 32, 4, 3, 3), feature_map(2, 16, 16, 5, 5)
    (joined,) = EarlyFusion(functools.partial(Concat, hidden=None), (32, 16), (4, 16)).maps([slow, fast])
    expected = torch.cat([slow.mean((3, 4)), fast.mean((3, 4)).view(2, 16, 4, 4).mean(3)], dim=1)
    torch.testing.assert_close(joined[..., 0, 0], expected)


@pytest.mark.parametrize(("time", "length"), [(32, 8), (8, 8), (7, 3), (20, 6)])
def test_shorten_is_adaptive_average_pooling(time, length):
    x = feature_map(2, 3, time, 2, 2)
    torch.testing.assert_close(shorten(x, length), F.adaptive_avg_pool3d(x, (length, 2, 2)))


# Attention


@pytest.mark.parametrize("fusion", [LateFusion, EarlyFusion])
def test_fusion_reports_the_attention_of_each_head(fusion):
    maps = [feature_map(2, 32, 4, 3, 3), feature_map(2, 16, 16, 3, 3)]
    model = fusion(bert_with(layers=2), (32, 16), (4, 16)).eval()
    assert model.has_attention
    lengths = [4, 16] if fusion is LateFusion else [4]
    shapes = [tuple(weights.shape) for weights in model.attention(maps)]
    assert shapes == [(2, 2, 8, length + 1, length + 1) for length in lengths]


@pytest.mark.parametrize("name", [name for name in SMALL if not name.startswith("bert")])
def test_other_heads_have_no_attention_and_say_so(name):
    model = LateFusion(SMALL[name], (WIDTH,), (LENGTH,))
    assert not model.has_attention
    with pytest.raises(NotImplementedError, match="has no attention weights"):
        model.attention([feature_map()])
