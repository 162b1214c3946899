"""3D convolutions whose weights get right gradients in bfloat16 on a CPU."""

import torch
import torch.nn.functional as F
from torch import Tensor, nn
from torch.nn.utils.parametrize import is_parametrized


class Conv3d(nn.Conv3d):
    """A convolution of a map (N, C, T, H, W) that `convolve` computes."""

    def forward(self, x: Tensor) -> Tensor:
        return convolve(self, x, self.weight, self.groups)


def convolve(layer: nn.Conv3d, x: Tensor, weight: Tensor, groups: int) -> Tensor:
    """What a layer makes of `x` (N, C, T, H, W) with these weights; in float32 where bfloat16 cannot be trusted.

    oneDNN's bfloat16 kernels (3.13, on CPUs with AVX-512) leave parts of a weight's gradient unwritten, or write
    behind its end, where a map is shorter than the kernel: 3×1×1 on two time steps gives gradients of 1e36, of NaN,
    or a crash. Maps as short as that are at the end of a network and small, so that float32 costs little.
    """
    short = any(length < size for length, size in zip(x.shape[2:], layer.kernel_size, strict=True))
    learns = weight.requires_grad and torch.is_grad_enabled()
    if short and learns and x.device.type == "cpu" and dtype_of(x) == torch.bfloat16:
        bias = None if layer.bias is None else layer.bias.float()
        with torch.autocast("cpu", enabled=False):
            y = F.conv3d(x.float(), weight.float(), bias, layer.stride, layer.padding, layer.dilation, groups)
        return y.bfloat16()
    return F.conv3d(x, weight, layer.bias, layer.stride, layer.padding, layer.dilation, groups)


def dtype_of(x: Tensor) -> torch.dtype:
    """What a CPU convolves `x` in."""
    return torch.get_autocast_dtype("cpu") if torch.is_autocast_enabled("cpu") else x.dtype


def take_convolutions(network: nn.Module) -> None:
    """Make all plain 3D convolutions of a network, another library's among them, ones that `convolve` computes."""
    for module in network.modules():
        plain = isinstance(module, nn.Conv3d) and type(module).forward is nn.Conv3d.forward
        if plain and module.padding_mode == "zeros" and not is_parametrized(module):
            module.__class__ = Conv3d
