"""A forward pass of our full-size backbones on a CPU, beside a peer's network of the same architecture.

R(2+1)D at the depth of torchvision's r2plus1d_18, for the block: the published R(2+1)D-34 has wider second
convolutions where a stage begins, so that ours has more to compute, as the last column says. SlowFast-R50 beside
PyTorchVideo's, which the extra `bench` installs; ours in the memory layout that conf/model/slowfast.yaml gives it.
Peers take turns, on the same input and threads; float32, eval mode, no gradients.
"""

import time
import warnings
from collections.abc import Callable
from statistics import median

import torch
from benchmarks.report import machine, save
from src.build.compose import compose
from src.build.instantiate import build
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode
from torchvision.models.video import r2plus1d_18

ROUNDS = 9
Forward = Callable[[], object]


def backbone(*overrides: str) -> nn.Module:
    """Our backbone as conf/ describes it, without a reduction."""
    made: nn.Module = build(compose([*overrides, "reduction=none"], "network").model.backbone)
    return made.eval()


def r2plus1d() -> tuple[str, Forward, Forward]:
    """R(2+1)D-18, 32 frames of 112x112; the classifiers, which cost nothing, stay out of ours."""
    clip = torch.randn(1, 3, 32, 112, 112)
    own, peer = backbone("model=r2plus1d", "model.backbone.blocks=[2,2,2,2]"), r2plus1d_18().eval()
    return "R(2+1)D-18, torchvision", lambda: own(clip), lambda: peer(clip)


def slowfast() -> tuple[str, Forward, Forward]:
    """SlowFast-R50 8x8, 64 frames of 224x224, of which the fast pathway takes 32 and the slow one 8."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        from pytorchvideo.models.slowfast import create_slowfast
    clip = torch.randn(1, 3, 64, 224, 224)
    layout = torch.channels_last_3d
    own, peer = backbone("model=slowfast").to(memory_format=layout), create_slowfast().eval()

    def theirs() -> Tensor:
        fast = clip[:, :, ::2]
        answer: Tensor = peer([fast[:, :, ::4], fast])
        return answer

    return "SlowFast-R50, PyTorchVideo", lambda: own(clip.contiguous(memory_format=layout)), theirs


def macs(forward: Forward) -> float:
    """Multiply-accumulates of a forward pass."""
    with FlopCounterMode(display=False) as counter:
        forward()
    return counter.get_total_flops() / 2


@torch.inference_mode()
def main() -> None:
    """Print and save the medians and their ratios."""
    rows, values = [], {"machine": machine("torch", "torchvision"), "threads": torch.get_num_threads(), "ms": {}}
    for make in (r2plus1d, slowfast):
        name, own, peer = make()
        times: dict[str, list[float]] = {"own": [], "peer": []}
        own(), peer()
        for _ in range(ROUNDS):
            for who, forward in (("own", own), ("peer", peer)):
                start = time.perf_counter()
                forward()
                times[who].append(1e3 * (time.perf_counter() - start))
        ours, theirs = median(times["own"]), median(times["peer"])
        work = macs(own), macs(peer)
        values["ms"][name] = times
        rows.append([name, f"{ours:.0f}", f"{theirs:.0f}", f"{ours / theirs:.2f}", f"{work[0] / work[1]:.2f}"])
    notes = f"Milliseconds a forward pass of one clip, medians of {ROUNDS} in turn, {values['threads']} threads."
    save(
        "backbones",
        "Backbones beside their peers",
        ["network", "ours", "peer", "ratio", "ratio of MACs"],
        rows,
        values,
        notes,
    )


if __name__ == "__main__":
    main()
