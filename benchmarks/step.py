"""A training step of our networks, beside the same modules as the authors' recipe trains them.

A step is all of it: a batch from the host's memory to the device, forward pass, loss, backward pass, optimizer, and
gradients let go. Every way has a process of its own, so that its settings do not reach the others, and they take turns.

  float32         the authors' recipe: float32 clips that the loader has normalised, float32 without TF32, PyTorch's
                  usual layout, AdamW as PyTorch makes it
  bf16            the recipe under bf16 autocast
  ours            what training does: uint8 clips normalised on the device, the layout that conf/model names for the
                  device, small groups of a convolution computed together, fused AdamW, memory kept (on a CPU), the
                  backbone compiled (on a GPU, trainer.compile=true)

Shares of the matrix peak are those of a large product of matrices of the same precision, measured in the same run; a
step counts as three forward passes. Convolutions of a CPU may pass 100 %: its library multiplies such matrices by other
kernels, which are slower on some processors. BERT's share is that of its forward and backward pass. Weights and clips
are random.

python -m benchmarks.step [NETWORK ...]: all of them by default; r2plus1d_memory is R(2+1)D-34 with model.checkpointing
and a batch of eight.
"""

import math
import multiprocessing
import resource
import sys
import time
import traceback
from contextlib import suppress
from dataclasses import dataclass, replace
from multiprocessing.connection import Connection
from statistics import median
from typing import Any

import torch
import torch.nn.functional as F
from benchmarks.report import machine, save, today
from src.build.compose import compose
from src.build.devices import keep_memory, lay_out
from src.build.network import build_recognizer, measure_network
from src.models.backbones.blocks import GroupedConv3d
from src.models.cost import total
from src.models.recognizer import Recognizer
from src.training.arriving import Arriving
from torch import Tensor, nn

CLASSES = 101
DEVICE = torch.device("cuda" if torch.cuda.is_available() else "cpu")
ON_GPU = DEVICE.type == "cuda"
ROUNDS = 3
STEPS, UNTIMED = (3, 1) if ON_GPU else (1, 0)  # of a turn; on a GPU memory is given back between turns
WARM_UP = 1 if ON_GPU else 0
MATRIX = 8192 if ON_GPU else 2048  # rows and columns


@dataclass(frozen=True)
class Way:
    """How a network is trained."""

    precision: str = "float32"
    ours: bool = True
    compiled: bool = ON_GPU
    checkpointing: bool = False


FLOAT32 = Way(ours=False, compiled=False)
PLAIN = {"float32": FLOAT32, "bf16": replace(FLOAT32, precision="bf16")}
BF16 = Way("bf16")
ON = {
    "cpu": {**PLAIN, "ours, float32": Way(), "ours, bf16": BF16},
    "cuda": {
        **PLAIN,
        "ours, not compiled": replace(BF16, compiled=False),
        "ours": BF16,
    },
}


@dataclass(frozen=True)
class Network:
    """A network, its clips, and how many of them a step takes."""

    model: str
    frames: int
    on_gpu: int
    pooling: str = "bert"
    on_cpu: int = 1

    @property
    def batch(self) -> int:
        """Clips of a step on this device."""
        return self.on_gpu if ON_GPU else self.on_cpu

    @property
    def overrides(self) -> list[str]:
        """Of the configuration."""
        return [f"model={self.model}", f"pooling={self.pooling}", f"model.clip.frames={self.frames}"]


NETWORKS = {
    "resnext101": Network("resnext101", 64, 32),
    "r2plus1d": Network("r2plus1d", 64 if ON_GPU else 32, 16),
    "slowfast": Network("slowfast", 64, 32, "bert_late_fusion"),
    "r2plus1d_memory": Network("r2plus1d", 64, 8, on_cpu=8),
    "i3d": Network("i3d", 64, 16),
}


def ways(name: str) -> dict[str, Way]:
    """The ways to train a network on this machine."""
    if name == "r2plus1d_memory":
        return {"ours, checkpointing": replace(BF16, checkpointing=True)}
    return ON[DEVICE.type]


