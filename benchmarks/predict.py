"""Predicting many short clips beside the network alone: what finding, decoding and cutting add.

`src.predict` looks at the files while the network alone gets the same clips decoded beforehand, in the same batches;
both in turn, on the same threads. Networks have random weights, which cost what trained ones cost. Each clip is one
view (test.clips=1). The speed of every backbone comes from fewer clips than the ratio of the first.
"""

import time
from statistics import median
from typing import Any

import torch
from benchmarks.report import machine, save, ucf101_clips
from src.build import build_recognizer
from src.build.compose import compose
from src.prediction import many
from src.prediction.network import Network
from torch import Tensor

ROUNDS = {"r2plus1d": (5, 20), "tiny": (5, 20), "resnext101": (2, 8), "i3d": (2, 8), "slowfast": (2, 8)}
TARGET = 1.2
FIRST = "r2plus1d"


def network(model: str) -> Network:
    """A backbone as its published weights are asked: average pooling, 400 classes."""
    cfg = compose([f"model={model}", "pooling=average", "data=kinetics400", "test.clips=1", "data.workers=2"])
    recognizer = build_recognizer(cfg, 400).eval().requires_grad_(False)
    if cfg.model.channels_last:
        recognizer.channels_last()
    return Network(recognizer, [str(i) for i in range(400)], cfg, ucf101_clips()[0], model)


def decoded(asked: Network, paths: list[str]) -> list[Tensor]:
    """The batches that prediction gives the network."""
    return [batch["clip"] for batch in many.loader(asked, paths)]


def main() -> None:
    videos = [str(path) for path in ucf101_clips()]
    values: dict[str, Any] = {"machine": machine("torch", "av", "decord"), "threads": torch.get_num_threads()}
    values["models"] = {}
    rows = []
    for model, (rounds, clips) in ROUNDS.items():
        asked = network(model)
        paths = [videos[i % len(videos)] for i in range(clips)]
        batches = decoded(asked, paths)
        many.logits_of(asked, batches[0][:1])
        seconds: dict[str, list[float]] = {"network": [], "predict": []}
        for _ in range(rounds):
            start = time.perf_counter()
            for batch in batches:
                many.logits_of(asked, batch)
            seconds["network"].append(time.perf_counter() - start)
            seconds["predict"].append(many.ask(asked, paths).total_s)
        ratio = sum(seconds["predict"]) / sum(seconds["network"])
        speed = clips / median(seconds["predict"])
        values["models"][model] = {"clips": rounds * clips, "seconds": seconds, "ratio": ratio, "clips_per_second": speed}
        own, whole = (1e3 * sum(seconds[name]) / (rounds * clips) for name in ("network", "predict"))
        rows.append([model, str(rounds * clips), f"{own:.0f}", f"{whole:.0f}", f"{ratio:.2f}", f"{speed:.2f}"])
        print(rows[-1], flush=True)
    values["target"], values["met"] = TARGET, values["models"][FIRST]["ratio"] < TARGET
    save(
        "predict",
        "Predicting short clips beside the network alone",
        ["model", "clips", "network, ms a clip", "predict, ms a clip", "ratio", "clips/s"],
        rows,
        values,
        f"{torch.get_num_threads()} threads, two workers that decode, starting them included; both in turn. "
        f"The ratio of {FIRST} is to be below {TARGET}. On a CPU the tiny network is faster than decoding.",
    )


if __name__ == "__main__":
    main()
