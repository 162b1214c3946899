"""Features on disk: for each phase a folder named by what they depend on, and in it a file (a shard) for each video.

    <root>/<key>/description.json      what these features depend on                       src/frozen/key.py
    <root>/<key>/ab/<30 digits>.safetensors
        "0", "1", …      for each pathway the features of the video's V views:
                         tokens (V, T, C) or maps (V, C, T, H, W), float32 or float16
        metadata         features, video: the names of the folder and of the file; checksum: SHA-256 of the tensors
    <root>/<key>/ab/.<30 digits>.lock  while a process computes them

A shard is written under a temporary name and renamed. One that is cut off, changed, of another shape or another's
counts as missing and is computed again; so does that of a video which has changed: the name of its file follows from
the video's content, its name, and the number of frames that an inventory or a list of videos gives it.
"""

import contextlib
import hashlib
import json
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch
from torch import Tensor

from src import files
from src.data.annotations import Video
from src.errors import UserError
from src.frozen.contents import Contents
from src.frozen.key import key
from src.models.weights import safetensors
from src.text import first_line, printable

DESCRIPTION = "description.json"
Maps = list[Tensor]  # for each pathway V, C, T, H, W; of tokens H and W are 1


class Store:
    """The features of one phase.

    root: of all features.
    description: what they depend on.
    shapes: of one view, for each pathway C, T, H, W.
    views: how many each video has; None: as many as there are.
    unmirrored: labels whose clips are never mirrored, though others are.
    """

    def __init__(
        self,
        root: Path,
        description: dict[str, Any],
        contents: Contents,
        shapes: Sequence[tuple[int, ...]],
        views: int | None,
        unmirrored: frozenset[int] = frozenset(),
    ) -> None:
        self.folder = root / key(description)
        self.description = description
        self.contents = contents
        self.shapes = [tuple(shape) for shape in shapes]
        self.views = views
        self.unmirrored = unmirrored
        self.tokens = description["keep"] == "tokens"
        self._described = False
        self.dtype = {"float32": torch.float32, "float16": torch.float16}[description["dtype"]]

    @property
    def bytes_per_view(self) -> int:
        """Of one view on disk."""
        return sum(torch.Size(shape).numel() for shape in self.shapes) * self.dtype.itemsize

    def identity(self, video: Video) -> str:
        """32 hex digits of all of a video that its features depend on.

        Raises:
            UnreadableVideoError: the video is not there.
        """
        what = f"{self.contents.sha256(video)} {video.frames} {video.in_order} {video.name}"
        if video.label in self.unmirrored:
            what = f"unmirrored {what}"
        return hashlib.sha256(what.encode("utf-8", "surrogateescape")).hexdigest()[:32]

    def path(self, identity: str) -> Path:
        """Where the features of a video are kept."""
        return self.folder / identity[:2] / f"{identity[2:]}.safetensors"

    def has(self, identity: str) -> bool:
        """Whether there is a shard, sound or not."""
        return self.path(identity).is_file()

    def load(self, identity: str) -> Maps | None:
        """The features of a video's views; None where they are missing or damaged."""
        try:
            tensors, about = safetensors.read_with_metadata(self.path(identity))
        except (OSError, UserError):
            return None
        maps = [tensors[name] for name in sorted(tensors)]
        if about != self._about(identity, maps) or not self._fits(maps):
            return None
        return [as_map(one) for one in maps] if self.tokens else maps

    def save(self, identity: str, maps: Maps) -> None:
        """Keep the features of a video, whole or not at all.

        Raises:
            UserError: the disk is full or read-only; a number is too large for float16.
        """
        kept = [as_tokens(one) for one in maps] if self.tokens else list(maps)
        kept = [one.to(self.dtype).contiguous() for one in kept]
        if not all(bool(one.isfinite().all()) for one in kept):
            raise UserError(
                f"{self.folder}: features are not finite, or too large for features.dtype={self.description['dtype']}; "
                "take features.dtype=float32 features.precision=32-true, or look at the weights"
            )
        with unwritable(self.folder):
            self._describe()
            with files.replacing(self.path(identity)) as temporary:
                tensors = {str(number): one for number, one in enumerate(kept)}
                safetensors.write(temporary, tensors, self._about(identity, kept))

    def remove(self, identity: str) -> None:
        """Make room for features that are computed again.

        Raises:
            UserError: the folder is read-only.
        """
        with unwritable(self.folder):
            self.path(identity).unlink(missing_ok=True)

    @contextmanager
    def claim(self, identity: str) -> Iterator[bool]:
        """Within the block no other process computes the features of this video; False where one is at it now.

        What a process that was killed meanwhile has left of it is removed.

        Raises:
            UserError: the folder cannot be written.
        """
        path = self.path(identity)
        lock = path.with_name(f".{path.stem}.lock")
        with unwritable(self.folder), files.locked(lock, patience=0, remove=True) as taken:
            if taken:
                for leftover in path.parent.glob(f".{path.stem}.*{files.UNFINISHED}{path.suffix}"):
                    leftover.unlink(missing_ok=True)
            yield taken

    def remove_leftovers(self) -> None:
        """Remove what killed processes have left; a lock tells it from what others are writing, on any machine."""
        with contextlib.suppress(UserError):  # a read-only folder is good enough to read
            for path in self.folder.glob("*/.*"):
                with self.claim(path.parent.name + path.name.split(".")[1]):
                    pass
            files.remove_leftovers(self.folder, f".{Path(DESCRIPTION).stem}.*")

    def _describe(self) -> None:
        """Write down what these features depend on, for people: nothing reads it."""
        path = self.folder / DESCRIPTION
        if not self._described:
            text = json.dumps(self.description, indent=2) + "\n"
            if not path.is_file() or path.read_bytes() != text.encode():
                files.write_text(path, text)
        self._described = True

    def _about(self, identity: str, kept: Maps) -> dict[str, str]:
        digest = hashlib.sha256()
        for one in kept:
            digest.update(f"{one.dtype} {tuple(one.shape)}".encode())
            digest.update(one.numpy().data)
        return {"features": self.folder.name, "video": identity, "checksum": digest.hexdigest()}

    def _fits(self, kept: Maps) -> bool:
        """Whether shards have the shapes and the type that they must have."""
        views = {len(one) for one in kept if one.ndim}
        if len(kept) != len(self.shapes) or len(views) != 1 or views == {0}:
            return False
        if self.views is not None and views != {self.views}:
            return False
        for one, (channels, time, *place) in zip(kept, self.shapes, strict=True):
            expected = (time, channels) if self.tokens else (channels, time, *place)
            if one.shape[1:] != expected or one.dtype != self.dtype:
                return False
        return True


def as_tokens(feature_map: Tensor) -> Tensor:
    """A map of one position as tokens: (V, C, T, 1, 1) → (V, T, C)."""
    return feature_map.flatten(2).transpose(1, 2)  # V, C, T, 1, 1 → V, C, T → V, T, C


def as_map(tokens: Tensor) -> Tensor:
    """Tokens as a map of one position: (V, T, C) → (V, C, T, 1, 1)."""
    return tokens.transpose(1, 2)[..., None, None]  # V, T, C → V, C, T → V, C, T, 1, 1


@contextmanager
def unwritable(folder: Path) -> Iterator[None]:
    """Within the block an error of the disk is one line about this folder of features.

    Raises:
        UserError: says what can be done.
    """
    try:
        yield
    except OSError as error:
        where = error.filename or folder
        raise UserError(
            f"{printable(where)}: features cannot be written ({first_line(error)}); what is there is kept: make room "
            "or check the permissions, or set features.root to another folder; features.dtype=float16 takes half of it"
        ) from error