class Trainer:
    """One network that is trained one way."""

    def __init__(self, network: Network, way: Way) -> None:
        torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = False
        torch.backends.cudnn.benchmark = True
        if way.ours:
            keep_memory(DEVICE)
        torch.manual_seed(0)
        self.way = way
        self.cfg = compose(network.overrides, "network")
        self.recognizer = self._recognizer().to(DEVICE).train()
        fused = {"fused": True} if way.ours else {}
        self.optimizer = torch.optim.AdamW(self.recognizer.parameters(), lr=1e-5, weight_decay=1e-3, **fused)
        self.batch = network.batch
        side = self.cfg.model.clip.crop
        shape = (self.batch, 3, network.frames, side, side)  # N C T H W
        clip = torch.randint(0, 256, shape, dtype=torch.uint8) if way.ours else torch.randn(shape)
        self.clip = clip.pin_memory() if ON_GPU else clip
        self.latest: Arriving | None = None  # loss
        self.label = torch.randint(0, CLASSES, (self.batch,))

    def _recognizer(self) -> Recognizer:
        recognizer = build_recognizer(self.cfg, CLASSES)
        if self.way.ours:
            lay_out(recognizer, self.cfg, DEVICE)
        else:
            for module in recognizer.modules():
                if isinstance(module, GroupedConv3d):
                    module.__class__ = nn.Conv3d
        if self.way.checkpointing:
            recognizer.checkpointing()
        if self.way.compiled:
            recognizer.compile_regions()
        return recognizer

    def step(self) -> None:
        """One step, as training takes it."""
        if self.latest is not None and not math.isfinite(loss := self.latest.get()):
            raise ValueError(f"the loss is {loss}")
        clip, label = self.clip.to(DEVICE, non_blocking=True), self.label.to(DEVICE, non_blocking=True)
        with torch.autocast(DEVICE.type, torch.bfloat16, enabled=self.way.precision == "bf16"):
            found = F.cross_entropy(self.recognizer(clip), label)
        self.latest = Arriving(found)
        found.backward()  # type: ignore[no-untyped-call]
        self.optimizer.step()
        self.optimizer.zero_grad()

    def turn(self) -> float:
        """Seconds of a step, on average over some that follow each other."""
        for _ in range(UNTIMED):
            self.step()
        start = now()
        for _ in range(STEPS):
            self.step()
        seconds = now() - start
        if ON_GPU:
            torch.cuda.empty_cache()
        return seconds / STEPS

    def warm_up(self) -> dict[str, float]:
        """Compile, let cuDNN choose; → seconds of it, and the most memory in use, in GB."""
        start = now()
        self.step()
        first = now() - start
        if ON_GPU:
            torch.cuda.empty_cache()
            torch.cuda.reset_peak_memory_stats()
        for _ in range(WARM_UP):
            self.step()
        used = (
            torch.cuda.max_memory_allocated() if ON_GPU else 1024 * resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
        )
        if ON_GPU:
            torch.cuda.empty_cache()
        return {"first_step_s": first, "memory_gb": used / 1e9}

    def head_share(self) -> float:
        """The head's share of a step, forward and backward pass."""
        shares = []
        for _ in range(UNTIMED + STEPS):
            marks = Marks()
            handles = marks.attach(self.recognizer)
            marks.note("step")
            self.step()
            marks.note("end")
            for handle in handles:
                handle.remove()
            shares.append(marks.share())
        return median(shares)

    def peak(self) -> float:
        """Floating-point operations a second of a large product of this way's precision."""
        dtype = torch.bfloat16 if self.way.precision == "bf16" else torch.float32
        one, other = (torch.randn(MATRIX, MATRIX, device=DEVICE, dtype=dtype) for _ in range(2))
        seconds = []
        for _ in range(6):
            start = now()
            one @ other
            seconds.append(now() - start)
        return 2 * MATRIX**3 / min(seconds)


class Marks:
    """Moments of a step, on the device's own clock."""

    def __init__(self) -> None:
        self.times: dict[str, Any] = {}

    def note(self, name: str) -> None:
        """This moment."""
        if ON_GPU:
            event = torch.cuda.Event(enable_timing=True)
            event.record()
            self.times[name] = event
        else:
            self.times[name] = time.perf_counter()

    def attach(self, recognizer: Recognizer) -> list[Any]:
        """Note when the head begins and ends, forward and backward; → handles that end it."""

        def entered(head: Any, inputs: tuple[list[Tensor]]) -> None:
            for feature_map in inputs[0]:
                feature_map.register_hook(lambda gradient: self.note("backward end"))
            self.note("forward")

        def left(head: Any, inputs: Any, output: Tensor) -> None:
            self.note("forward end")
            output.register_hook(lambda gradient: self.note("backward"))

        pooling = recognizer.pooling
        return [pooling.register_forward_pre_hook(entered), pooling.register_forward_hook(left)]

    def share(self) -> float:
        """The head's share of the step."""
        if ON_GPU:
            torch.cuda.synchronize()
        parts = [self._between("forward", "forward end"), self._between("backward", "backward end")]
        return sum(parts) / self._between("step", "end")

    def _between(self, first: str, second: str) -> float:
        one, other = self.times[first], self.times[second]
        return float(one.elapsed_time(other) if ON_GPU else other - one)


def now() -> float:
    """Seconds, once the device has done all it was given."""
    if ON_GPU:
        torch.cuda.synchronize()
    return time.perf_counter()


def serve(pipe: Connection, network: Network, way: Way) -> None:
    """A process of one way: does what it is told by name, and answers."""
    try:
        trainer = Trainer(network, way)
        while (word := pipe.recv()) is not None:
            pipe.send(getattr(trainer, word)())
    except Exception as error:
        traceback.print_exc()
        pipe.send(error_line(error))


