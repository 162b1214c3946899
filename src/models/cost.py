"""Parameters and operations of a network."""

from collections import defaultdict
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn

from src.models.recognizer import Recognizer

PARTS = ("backbone", "reduction", "head", "classifier")


@dataclass(frozen=True)
class Cost:
    """What one clip costs.

    params: number of trained values.
    macs: multiply-accumulates of convolutions and linear layers, those inside attention and LSTM included.
    operations: the paper's GFlops: macs, 2 per batch-norm output, 1 per output of a ReLU that is a module,
        1 per output of a plain max-pooling module.
    """

    params: int = 0
    macs: int = 0
    operations: int = 0

    def __add__(self, other: "Cost") -> "Cost":
        return Cost(self.params + other.params, self.macs + other.macs, self.operations + other.operations)


def measure(recognizer: Recognizer, clip: Tensor) -> dict[str, Cost]:
    """The cost of each of PARTS for one normalised clip (1, C, T, H, W); both may be on `meta`."""
    costs: dict[str, Cost] = defaultdict(Cost)
    handles = []
    for name, module in recognizer.named_modules():
        part = part_of(name)
        params = sum(p.numel() for p in module.parameters(recurse=False))
        costs[part] += Cost(params=params)

        def count(module: nn.Module, inputs: Any, output: Any, part: str = part) -> None:
            macs = multiply_accumulates(module, inputs, output)
            costs[part] += Cost(macs=macs, operations=macs + other_operations(module, output))

        handles.append(module.register_forward_hook(count))
    training = recognizer.training
    with torch.no_grad():
        recognizer.eval()(clip)
    recognizer.train(training)
    for handle in handles:
        handle.remove()
    return {part: costs[part] for part in PARTS}


def part_of(name: str) -> str:
    """Which of PARTS the recognizer's module of this name belongs to."""
    words = name.split(".")
    if words[0] == "pooling":
        return "head"
    if words[0] == "backbone":
        return "reduction" if any(word.startswith("reduction") for word in words) else "backbone"
    return "classifier"


def multiply_accumulates(module: nn.Module, inputs: Any, output: Any) -> int:
    """Those of this module's own weights in one call."""
    if isinstance(module, nn.Conv1d | nn.Conv2d | nn.Conv3d):
        return int(output.numel() * module.weight[0].numel())
    if isinstance(module, nn.Linear):
        return int(output.numel() * module.in_features)
    if isinstance(module, nn.MultiheadAttention):  # its output projection is never called as a module
        return int(inputs[0].shape[:2].numel() * 4 * module.embed_dim**2)
    if isinstance(module, nn.LSTM):
        steps = inputs[0].shape[:2].numel()
        return int(steps * sum(p.numel() for name, p in module.named_parameters() if name.startswith("weight")))
    return 0


def other_operations(module: nn.Module, output: Any) -> int:
    """What the paper counts beside multiply-accumulates."""
    if isinstance(module, nn.BatchNorm1d | nn.BatchNorm2d | nn.BatchNorm3d):
        return int(2 * output.numel())
    if isinstance(module, nn.ReLU) or type(module) is nn.MaxPool3d:
        return int(output.numel())
    return 0


def total(parts: dict[str, Cost]) -> Cost:
    """The sum over all parts."""
    return sum(parts.values(), Cost())
