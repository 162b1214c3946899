"""Predicting many short clips beside the network alone: what finding, decoding and cutting add.

`src.predict` looks at the files while the network alone gets the same clips decoded beforehand, in the same batches;
both in turn, on the same threads. Networks have random weights, which cost what trained ones cost. Each clip is one
view (test.clips=1). Processor time counts the workers that decode: it is what prediction would cost if nothing
overlapped, and other load on the machine does not change it much.

python -m benchmarks.predict [CLIPS [MODEL ...]]: 100 by default, of every network, or of some anew.
"""

import os
import sys
import time
from collections.abc import Callable
from typing import Any

import torch
from benchmarks.report import machine, save, today, ucf101_clips
from src.build import build_recognizer
from src.build.compose import compose
from src.build.devices import device_of, keep_memory
from src.prediction import many
from src.prediction.network import Network

MODELS = ("tiny", "slowfast", "i3d", "resnext101", "r2plus1d")
ROUNDS = 2
CLIPS = 100
TARGET = 1.2


def network(model: str) -> Network:
    """A backbone as its published weights are asked: average pooling, 400 classes."""
    cfg = compose([f"model={model}", "pooling=average", "data=kinetics400", "test.clips=1", "data.workers=1"])
    keep_memory(device_of(cfg))  # as src.predict does
    recognizer = build_recognizer(cfg, 400).eval().requires_grad_(False)
    if cfg.model.channels_last:
        recognizer.channels_last()
    return Network(recognizer, [str(i) for i in range(400)], cfg, ucf101_clips()[0], model)


def timed(work: Callable[[], object]) -> tuple[float, float]:
    """(wall seconds, processor seconds of this process and those that it started)."""
    before, start = os.times(), time.perf_counter()
    work()
    wall, after = time.perf_counter() - start, os.times()
    return wall, sum(after[:4]) - sum(before[:4])


def measure(model: str, clips: int) -> dict[str, Any]:
    """Seconds of rounds that take turns, each of `clips` clips: a command starts its worker once."""
    asked, videos = network(model), [str(path) for path in ucf101_clips()]
    paths = [videos[i % len(videos)] for i in range(clips)]
    batches = [batch["clip"] for batch in many.loader(asked, paths)]
    many.logits_of(asked, batches[0][:1])

    def alone() -> None:
        for batch in batches:
            many.logits_of(asked, batch)

    ways: dict[str, Callable[[], object]] = {"network": alone, "predict": lambda: many.ask(asked, paths)}
    wall: dict[str, list[float]] = {name: [] for name in ways}
    processor: dict[str, list[float]] = {name: [] for name in ways}
    for number in range(ROUNDS):
        for name in list(ways)[:: 1 if number % 2 else -1]:
            seconds = timed(ways[name])
            wall[name].append(seconds[0])
            processor[name].append(seconds[1])
    ratios = [sum(times["predict"]) / sum(times["network"]) for times in (wall, processor)]
    done = ROUNDS * len(paths)
    return {"clips": done, "wall": wall, "processor": processor, "ratio": ratios[0], "processor_ratio": ratios[1]}


def main() -> None:
    clips = int(sys.argv[1]) if len(sys.argv) > 1 else CLIPS
    values: dict[str, Any] = {"machine": machine("torch", "av", "decord2"), "threads": torch.get_num_threads()}
    values |= {"target": TARGET, "models": today("predict").get("models", {})}
    for model in sys.argv[2:] or MODELS:
        values["models"][model] = measure(model, clips)
        report(values)  # after each, since all take an hour


def report(values: dict[str, Any]) -> None:
    """Write what has been measured today."""
    rows = []
    for model in [name for name in MODELS if name in values["models"]]:
        found = values["models"][model]
        wall, count = found["wall"], found["clips"]
        own, whole = (1e3 * sum(wall[name]) / count for name in ("network", "predict"))
        ratios = [f"{found['ratio']:.2f}", f"{found['processor_ratio']:.2f}"]
        rows.append([model, str(count), f"{own:.0f}", f"{whole:.0f}", *ratios, f"{count / sum(wall['predict']):.2f}"])
    save(
        "predict",
        "Predicting short clips beside the network alone",
        ["model", "clips", "network, ms a clip", "predict, ms a clip", "ratio", "of processor time", "clips/s"],
        rows,
        values,
        f"{values['threads']} threads, one worker that decodes, starting it included; {ROUNDS} rounds of each in turn. "
        f"The ratio of full-size networks is to be below {TARGET}; the tiny one is faster than decoding.",
    )


if __name__ == "__main__":
    main()
