"""Parameters and operations of a network, part by part.

Multiply-accumulates are half of what PyTorch's own counter finds; the paper's operations are another sum, see `Cost`.
On the meta device counts follow from shapes alone: nothing is computed, and nothing is hidden in a fused kernel.
"""

from collections import defaultdict
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from functools import partial
from typing import Any

import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from src.models.recognizer import Recognizer

PARTS = ("backbone", "reduction", "head", "classifier")
ATEN = torch.ops.aten
LAYERS = {ATEN.convolution, ATEN.addmm, ATEN.mm}  # products with weights; bmm and attention are of activations


@dataclass(frozen=True)
class Cost:
    """What one clip costs.

    params: number of trained values.
    macs: multiply-accumulates of convolutions and matrix products, those of attention and LSTM included.
    operations: the paper's GFlops: macs without the products of two activations (queries with keys, weights with
        values), 2 per batch-norm output, 1 per output of a ReLU that is a module, 1 per output of a plain max-pooling
        module.
    """

    params: int = 0
    macs: int = 0
    operations: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs, self.operations + other.operations)


def measure(recognizer: Recognizer, clip: Tensor) -> dict[str, Cost]:
    """The cost of each of PARTS for one normalised clip (1, C, T, H, W); both on the meta device."""
    costs: dict[str, Cost] = defaultdict(Cost)
    handles = []

    def count(part: str, module: nn.Module, _: Any, output: Any) -> None:
        costs[part] += Cost(operations=other_operations(module, output))

    for name, module in recognizer.named_modules():
        part = part_of(name)
        params = sum(p.numel() for p in module.parameters(recurse=False))
        costs[part] += Cost(params=params)
        handles.append(module.register_forward_hook(partial(count, part)))
    steps: tuple[Callable[[Any], Any], ...]
    steps = (recognizer.trunk, recognizer.backbone.reduce, recognizer.pooling, recognizer.classifier)
    training, learning = recognizer.training, [p for p in recognizer.parameters() if p.requires_grad]
    recognizer.eval()
    for parameter in learning:  # the counter follows gradients, which there are none of
        parameter.requires_grad_(False)
    value: Any = clip
    with torch.no_grad():
        for part, step in zip(PARTS, steps, strict=True):
            with FlopCounterMode(display=False) as counter:
                value = step(value)
            costs[part] += counted(counter)
    recognizer.train(training)
    for parameter in learning:
        parameter.requires_grad_(True)
    for handle in handles:
        handle.remove()
    return {part: costs[part] for part in PARTS}


def counted(counter: FlopCounterMode) -> Cost:
    """Multiply-accumulates that a counter has seen, and those of them that the paper counts."""
    found = counter.get_flop_counts().get("Global", {})
    of_layers = sum(flops for operation, flops in found.items() if operation in LAYERS)
    return Cost(macs=counter.get_total_flops() // 2, operations=of_layers // 2)


def part_of(name: str) -> str:
    """Which of PARTS the recognizer's module of this name belongs to."""
    words = name.split(".")
    if words[0] == "pooling":
        return "head"
    if words[0] == "backbone":
        return "reduction" if any(word.startswith("reduction") for word in words) else "backbone"
    return "classifier"


def other_operations(module: nn.Module, output: Any) -> int:
    """What the paper counts beside multiply-accumulates, for one clip."""
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return int(2 * output.numel())
    if isinstance(module, nn.ReLU) or type(module) is nn.MaxPool3d:
        return int(output.numel())
    return 0


def total(parts: Mapping[str, Cost]) -> Cost:
    """The sum over all parts."""
    return sum(parts.values(), Cost())
