"""Batches from processes that decode, and those processes when something ends."""

import os
import signal
import subprocess
import sys
import time

import pytest
import torch
from src import files
from src.config import ROOT
from src.data.handover import Packing, packed
from src.data.loader import Loader
from src.errors import UserError
from torch.utils.data import Dataset


class Numbers(Dataset):
    """Batches that can be told apart."""

    def __len__(self):
        return 6

    def __getitem__(self, index):
        return torch.full((3,), index)


def collate(items):
    return {"clip": torch.stack(items), "label": torch.arange(len(items)), "unreadable": ["a.mp4"]}


def loader(data=None, **options):
    return Loader(data or Numbers(), batch_size=2, collate_fn=Packing(collate), num_workers=2, **options)


def no_shared_memory(worker):
    """What a worker meets where /dev/shm is full."""

    def refuse(tensor):
        raise RuntimeError("unable to allocate shared memory(shm) for file </torch_1>: No space left on device (28)")

    torch.Tensor.share_memory_ = refuse


@pytest.mark.parametrize("start", [None, no_shared_memory])
def test_batches_arrive_whole_with_and_without_shared_memory(start):
    batches = list(loader(worker_init_fn=start))
    assert [batch["clip"].tolist() for batch in batches] == [[[i] * 3, [i + 1] * 3] for i in (0, 2, 4)]
    assert all(batch["label"].tolist() == [0, 1] and batch["unreadable"] == ["a.mp4"] for batch in batches)


def test_the_main_process_moves_nothing():
    batch = collate([torch.zeros(3)])
    assert packed(batch) is batch
    assert not batch["clip"].is_shared()


class Killed(Numbers):
    def __getitem__(self, index):
        if index == 3:
            os.kill(os.getpid(), signal.SIGKILL)  # what the kernel does when memory is short
        return super().__getitem__(index)


def test_a_killed_worker_is_named_and_nobody_waits_for_it():
    with pytest.raises(UserError, match=r"data\.workers: a process that reads videos was lost \(DataLoader worker"):
        list(loader(Killed()))


def test_a_command_that_ends_while_it_is_handed_a_batch_is_no_failure():
    """Its worker says nothing of the broken connection."""
    program = """
import socket
from multiprocessing import resource_sharer
import torch
from torch.utils.data import Dataset
from src.data.loader import Loader, worker_options
class Addresses(Dataset):
    def __len__(self):
        return 3
    def __getitem__(self, index):
        return {"number": torch.tensor(index), "address": [str(resource_sharer._resource_sharer._address)]}
for batch in Loader(Addresses(), batch_size=None, **worker_options(1, seed=0)):
    for words in (b"", b"00"):
        if batch["address"] != ["None"]:  # of the thread, which starts with the first batch
            with socket.socket(socket.AF_UNIX) as connection:
                connection.connect(batch["address"][0])
                connection.sendall(words)
    print(batch["number"].item(), batch["address"] != ["None"])
"""
    done = subprocess.run([sys.executable, "-c", program], cwd=ROOT, capture_output=True, text=True, timeout=250)
    assert done.stdout.splitlines()[::2] == ["0 False", "2 True"]
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_workers_do_not_outlive_a_killed_command(tmp_path):
    program = """
import os, time
import torch
from torch.utils.data import IterableDataset
from src.data.loader import Loader, start_worker
class Endless(IterableDataset):
    def __iter__(self):
        while True:
            yield {"number": torch.tensor(os.getpid())}
batches = iter(Loader(Endless(), batch_size=None, num_workers=1, worker_init_fn=start_worker))
print(next(batches)["number"].item(), flush=True)
time.sleep(600)
"""
    environment = os.environ | {"PYTHONPATH": str(ROOT)}
    command = subprocess.Popen([sys.executable, "-c", program], stdout=subprocess.PIPE, text=True, env=environment)
    worker = int(command.stdout.readline())
    command.kill()
    command.wait()
    while files.process_exists(worker):  # ends, or the test's time is over
        time.sleep(0.05)
