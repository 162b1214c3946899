"""Commands of `key=value` options: help, parsing, exit codes.

Exit codes are alike for all commands: 0 done, 1 refused or failed, 2 wrong usage, 130 and 143 interrupted.
"""

import contextlib
import difflib
import math
import os
import re
import sys
import threading
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from src import files, plugins
from src.errors import UsageError, UserError
from src.signals import (
    CONTINUES,
    Stopped,
    advise_from_now_on,
    advised,
    exit_while_starting,
    ignore_from_now_on,
    stop_on_signals,
)
from src.text import disk_message, first_line, printable, protect_streams

MISSPELT = 0.8  # likeness from which an override is taken for a misspelt option of the command
NO_MEMORY = re.compile("failed to map segment|annot allocate memory|annot apply additional memory")  # of a library
OWN_FOLDER = "--config-dir=FOLDER has models, heads and data of your own (also $LATE_PLUGINS; runs remember it)."
LEAVING_S = 2.0  # how long what libraries do at exit may take after a signal


@dataclass(frozen=True)
class Option:
    """One option of a command. A repeatable one may be given several times."""

    help: str
    default: str | None = None
    choices: tuple[str, ...] = ()
    repeatable: bool = False


@dataclass(frozen=True)
class Command:
    """What a command is called and what it takes.

    about: what it does, in whole sentences.
    examples: at least two command lines, without `python -m src.`.
    names: what words without `=` mean; None refuses them.
    overrides: options that it does not know go on to the run's configuration.
    """

    name: str
    about: str
    examples: tuple[str, ...]
    options: Mapping[str, Option] = field(default_factory=dict)
    names: str | None = None
    overrides: str | None = None

    def help(self) -> str:
        """What `--help` prints."""
        usage = f"python -m src.{self.name}" + (f" [{self.names}]" if self.names else "")
        lines = [f"usage: {usage} [option=value …]", "", *self.about.strip().splitlines(), ""]
        if self.options:
            lines.append("options:")
        width = max((len(name) for name in self.options), default=0) + 1
        for name, option in self.options.items():
            details = [f"one of {', '.join(option.choices)}"] if option.choices else []
            details += [f"default: {option.default}"] if option.default is not None else []
            details += ["may be repeated"] if option.repeatable else []
            suffix = f" ({'; '.join(details)})" if details else ""
            lines.append(f"  {name + '=':<{width}}  {option.help}{suffix}")
        if self.overrides:
            lines += ["", self.overrides, OWN_FOLDER]
        return "\n".join([*lines, "", "examples:", *(f"  python -m src.{example}" for example in self.examples)])


@dataclass
class Arguments:
    """The words of a command line, sorted."""

    values: dict[str, str | None]
    repeated: dict[str, list[str]]
    names: list[str]
    overrides: list[str]

    def required(self, name: str, what: str) -> str:
        """The value of an option that must be given. Raises UsageError where it is not."""
        value = self.values[name]
        if not value:
            raise UsageError(f"{what}? give {name}=…")
        return value

    def flag(self, name: str) -> bool:
        """true or false, in any spelling of case. Raises UsageError for anything else."""
        value = str(self.values[name]).lower()
        if value not in ("true", "false"):
            raise UsageError(f"{name}={self.values[name]}: give true or false")
        return value == "true"

    def whole(self, name: str, lowest: int = 1) -> int:
        """A whole number from `lowest` up. Raises UsageError for anything else."""
        value = str(self.values[name])
        if not value.isdecimal() or int(value) < lowest:
            raise UsageError(f"{name}={value}: give a whole number from {lowest} up")
        return int(value)

    def number(self, name: str, lowest: float, highest: float) -> float:
        """A number from `lowest` to `highest`. Raises UsageError for anything else."""
        try:
            value = float(str(self.values[name]))
        except ValueError:
            value = math.nan
        if not lowest <= value <= highest:
            raise UsageError(f"{name}={printable(self.values[name])}: give a number from {lowest:g} to {highest:g}")
        return value

    def path(self, name: str) -> Path | None:
        """A path, with `~` expanded; None where it is not given."""
        value = self.values[name]
        return files.home_expanded(value) if value else None


