"""Blocks one after the other, and their maps computed again where memory is short."""

from collections.abc import Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext

import torch
from torch import Tensor, nn
from torch.nn.modules.batchnorm import _BatchNorm
from torch.utils.checkpoint import checkpoint


class Stage(nn.Sequential):
    """Blocks in sequence.

    checkpointing: keep what enters each block and nothing of what is inside it, which the backward pass computes
        again (Chen et al., 2016: "Training deep nets with sublinear memory cost").
    """

    checkpointing = False

    def forward(self, x: Tensor) -> Tensor:
        for block in self:
            x = recomputed(block, x) if self.checkpointing and torch.is_grad_enabled() else block(x)
        return x


def recomputed(block: nn.Module, x: Tensor) -> Tensor:
    """What a block makes of `x`, computed now and once more in the backward pass."""

    def contexts() -> tuple[AbstractContextManager[None], AbstractContextManager[None]]:
        return nullcontext(), statistics_kept(block)

    output: Tensor = checkpoint(block, x, use_reentrant=False, context_fn=contexts)
    return output


@contextmanager
def statistics_kept(block: nn.Module) -> Iterator[None]:
    """Within the block of code batch norms count what they see on copies: a batch that is met twice counts once.

    The copies stand in for the buffers, which backward passes may still need as they are.
    """
    norms = [module for module in block.modules() if isinstance(module, _BatchNorm) and module.training]
    own = [dict(norm.named_buffers(recurse=False)) for norm in norms]
    for norm, buffers in zip(norms, own, strict=True):
        for name, value in buffers.items():
            setattr(norm, name, value.clone())
    try:
        yield
    finally:
        for norm, buffers in zip(norms, own, strict=True):
            for name, value in buffers.items():
                setattr(norm, name, value)
