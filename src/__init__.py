"""The commands `python -m src.…`, and what they are made of."""

import sys

from src import signals

if sys.argv[:1] == ["-m"]:  # a command is about to be imported, which takes seconds
    signals.exit_while_starting()
