"""A folder of one's own beside conf/: its YAML files are choices of the groups, its modules may be named by `_target_`.

    my/model/wide.yaml   my/pooling/gru.yaml   my/data/ours.yaml   my/wide.py   my/gru.py   my/ours.py

The user gives it with --config-dir=my or in $LATE_PLUGINS, which the processes of a command inherit. What runs,
checkpoints and exported files keep of it is its name and the hash of its files: what others made never says where code
is. A folder that was given on this machine before is found again by that hash, for as long as its files are the same.
"""

import functools
import hashlib
import os
import sys
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src import files
from src.config import CONF, EXPERIMENTS
from src.errors import UsageError, UserError
from src.text import printable

VARIABLE = "LATE_PLUGINS"
FLAG = "--config-dir"
SHORT = "-cd"
COUNTED = (".py", ".pyc", ".so", ".pyd", ".yaml")  # what its hash is of: code, and what chooses it
IDLE = ("__pycache__",)
MOST = 5000  # files and folders; one with more is a project or a disk, not plug-ins
HEX = frozenset("0123456789abcdef")


@dataclass(frozen=True)
class Plugins:
    """A folder as records keep it: its name, and the SHA-256 of its code and configuration."""

    name: str
    sha256: str


def take(words: Sequence[str]) -> list[str]:
    """The words of a command line without the folder that they name, which is the one from now on.

    Raises:
        UsageError: there is no such folder, it cannot be read, or has a file of conf/.
    """
    kept = list(words)
    named: str | None = None
    for flag in (FLAG, SHORT):
        for word in list(kept):
            if word.startswith(f"{flag}="):
                named = word.partition("=")[2]
                kept.remove(word)
        while flag in kept:
            place = kept.index(flag)
            if place + 1 == len(kept):
                raise UsageError(f"{flag} names no folder; give {FLAG}=FOLDER")
            named = kept[place + 1]
            del kept[place : place + 2]
    given = os.environ.get(VARIABLE, "") if named is None else named
    if given or named is not None:
        use(given, FLAG if named is not None else f"${VARIABLE}")
    return kept


def use(given: str, what: str) -> None:
    """Let a folder be the one from now on, and remember on this machine that the user has said so.

    what: how it was given, for messages.
    """
    path = files.home_expanded(given).absolute()
    shown = f"{what}={printable(given)}"
    if not given or not path.is_dir():
        raise UsageError(f"{shown}: there is no such folder; leave it out")
    path = path.resolve()
    sha256 = digest(path)
    for file in sorted(path.glob("**/*.yaml")):
        name = file.relative_to(path)
        if (CONF / name).is_file() or ((EXPERIMENTS.parent / name).is_file() and name.parts[0] == EXPERIMENTS.name):
            raise UsageError(f"{shown}: {name} has the name of a file of this project; rename it")
    os.environ[VARIABLE] = str(path)
    with suppress(OSError):  # a home that cannot be written: the folder is given again next time
        _remember(sha256, path)


def _remember(sha256: str, path: Path) -> None:
    place = _place(sha256)
    if place.is_file() and place.read_text(**files.ENCODING) == str(path):
        return
    files.write_text(place, str(path))
    for other in place.parent.glob("*.txt"):
        if not Path(other.read_text(**files.ENCODING)).is_dir():  # it has gone
            other.unlink(missing_ok=True)


def folder() -> Path | None:
    """The folder that the user has given; None where there is none."""
    given = os.environ.get(VARIABLE)
    return files.home_expanded(given).resolve() if given else None


def active() -> Plugins | None:
    """What is recorded of the folder that the user has given."""
    path = folder()
    return None if path is None else Plugins(path.name, digest(path))


def restore(recorded: Plugins | None, where: object) -> None:
    """Use the folder with which something was made, which only the user or this user's own machine can tell.

    where: the file that names it.

    Raises:
        UserError: nobody has given a folder, and none with these files is known here; another one is in use.
    """
    if recorded is None:
        return
    path, found = folder(), _found(recorded.sha256)
    if path is None:
        if found is None:
            raise UserError(
                f"{where}: it was made with the folder {printable(recorded.name)} of somebody's own code, which is not "
                f"known here or has changed; give {FLAG}=FOLDER if you have it and trust it"
            )
        os.environ[VARIABLE] = str(found)
    elif digest(path) != recorded.sha256:
        _say_once(
            f"{printable(where)}: it was made with other files of {printable(recorded.name)} than "
            f"{printable(path)} has; taking these"
        )