def error_line(error: Exception) -> str:
    """Why something could not run."""
    first = next(iter(str(error).splitlines()), "")
    return f"{type(error).__name__}: {first}"[:200]


class Process:
    """A way's process, and what it has answered."""

    def __init__(self, network: Network, way: Way) -> None:
        context = multiprocessing.get_context("spawn")
        self.pipe, other = context.Pipe()
        self.process = context.Process(target=serve, args=(other, network, way))
        self.process.start()
        other.close()
        self.failure: str | None = None
        self.seconds: list[float] = []
        self.found: dict[str, Any] = {}

    def ask(self, word: str) -> Any:
        """What the process answers; None where it could not do it, now or before."""
        if self.failure is not None:
            return None
        try:
            with suppress(OSError):  # it has ended: what it said last may still be there
                self.pipe.send(word)
            answer = self.pipe.recv()
        except (EOFError, OSError):
            self.process.join()
            answer = f"its process has ended ({self.process.exitcode})"
        if isinstance(answer, str):
            self.failure = answer
            return None
        return answer

    def close(self) -> None:
        """End it."""
        if self.failure is None:
            self.pipe.send(None)
        self.process.join()


def measure(name: str) -> dict[str, Any]:
    """Every way of a network, in turn."""
    network = NETWORKS[name]
    processes = {title: Process(network, way) for title, way in ways(name).items()}
    for title, process in processes.items():
        print(f"{name}: {title}", flush=True)
        process.found |= process.ask("warm_up") or {}
    for number in range(ROUNDS):
        for process in list(processes.values())[:: 1 if number % 2 else -1]:
            process.seconds += [seconds] if (seconds := process.ask("turn")) else []
    for process in processes.values():
        process.found["head_share"] = process.ask("head_share")
        process.found["peak"] = process.ask("peak")
        process.close()
    cfg = compose([*network.overrides, f"data.num_classes={CLASSES}"], "network")
    macs = total(measure_network(cfg, CLASSES)).macs
    answers = {}
    for title, process in processes.items():
        answers[title] = {"seconds": process.seconds, "failure": process.failure, **process.found}
    return {"batch": network.batch, "frames": network.frames, "macs": macs, "ways": answers}


def rows(values: dict[str, Any]) -> list[list[str]]:
    """A row for each way of each network."""
    made = []
    for name in [name for name in NETWORKS if name in values["networks"]]:
        found = values["networks"][name]
        reference = found["ways"].get("float32", {}).get("seconds")
        for title, way in found["ways"].items():
            if way["failure"] is not None:
                made.append([name, title, f"could not run: {way['failure']}", *[""] * 5])
                continue
            rate = found["batch"] / median(way["seconds"])
            share = 6 * found["macs"] * rate / way["peak"]  # a step is three passes of two operations each
            ratio = f"{median(reference) / median(way['seconds']):.2f}" if reference else ""
            shares = [f"{100 * share:.1f} %", f"{100 * way['head_share']:.2f} %"]
            size = [f"{way['memory_gb']:.1f}", *shares, f"{way['first_step_s']:.0f}"]
            made.append([name, title, f"{rate:.3g}", ratio, *size])
    return made


def report(values: dict[str, Any]) -> None:
    """Write what has been measured today."""
    batches = ", ".join(f"{name} {found['batch']}" for name, found in values["networks"].items())
    save(
        "step",
        "Training steps",
        [
            "network",
            "way",
            "clips/s",
            "times float32",
            "memory, GB",
            "of the matrix peak",
            "BERT's share",
            "first step, s",
        ],
        rows(values),
        values,
        f"Medians of {ROUNDS} turns, {STEPS} step(s) each; clips of 64 frames at full size (r2plus1d on a CPU: 32), "
        f"batches: {batches}. Memory: {'allocated on the GPU' if ON_GPU else 'of the whole process'}, at most. "
        "The peak is that of a large matrix product, which a CPU's convolutions may pass.",
        on=DEVICE.type,
    )


def main() -> None:
    unknown = [name for name in sys.argv[1:] if name not in NETWORKS]
    if unknown:
        sys.exit(f"error: no network {', '.join(unknown)}; there are: {', '.join(NETWORKS)}")
    values: dict[str, Any] = {"machine": machine("torch"), "threads": torch.get_num_threads()}
    if ON_GPU:
        values["machine"]["gpu"] = torch.cuda.get_device_name()
        values["machine"]["cudnn"] = torch.backends.cudnn.version()
    values["networks"] = today(f"step_{DEVICE.type}").get("networks", {})
    for name in sys.argv[1:] or NETWORKS:
        values["networks"][name] = measure(name)
        report(values)  # after each, so that nothing is lost where time runs out


if __name__ == "__main__":
    main()
