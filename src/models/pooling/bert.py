"""BERT as temporal pooling (Section 3.1), on PyTorch's own transformer layer."""

import functools
import math
from typing import Literal, cast

import torch
import torch.nn.functional as F
from torch import Tensor, nn

from src.models.pooling.head import Head, check_divides, checked_tokens

CLS_TOKENS = ("learned", "pooled")


class Bert(Head):
    """Pre-norm transformer over [cls, token 1 … token T], read at cls: (N, C, T, H, W) → (N, C).

    The paper's values of the arguments are in conf/pooling/bert.yaml.

    layers, heads: number of transformer layers and of attention heads; `heads` must divide `channels`.
    cls_token: "learned", or "pooled": the mean of the tokens stands in front (Table 2, first row).
    mask_rate: in training each temporal token is hidden from every query with this probability; cls never is.
    dropout: on the attention weights and on both residual branches.
    feedforward_dropout: between the two linear layers of the feed-forward part. The paper says "dropout ratio
        0.9"; in the authors' release that is the ratio kept, so that 0.1 is what they trained with.
    embedding_dropout, output_dropout: on the tokens with their positions, and on what each layer gives.
    init_std: linear layers start as N(0, init_std) with bias 0 (I3D: 0.02); None keeps PyTorch's default.
    normalize_tokens: tokens are brought to length 1 first (I3D).
    """

    has_attention = True
    reads_maps = False

    def __init__(
        self,
        channels: int,
        length: int,
        *,
        layers: int,
        heads: int,
        cls_token: Literal["learned", "pooled"],
        mask_rate: float,
        dropout: float,
        feedforward_dropout: float,
        embedding_dropout: float,
        output_dropout: float,
        init_std: float | None,
        normalize_tokens: bool,
    ) -> None:
        super().__init__()
        _check(channels, heads, layers, cls_token, mask_rate)
        self.out_channels = channels
        self.length = length
        self.mask_rate = mask_rate
        self.normalize_tokens = normalize_tokens
        self.cls = nn.Parameter(torch.empty(1, 1, channels)) if cls_token == "learned" else None
        self.positions = nn.Parameter(torch.empty(1, length + 1, channels))
        self.embedding_dropout = nn.Dropout(embedding_dropout)
        self.layers = nn.ModuleList(_layer(channels, heads, dropout, feedforward_dropout) for _ in range(layers))
        self.output_dropout = nn.Dropout(output_dropout)
        self._initialize(init_std)

    def _initialize(self, std: float | None) -> None:
        nn.init.normal_(self.positions, std=0.02)
        if self.cls is not None:
            nn.init.normal_(self.cls, std=0.02)
        for layer in self.blocks():
            # Query, key and value are one tensor, which PyTorch would not initialise as three linear layers.
            attention = layer.self_attn
            linears = [
                (attention.in_proj_weight, attention.in_proj_bias),
                (attention.out_proj.weight, attention.out_proj.bias),
                (layer.linear1.weight, layer.linear1.bias),
                (layer.linear2.weight, layer.linear2.bias),
            ]
            for weight, bias in linears:
                if std is None:
                    bound = 1 / math.sqrt(weight.shape[1])
                    nn.init.uniform_(weight, -bound, bound)
                    nn.init.uniform_(bias, -bound, bound)
                else:
                    nn.init.normal_(weight, std=std)
                    nn.init.zeros_(bias)

    def forward(self, feature_map: Tensor) -> Tensor:
        hidden = self.draw_mask(feature_map) if self.training and self.mask_rate > 0 else None
        sequence = self.embed(feature_map, hidden)
        *early, last = self.blocks()
        for layer in early:
            sequence = self.output_dropout(layer(sequence, src_key_padding_mask=hidden))
        if self.training:  # a tenth of the work, and the same answer
            cls: Tensor = self.output_dropout(cls_behind(last, sequence, hidden))
            return cls
        whole: Tensor = last(sequence)  # PyTorch's fused layer
        return whole[:, 0]

    def blocks(self) -> list[nn.TransformerEncoderLayer]:
        """The transformer layers, first to last."""
        return [cast(nn.TransformerEncoderLayer, layer) for layer in self.layers]

    def draw_mask(self, feature_map: Tensor) -> Tensor:
        """Which of cls and the T tokens no query may see: bool (N, T + 1), never true for cls."""
        shape = (feature_map.shape[0], self.length + 1)
        hidden = torch.rand(shape, device=feature_map.device) < self.mask_rate
        hidden[:, 0] = False
        return hidden

    def embed(self, feature_map: Tensor, hidden: Tensor | None = None) -> Tensor:
        """Cls in front of the tokens, with positions: (N, C, T, H, W) → (N, T + 1, C).

        A pooled cls is the mean of the tokens that are not hidden, so that hidden ones have no influence.
        """
        tokens = checked_tokens(feature_map, self.length, "bert")
        if self.normalize_tokens:
            tokens = F.normalize(tokens, dim=2)
        if self.cls is not None:
            cls = self.cls.expand(tokens.shape[0], -1, -1)  # a number that torch.export can leave open
        elif hidden is None:
            cls = tokens.mean(dim=1, keepdim=True)
        else:
            seen = ~hidden[:, 1:, None]  # (N, T + 1) → (N, T, 1)
            count = seen.sum(dim=1, keepdim=True).clamp(min=1)
            cls = tokens.masked_fill(~seen, 0).sum(dim=1, keepdim=True) / count
        sequence: Tensor = self.embedding_dropout(torch.cat([cls, tokens], dim=1) + self.positions)
        return sequence

    @torch.no_grad()
    def attention(self, feature_map: Tensor) -> Tensor:
        """What each position attends to, without masking or dropout: (N, layers, heads, T + 1, T + 1).

        Rows are queries and sum to 1; row and column 0 belong to cls.
        """
        training = self.training
        self.eval()
        sequence = self.embed(feature_map)
        weights = []
        for layer in self.blocks():
            normed = layer.norm1(sequence)
            weights.append(layer.self_attn(normed, normed, normed, average_attn_weights=False)[1])
            sequence = layer(sequence)
        self.train(training)
        return torch.stack(weights, dim=1)


