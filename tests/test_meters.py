"""Metrics of training, and numbers on their way from the device."""

import math

import pytest
import torch
from src.batch import IGNORE
from src.training.arriving import Arriving
from src.training.meters import Top1
from torchmetrics.classification import MulticlassAccuracy


def test_top1_is_that_of_torchmetrics():
    torch.manual_seed(0)
    ours, theirs = Top1(), MulticlassAccuracy(5, average="micro", ignore_index=IGNORE)
    for size in (7, 1, 12):
        logits, label = torch.randn(size, 5), torch.randint(0, 5, (size,))
        label[::3] = IGNORE
        assert float(ours(logits, label)) == pytest.approx(float(theirs(logits, label)))
    assert float(ours.compute()) == pytest.approx(float(theirs.compute()))
    ours.reset()
    assert float(ours(torch.randn(2, 5), torch.tensor([IGNORE, IGNORE]))) == 0


@pytest.mark.parametrize("number", [0.5, math.inf, math.nan])
def test_a_number_arrives(number):
    value = torch.tensor(number, requires_grad=True)
    assert Arriving(value * 1).get() == pytest.approx(number, nan_ok=True)
