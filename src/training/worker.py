"""One rank of a run in a process of its own. src.runs.launch starts it by name and hands it the configuration."""

import logging
import os
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.errors import UserError
from src.runs.folder import RunFolder
from src.signals import Stopped, stop_on_signals
from src.text import disk_message, printable
from src.training import loop


def main(content: Any, folder: str, checkpoint: str | None, log: str | None = None) -> None:
    """Train and test; a user's mistake is one line and exit code 1.

    log: the file that everything this process prints is added to; None: the terminal.
    """
    if log is not None:
        with Path(log).open("a") as file:
            os.dup2(file.fileno(), 1)
            os.dup2(file.fileno(), 2)
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s", stream=sys.stdout)
    cfg = OmegaConf.create(content)
    assert isinstance(cfg, DictConfig)
    try:
        with stop_on_signals():
            run(cfg, RunFolder(Path(folder)), Path(checkpoint) if checkpoint else None)
    except Stopped as stopped:
        sys.exit(stopped.exit_code)
    except UserError as error:
        sys.exit(f"error: {printable(error)}")
    except OSError as error:
        sys.exit(f"error: {disk_message(error)}")


def run(cfg: DictConfig, folder: RunFolder, checkpoint: Path | None) -> None:
    """The whole run in this process."""
    loop.run(cfg, folder, checkpoint)
