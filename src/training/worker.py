"""One rank of a run in a process of its own. src.runs.launch starts it by name and hands it the configuration."""

import logging
import sys
from pathlib import Path
from typing import Any

from omegaconf import DictConfig, OmegaConf

from src.errors import UserError
from src.runs.folder import RunFolder
from src.text import printable
from src.training import loop


def main(content: Any, folder: str, checkpoint: str | None) -> None:
    """Train and test; a user's mistake is one line and exit code 1."""
    logging.basicConfig(level=logging.INFO, format="%(levelname)s: %(message)s", stream=sys.stdout)
    cfg = OmegaConf.create(content)
    assert isinstance(cfg, DictConfig)
    try:
        run(cfg, RunFolder(Path(folder)), Path(checkpoint) if checkpoint else None)
    except UserError as error:
        sys.exit(f"error: {printable(error)}")


def run(cfg: DictConfig, folder: RunFolder, checkpoint: Path | None) -> None:
    """The whole run in this process."""
    loop.run(cfg, folder, checkpoint)
