"""Features on disk: for each phase a folder named by what they depend on, and in it a file (a shard) for each video.

    <root>/<key>/description.json      what these features depend on                       src/frozen/key.py
    <root>/<key>/ab/<30 digits>.safetensors
        "0", "1", …      for each pathway the features of the video's V views:
                         tokens (V, T, C) or maps (V, C, T, H, W), float32 or float16
        metadata         video: SHA-256 of the video; checksum: SHA-256 of the tensors

A shard is written under a temporary name and renamed. One that is cut off, changed or of another shape counts as
missing and is computed again; so does that of a video which has changed, because its name follows from the content.
"""

import hashlib
from collections.abc import Sequence
from contextlib import AbstractContextManager
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
from src.text import first_line

Maps = list[Tensor]  # for each pathway V, C, T, H, W; of tokens H and W are 1


class Store:
    """The features of one phase.

    root: of all features.
    description: what they depend on.
    shapes: of one view, for each pathway C, T, H, W.
    views: how many each video has; None: as many as there are.
    """

    def __init__(
        self,
        root: Path,
        description: dict[str, Any],
        contents: Contents,
        shapes: Sequence[tuple[int, ...]],
        views: int | None,
    ) -> None:
        self.folder = root / key(description)
        self.description = description
        self.contents = contents
        self.shapes = [tuple(shape) for shape in shapes]
        self.views = views
        self.tokens = description["keep"] == "tokens"
        self.dtype = {"float32": torch.float32, "float16": torch.float16}[description["dtype"]]

    @property
    def bytes_per_view(self) -> int:
        """Of one view on disk."""
        return sum(torch.Size(shape).numel() for shape in self.shapes) * self.dtype.itemsize

    def path(self, video: Video) -> Path:
        """Where the features of a video are kept.

        Raises:
            UnreadableVideoError: the video is not there.
        """
        identity = f"{self.contents.sha256(video)} {video.name}"
        name = hashlib.sha256(identity.encode("utf-8", "surrogateescape")).hexdigest()[:32]
        return self.folder / name[:2] / f"{name[2:]}.safetensors"

    def has(self, video: Video) -> bool:
        """Whether there is a shard, sound or not."""
        return self.path(video).is_file()

    def load(self, video: Video) -> Maps | None:
        """The features of a video's views; None where they are missing or damaged."""
        path = self.path(video)
        try:
            tensors, about = safetensors.read_with_metadata(path)
        except (OSError, UserError):
            return None
        maps = [tensors[name] for name in sorted(tensors)]
        if about != self._about(video, maps) or not self._fits(maps):
            return None
        return [as_map(one) for one in maps] if self.tokens else maps

    def save(self, video: Video, maps: Maps) -> None:
        """Keep the features of a video, whole or not at all.

        Raises:
            UserError: the disk is full or read-only.
        """
        kept = [as_tokens(one) for one in maps] if self.tokens else list(maps)
        kept = [one.to(self.dtype).contiguous() for one in kept]
        try:
            if not (self.folder / "description.json").is_file():
                files.write_json(self.folder / "description.json", self.description)
            tensors = {str(number): one for number, one in enumerate(kept)}
            with files.replacing(self.path(video)) as temporary:
                safetensors.write(temporary, tensors, self._about(video, kept))
        except OSError as error:
            raise unwritable(self.folder, error) from error

    def claim(self, video: Video) -> AbstractContextManager[bool]:
        """A lock that one process at a time holds while it computes the features of a video."""
        return files.locked(self.lock(video), patience=0)

    def lock(self, video: Video) -> Path:
        """The file of that lock."""
        path = self.path(video)
        return path.with_name(f".{path.stem}.lock")

    def _about(self, video: Video, kept: Maps) -> dict[str, str]:
        digest = hashlib.sha256()
        for one in kept:
            digest.update(f"{one.dtype} {tuple(one.shape)}".encode())
            digest.update(one.numpy().data)
        return {"video": self.contents.sha256(video), "checksum": digest.hexdigest()}

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


def unwritable(folder: Path, error: OSError) -> UserError:
    """What to say where features cannot be written."""
    return UserError(
        f"{folder}: features cannot be written ({first_line(error)}); what is there is kept: make room, or set "
        "features.root to another folder, features.dtype=float16 takes half the room, features.cache=false none"
    )