def cls_behind(layer: nn.TransformerEncoderLayer, sequence: Tensor, hidden: Tensor | None) -> Tensor:
    """What a layer makes of cls, without what it makes of the other positions: (N, T + 1, C) → (N, C)."""
    attended = from_cls(layer.self_attn, layer.norm1(sequence), hidden)
    cls = sequence[:, 0] + layer.dropout1(attended)
    inner = layer.dropout(layer.activation(layer.linear1(layer.norm2(cls))))
    output: Tensor = cls + layer.dropout2(layer.linear2(inner))
    return output


def from_cls(attention: nn.MultiheadAttention, sequence: Tensor, hidden: Tensor | None) -> Tensor:
    """What attention gives cls, the first of the sequence: (N, L, C) → (N, C).

    With a single query, keys and values of the L positions need not be computed: q·(K x) = (Kᵀq)·x, and
    Σ w (V x) = V (Σ w x), so that the work of both projections no longer grows with L.

    hidden: positions without influence, (N, L).
    """
    heads, width = attention.num_heads, attention.head_dim
    to_query, to_key, to_value = attention.in_proj_weight.view(3, heads, width, -1)  # 3HD C → 3 H D C
    query_bias, key_bias, value_bias = attention.in_proj_bias.view(3, heads, width)  # 3HD → 3 H D
    query = torch.einsum("nc,hdc->nhd", sequence[:, 0], to_query) + query_bias
    wanted = torch.einsum("nhd,hdc->nhc", query, to_key)
    scores = torch.einsum("nhc,nlc->nhl", wanted, sequence) + (query * key_bias).sum(2, keepdim=True)
    if hidden is not None:
        scores = scores.masked_fill(hidden[:, None], -math.inf)
    weights = F.dropout((scores / math.sqrt(width)).softmax(2), attention.dropout, attention.training)
    seen = torch.einsum("nhl,nlc->nhc", weights, sequence)
    values = torch.einsum("nhc,hdc->nhd", seen, to_value) + weights.sum(2, keepdim=True) * value_bias
    output: Tensor = attention.out_proj(values.flatten(1))  # N H D → N HD
    return output


def _layer(channels: int, heads: int, dropout: float, feedforward_dropout: float) -> nn.TransformerEncoderLayer:
    layer = nn.TransformerEncoderLayer(
        channels,
        heads,
        dim_feedforward=4 * channels,
        dropout=dropout,
        # A function, as PyTorch's inference fast path replaces nn.GELU(approximate="tanh") by the exact GELU.
        activation=functools.partial(F.gelu, approximate="tanh"),
        batch_first=True,
        norm_first=True,
    )
    layer.dropout.p = feedforward_dropout  # the one inside the feed-forward part
    return layer


def _check(channels: int, heads: int, layers: int, cls_token: str, mask_rate: float) -> None:
    check_divides("bert", "heads", heads, channels)
    if layers < 1:
        raise ValueError(f"bert: layers={layers} must be at least 1")
    if cls_token not in CLS_TOKENS:
        raise ValueError(f"bert: unknown cls_token '{cls_token}'; choose {' or '.join(CLS_TOKENS)}")
    if not 0 <= mask_rate < 1:
        raise ValueError(f"bert: mask_rate={mask_rate} must be in [0, 1)")