def parse(command: Command, words: Sequence[str]) -> Arguments:
    """Sort the words of a command line.

    Raises:
        UsageError: an unknown option, a value that is not a choice, a word that means nothing.
    """
    arguments = Arguments({}, {}, [], [])
    for name, option in command.options.items():
        arguments.values[name] = option.default
        arguments.repeated[name] = []
    for word in words:
        key, sign, value = word.partition("=")
        if sign and key in command.options:
            option = command.options[key]
            if option.choices and value not in option.choices:
                raise UsageError(f"{key}={printable(value)}: choose one of {', '.join(option.choices)}")
            arguments.values[key] = value
            arguments.repeated[key].append(value)
        elif sign and not word.startswith("-") and command.overrides and not _near(command, key, MISSPELT):
            arguments.overrides.append(word)
        elif not sign and not word.startswith("-") and command.names:
            arguments.names.append(word)
        else:
            raise UsageError(_unknown(command, word, key))
    return arguments


def _near(command: Command, key: str, likeness: float = 0.6) -> str | None:
    """The option of the command that is spelt most nearly like `key`."""
    near = difflib.get_close_matches(key.lstrip("-"), command.options, 1, likeness)
    return near[0] if near else None


def _unknown(command: Command, word: str, key: str) -> str:
    near = _near(command, key)
    hint = f"did you mean {near}=? " if near else ""
    known = ", ".join(f"{name}=" for name in command.options) or "none"
    return f"{printable(word)}: unknown option; {hint}options are {known} (--help explains them)"


def start_command(help_text: Callable[[], str]) -> list[str]:
    """What every command does first; returns its words. `--help` prints the help and exits."""
    protect_streams()
    exit_while_starting()
    files.forget_relative_folders()
    try:
        words = plugins.take(sys.argv[1:])
    except UserError as error:
        refuse(error)
    if {"-h", "--help"} & set(words):
        print(help_text())
        sys.exit(0)
    with contextlib.suppress(OSError):  # no temporary folder at all: who needs one says so
        files.shorten_temporary_folder()
    return words


def run_command(command: Command, task: Callable[[Arguments], int | None]) -> None:
    """Run a task with the options of the command line, and exit."""
    words = start_command(command.help)
    finish(lambda: task(parse(command, words)))


def finish(task: Callable[[], int | None]) -> None:
    """Run `task` and exit with what it returns; errors that a user can fix are one line.

    LATE_FULL_ERROR=1 asks for the traceback.
    """
    try:
        with advised(lambda number: CONTINUES):
            with stop_on_signals():
                code = task()
            advise_from_now_on(lambda number: CONTINUES if code else "all its work is done")
    except Stopped as stopped:
        leave(stopped)
    except UserError as error:
        refuse(error)
    except OSError as error:
        if wants_traceback():
            raise
        refuse(UserError(disk_message(error)))
    except (MemoryError, ImportError) as error:
        if wants_traceback() or not (isinstance(error, MemoryError) or NO_MEMORY.search(str(error))):
            raise
        reason = first_line(error)
        refuse(UserError(f"there is not enough memory ({reason}); end other programs, or raise the limit (ulimit -v)"))
    else:
        sys.exit(code or 0)


def refuse(error: UserError) -> None:
    """Print the error as one line and exit: 2 for wrong usage, 1 for everything else."""
    if wants_traceback():
        raise error
    print(f"error: {printable(error)}", file=sys.stderr)
    sys.exit(2 if isinstance(error, UsageError) else 1)


def wants_traceback() -> bool:
    """Whether the user asked for tracebacks."""
    return any(os.environ.get(name, "0") not in {"", "0"} for name in ("LATE_FULL_ERROR", "HYDRA_FULL_ERROR"))


def leave(stopped: Stopped) -> None:
    """Exit after a signal, without waiting long for threads that hang."""
    ignore_from_now_on()  # the end is near, and has been said
    print(f"{stopped}; {stopped.advice}", file=sys.stderr, flush=True)
    limit = threading.Timer(LEAVING_S, os._exit, (stopped.exit_code,))
    limit.daemon = True
    limit.start()
    sys.exit(stopped.exit_code)
