"""Loggers that fail: the run goes on without them."""

import logging

import pytest
import torch
from omegaconf import OmegaConf
from pytorch_lightning.loggers import CSVLogger
from src.training.loggers import Guarded, wandb_mode


class Failing(CSVLogger):
    """A logger in which one method after the other can fail."""

    broken = ""

    def __getattribute__(self, name):
        if name == object.__getattribute__(self, "broken"):
            raise OSError(28, "No space left on device")
        return super().__getattribute__(name)


@pytest.mark.parametrize(
    "method",
    ["log_metrics", "log_hyperparams", "save", "finalize", "name", "version", "save_dir", "log_dir", "log_graph"],
)
def test_a_logger_may_fail_anywhere_and_is_warned_of_once(method, tmp_path, caplog):
    logger = Failing(tmp_path)
    guarded = Guarded(logger)
    logger.broken = method
    with caplog.at_level(logging.WARNING):
        for step in range(3):
            guarded.log_hyperparams({"a": 1})
            guarded.log_metrics({"loss": 1.0}, step)
            guarded.save()
            _ = guarded.name, guarded.version, guarded.save_dir, guarded.log_dir
            guarded.log_graph(torch.nn.Linear(1, 1))
            guarded.after_save_checkpoint(None)
        guarded.finalize("success")
    assert len(caplog.records) <= 1
    if method in ("log_metrics", "log_hyperparams", "save", "finalize"):
        assert "Failing has failed (No space left on device); the run goes on without it" in caplog.text


@pytest.mark.parametrize(("word", "mode"), [("nonsense", "offline"), ("disabled", "disabled"), ("offline", "offline")])
def test_the_mode_of_the_environment_is_taken_or_said_to_be_none(word, mode, monkeypatch, caplog):
    monkeypatch.setenv("WANDB_MODE", word)
    assert wandb_mode("auto") == mode
    assert ("nonsense" in caplog.text) == (word == "nonsense")


@pytest.mark.parametrize(
    "change",
    [
        {"project": "a/b#c"},
        {"tags": ["x" * 100, ""]},
        {"entity": "no such/entity"},
        {"name": "n" * 300},
        {"group": "g" * 300},
    ],
)
def test_whatever_wandb_refuses_the_run_goes_on(change, tmp_path, monkeypatch):
    from src.runs.folder import RunFolder
    from src.training.loggers import close_all, loggers

    monkeypatch.setenv("WANDB_MODE", "offline")
    options = {
        "project": "p",
        "entity": None,
        "group": None,
        "job_type": None,
        "name": None,
        "tags": [],
        "mode": "offline",
    }
    cfg = OmegaConf.create({"logger": {"wandb": options | change}})
    made = loggers(cfg, RunFolder(tmp_path), "title")
    for logger in made:
        logger.log_metrics({"loss": 1.0}, 0)
        logger.save()
    close_all(made)
    assert (tmp_path / "csv" / "version_0" / "metrics.csv").is_file()
