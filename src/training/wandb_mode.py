"""Whether W&B is used online or offline. Apart from the loggers, so that it can be asked without Lightning."""

import logging
import os

from src.errors import UserError
from src.text import first_line, printable

log = logging.getLogger(__name__)
MODES = ("auto", "online", "offline", "disabled")


def wandb_mode(wanted: str) -> str:
    """online, offline or disabled. `auto` follows $WANDB_MODE, else is online only where an API key is stored.

    Raises:
        UserError: there is no such mode.
    """
    if wanted not in MODES:
        raise UserError(f"logger.wandb.mode={wanted}: choose one of {', '.join(MODES)}")
    if wanted != "auto":
        return wanted
    if mode := os.environ.get("WANDB_MODE"):
        if mode not in MODES:
            log.warning("WANDB_MODE=%s is not one of %s; logging offline", printable(mode), ", ".join(MODES[1:]))
            os.environ["WANDB_MODE"] = "offline"  # W&B itself would refuse it
        return mode if mode in MODES[1:] else "offline"
    os.environ.setdefault("WANDB_SILENT", "true")
    try:
        import wandb  # slow to import: only where it is used

        return "online" if wandb.login(prompt=False) else "offline"
    except Exception as error:  # a key, but no network to try it, or a home that cannot be read
        warn_offline(error)
        return "offline"


def warn_offline(error: Exception) -> None:
    """Say that W&B cannot be reached, and what happens instead."""
    log.warning("W&B cannot be reached (%s); logging offline", printable(first_line(error)))