def _found(sha256: str) -> Path | None:
    """The folder that the user has given on this machine and that still has these files."""
    if len(sha256) != 64 or not set(sha256) <= HEX:  # it becomes the name of a file
        return None
    try:
        path = Path(_place(sha256).read_text(**files.ENCODING))
        return path if path.is_dir() and digest(path) == sha256 else None
    except (OSError, ValueError, UserError):
        return None


def _place(sha256: str) -> Path:
    return files.cache("plugins") / f"{sha256}.txt"


@functools.cache
def digest(path: Path) -> str:
    """SHA-256 of a folder's code and configuration: names and contents.

    Raises:
        UsageError: it holds too much to be a folder of plug-ins, or cannot be read.
    """
    whole = hashlib.sha256()
    seen = 0
    try:
        for parent, folders, names in os.walk(path):
            folders[:] = sorted(one for one in folders if not one.startswith(".") and one not in IDLE)
            seen += len(folders) + len(names)
            if seen > MOST:
                raise UsageError(f"{path}: more than {MOST} files; give a folder that holds your own parts alone")
            for name in sorted(names):
                file = Path(parent, name)
                if file.suffix in COUNTED and file.is_file():
                    place = file.relative_to(path).as_posix().encode("utf-8", "surrogateescape")
                    whole.update(b"%d:%s" % (len(place), place))
                    whole.update(bytes.fromhex(files.sha256(file)))
    except OSError as error:
        raise UsageError(f"{path}: cannot be read ({error.strerror}); check its permissions") from error
    return whole.hexdigest()


@functools.cache
def _say_once(line: str) -> None:
    print(line, file=sys.stderr)


def group_folders(group: str) -> list[Path]:
    """Where the choices of a group are: conf/ or experiments/, then the user's own folder."""
    own = folder()
    places = [EXPERIMENTS if group == EXPERIMENTS.name else CONF / group, *([own / group] if own else [])]
    return [place for place in places if place.is_dir()]


def is_group(group: str) -> bool:
    """Whether there are choices of a group."""
    return bool(group_folders(group))


def choices(group: str) -> list[str]:
    """The names of a group's choices, sorted."""
    return sorted({path.stem for place in group_folders(group) for path in place.glob("*.yaml")})


def choice(group: str, name: str) -> Path | None:
    """The file of a choice; None where there is none."""
    return next((file for place in group_folders(group) if (file := place / f"{name}.yaml").is_file()), None)


def names(target: str) -> bool:
    """Whether a YAML file of the user's folder has this `_target_`: of an installed package, for example."""
    own = folder()
    return own is not None and target in _targets(own, digest(own))


@functools.cache
def _targets(path: Path, sha256: str) -> frozenset[str]:
    """Every `_target_` in a folder's YAML files. Files that are no YAML are for Hydra to refuse."""
    import yaml  # which commands without such a folder do without

    found: set[str] = set()
    for file in path.glob("**/*.yaml"):
        with suppress(yaml.YAMLError, OSError, ValueError, RecursionError):
            found.update(targets(yaml.safe_load(file.read_text(encoding="utf-8"))))
    return frozenset(found)


def targets(content: Any) -> Iterator[str]:
    """Every `_target_` in plain mappings and lists, however deep."""
    if isinstance(content, Mapping):
        if "_target_" in content:
            yield str(content["_target_"])
        for value in content.values():
            yield from targets(value)
    elif isinstance(content, list | tuple):
        for value in content:
            yield from targets(value)


def owns(target: str) -> bool:
    """Whether a dotted name begins with a module of the user's folder."""
    own, module = folder(), target.partition(".")[0]
    return (
        own is not None
        and module.isidentifier()
        and any(file.is_file() for file in (own / f"{module}.py", own / module / "__init__.py"))
    )


def imported(module: Any) -> bool:
    """Whether a module was read from the user's folder."""
    own, file = folder(), getattr(module, "__file__", None)
    return own is not None and file is not None and Path(file).resolve().is_relative_to(own)


def importable() -> None:
    """Let the folder's modules be imported, behind all others: none takes the place of an installed one."""
    own = folder()
    if own is not None and str(own) not in sys.path:
        sys.path.append(str(own))
