"""Why a network names a class for a clip, in three ways.

occlusion: how far the class's score falls when one time step of the map that a head reads is hidden, head by head,
    while the other heads see everything. A hidden step is replaced by the mean of the others (src/models/order.py).
attention: BERT's attention weights, by layer and attention head.
gradcam: Grad-CAM (Selvaraju et al., 2017) on the last feature map of each pathway: channels weighted by the gradient
    of the class's score, summed, negative sums cut off. The gradient is averaged over space, not over time, as heads
    weigh time steps differently.
"""

from collections.abc import Collection
from dataclasses import dataclass, field

import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor

from src.data import sampling
from src.data.annotations import Video
from src.data.dataset import Source
from src.data.transforms import centre_crop, virtual_size
from src.models import order
from src.models.recognizer import Recognizer
from src.prediction.network import Network
from src.prediction.question import EXPLANATIONS

Numbers = NDArray[np.float32]


@dataclass(frozen=True)
class Shown:
    """The clip that is explained.

    clip: C, T, H, W uint8.
    indices: of its frames in the video, `stride` apart (on average); fps: frames of the video in a second.
    """

    clip: Tensor
    indices: NDArray[np.int64]
    fps: float
    stride: float


@dataclass(frozen=True)
class Explanation:
    """Why a clip counts as one class.

    score: the classifier's output for the class, before the softmax.
    drops: for each head, (T,): how far the score falls without each of the T time steps of the map that it reads.
    attention: for each head, (layers, heads, T + 1, T + 1): rows are queries; row and column 0 are the class token.
    maps: for each pathway, (T, H, W): Grad-CAM, not negative, in parts of the score.
    """

    label: int
    score: float
    probability: float
    drops: list[Numbers] = field(default_factory=list)
    attention: list[Numbers] = field(default_factory=list)
    maps: list[Numbers] = field(default_factory=list)


def most_telling(network: Network, path: str, label: int) -> Shown:
    """The clip of a video, in the centre crop, for which the class has the highest score.

    Raises:
        UserError: the video cannot be read.
    """
    source = Source(network.clip, network.modality, network.cfg.data.decoder)
    video = Video(path=path, label=0, group=path, name=path)
    best: tuple[float, Shown] | None = None
    with source.open(video) as reader:
        crop = centre_crop(virtual_size(reader.size, network.clip), network.clip.crop)
        for indices in sampling.testing_clips(len(reader), reader.fps, network.clip):
            (clip,) = source.views(reader, indices, [crop])
            with torch.inference_mode():
                score = float(network.recognizer(clip[None].to(network.device))[0, label])
            if best is None or score > best[0]:
                best = score, Shown(clip, indices, reader.fps, sampling.apart(len(reader), reader.fps, network.clip))
    assert best is not None  # a video has at least one clip
    return best[1]


def explain(recognizer: Recognizer, clip: Tensor, label: int, kinds: Collection[str] = EXPLANATIONS) -> Explanation:
    """Why a clip (C, T, H, W) uint8 counts as class `label`. Heads without attention have none in the answer."""
    tokens = recognizer.tokens
    recognizer.tokens = tokens and recognizer.reads_maps()  # else a frozen trunk gives its maps as well: same logits
    try:
        with torch.no_grad():
            features = recognizer.features(clip[None].to(recognizer.mean.device))
            logits = recognizer.decide(features)[0].float()
        found = Explanation(label, float(logits[label]), float(logits.softmax(0)[label]))
        if "occlusion" in kinds:
            found.drops.extend(drops(recognizer, features, label))
        if "attention" in kinds and recognizer.pooling.has_attention:
            found.attention.extend(_array(weights[0]) for weights in recognizer.pooling.attention(features))
        if "gradcam" in kinds:
            found.maps.extend(grad_cam(recognizer, features, label))
    finally:
        recognizer.tokens = tokens
    return found


@torch.no_grad()
def drops(recognizer: Recognizer, features: tuple[Tensor, ...], label: int) -> list[Numbers]:
    """For each head, (T,): how far the class's score falls without each time step. features: of one clip."""
    maps = list(recognizer.pooling.maps(features))
    whole = recognizer.decide(maps)[0, label]
    found = []
    for place, read in enumerate(maps):
        scores = []
        for variant in order.each_hidden(read.shape[2]) if read.shape[2] > 1 else []:
            changed = [*maps[:place], variant.of(read), *maps[place + 1 :]]
            scores.append(recognizer.decide(changed)[0, label])
        found.append(_array(whole - torch.stack(scores)) if scores else np.zeros(1, np.float32))
    return found


def contributions(recognizer: Recognizer, features: tuple[Tensor, ...], label: int) -> list[Tensor]:
    """For each pathway, (T, H, W): its map's channels, weighted by the gradient of the class's score and summed.

    With average pooling the numbers of all pathways sum to the score without the classifier's bias.
    """
    with torch.enable_grad():
        leaves = [feature_map.detach().clone().requires_grad_() for feature_map in features]
        score = recognizer.decide(leaves)[0, label]
        gradients = torch.autograd.grad(score, leaves)
    weighted = []
    for feature_map, gradient in zip(features, gradients, strict=True):
        weights = gradient.mean(dim=(3, 4), keepdim=True)  # (1, C, T, H, W) → (1, C, T, 1, 1)
        weighted.append((weights * feature_map).sum(1)[0])  # → (T, H, W)
    return weighted


def grad_cam(recognizer: Recognizer, features: tuple[Tensor, ...], label: int) -> list[Numbers]:
    """`contributions` without the negative ones."""
    return [_array(weighted.clamp(min=0)) for weighted in contributions(recognizer, features, label)]


def _array(values: Tensor) -> Numbers:
    result: Numbers = values.detach().float().cpu().numpy()
    return result
