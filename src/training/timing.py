"""Where the time of training goes: clips per second, waiting for clips, memory, and the costliest operations."""

import logging
import time
from pathlib import Path
from typing import Any

import torch
from pytorch_lightning import Callback, LightningModule, Trainer
from rich.console import Console
from torch.profiler import ProfilerActivity, profile

from src import files
from src.build.devices import own_cores
from src.text import first_line, printable

log = logging.getLogger(__name__)
TOO_LONG = 0.3  # share of the time spent waiting that is worth a note
SETTLED_S = 10  # of waiting: what starting the workers costs tells nothing
SKIPPED, PROFILED = 2, 5  # steps: the first ones are slower than all others


class Throughput(Callback):
    """Clips per second of the training loop, and the share of its time that it waits for clips; validation not counted.

    On a GPU, which still works on earlier steps, the share is an upper bound.

    workers: that decode, for each rank.
    """

    def __init__(self, console: Console, workers: int) -> None:
        self.console, self.workers = console, workers
        self.clips = 0
        self.start = self.asked = self.waited = 0.0
        self.told = False

    def on_train_epoch_start(self, trainer: Trainer, module: LightningModule) -> None:
        self.clips, self.waited = 0, 0.0
        self.start = self.asked = time.perf_counter()
        if torch.cuda.is_available():
            torch.cuda.reset_peak_memory_stats()

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.waited += time.perf_counter() - self.asked

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        clips = batch["clip"] if "clip" in batch else batch["maps"][0]  # N V …
        self.clips += clips.shape[0] * clips.shape[1] * trainer.world_size
        self.asked = time.perf_counter()
        spent = self.asked - self.start
        values = {"clips_per_second": self.clips / spent, "waiting": self.waited / spent}
        if torch.cuda.is_available():
            values["gpu_memory_gb"] = torch.cuda.max_memory_allocated() / 1e9
        for name, value in values.items():
            bar = name == "clips_per_second"
            number = torch.tensor(value)  # on the host: Lightning would send it to the device, and wait for that
            module.log(name, number, prog_bar=bar, on_step=True, on_epoch=False, rank_zero_only=True)

    def on_train_epoch_end(self, trainer: Trainer, module: LightningModule) -> None:
        """Say once that the loader is the bottleneck, and what to change."""
        if self.told or not trainer.is_global_zero or self.waited < SETTLED_S:
            return
        share = self.waited / (self.asked - self.start)
        if share < TOO_LONG:
            return
        self.told = True
        mine = own_cores()
        advice = (
            f"give data.workers={mine} instead of {self.workers}"
            if mine > max(1, self.workers)
            else "every core decodes already: store the videos smaller (a short side of 256 pixels is enough)"
        )
        self.console.print(f"note: training waited for clips {share:.0%} of its time; {advice}")


class Profile(Callback):
    """Records a few steps: the ten costliest operations as a table, and all of them as a trace for a browser.

    folder: gets operations.txt, and trace.json.gz for chrome://tracing or ui.perfetto.dev.
    """

    def __init__(self, console: Console, folder: Path) -> None:
        self.console, self.folder = console, folder
        self.recorder: profile | None = None
        self.steps = 0

    def on_train_batch_start(self, trainer: Trainer, module: LightningModule, batch: Any, batch_idx: int) -> None:
        self.steps += 1
        if self.steps == SKIPPED + 1 and trainer.is_global_zero:
            activities = [ProfilerActivity.CPU, *([ProfilerActivity.CUDA] if torch.cuda.is_available() else [])]
            self.recorder = profile(activities=activities, profile_memory=True)
            self.recorder.start()

    def on_train_batch_end(
        self, trainer: Trainer, module: LightningModule, outputs: Any, batch: Any, batch_idx: int
    ) -> None:
        if self.steps == SKIPPED + PROFILED:
            self._write()

    def on_train_end(self, trainer: Trainer, module: LightningModule) -> None:
        """A training of fewer steps is recorded as far as it goes."""
        self._write()

    def _write(self) -> None:
        recorder, self.recorder = self.recorder, None
        if recorder is None:
            return
        recorder.stop()
        recorded = min(self.steps - SKIPPED, PROFILED)
        order = "self_device_time_total" if torch.cuda.is_available() else "self_cpu_time_total"
        table = recorder.key_averages().table(sort_by=order, row_limit=10, max_name_column_width=40)
        try:
            self.folder.mkdir(exist_ok=True)
            files.write_text(self.folder / "operations.txt", table)
            with files.replacing(self.folder / "trace.json.gz") as temporary:
                recorder.export_chrome_trace(str(temporary))  # .gz: packed
        except (OSError, RuntimeError) as error:
            log.warning("profile: not written (%s)", printable(first_line(error)))
            return
        self.console.print(table)
        self.console.print(f"profile of {recorded} steps: {printable(self.folder)}")
