"""What an exported file says of the network in it: texts by name, the same in every format."""

import dataclasses
import json
import typing
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from src.config import ClipSpec
from src.errors import UserError
from src.plugins import Plugins
from src.runs.records import DamagedError, typed
from src.text import first_line

FORM = 1  # raise it when a field changes its name or meaning
LONGEST = 1 << 24  # characters of all fields; a file that says more is not one of ours


@dataclass(frozen=True)
class Exported:
    """The network in a file.

    classes: names of its outputs.
    clip: the clips that it takes, uint8 (N, C, T, H, W); the file normalises them.
    precision: of its weights; it computes in float32.
    weights, sha256: the file that its weights were read from.
    identity: of the run that trained it; None for other weights.
    overrides: what composes the network from conf/.
    plugins: and from the user's own folder, where it was composed with one.
    """

    form: int
    title: str
    classes: list[str]
    modality: str
    clip: ClipSpec
    precision: str
    licence: str
    weights: str
    sha256: str
    identity: str | None
    overrides: list[str]
    versions: dict[str, str]
    plugins: Plugins | None = None

    def fields(self) -> dict[str, Any]:
        """As plain values."""
        return dataclasses.asdict(self)

    def texts(self) -> dict[str, str]:
        """As a file keeps it: plain texts, and JSON for everything else."""
        return {name: value if name in PLAIN else json.dumps(value) for name, value in self.fields().items()}


PLAIN = {field.name for field in dataclasses.fields(Exported) if field.type is str}


def understood(texts: Mapping[str, str], file: Path) -> Exported:
    """What the texts of a file say.

    Raises:
        UserError: they are not those of an export, or of another version.
    """
    if not all(isinstance(text, str) for text in texts.values()):
        raise DamagedError(file, "what it says of its network is not text")
    if sum(len(text) for text in texts.values()) > LONGEST:
        raise DamagedError(file, "what it says of its network is too long")
    if "form" not in texts:
        raise UserError(f"{file}: it does not say which network it holds; give a file that src.export has written")
    if texts["form"] != str(FORM):
        raise UserError(f"{file}: written by another version (form {texts['form'][:20]}, this one reads {FORM})")
    hints = typing.get_type_hints(Exported)
    content: dict[str, Any] = {}
    try:
        for name, text in texts.items():
            if name in hints:
                content[name] = text if name in PLAIN else json.loads(text)
        known: Exported = typed(content, Exported)
    except (TypeError, ValueError, RecursionError) as error:
        raise DamagedError(file, f"what it says of its network: {first_line(error)}") from None
    clip = known.clip
    if not known.classes or min(clip.frames, clip.stride, clip.crop, *clip.frame_size) < 1:
        raise DamagedError(file, "it names no classes, or a clip without frames")
    return known
