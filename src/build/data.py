"""The data of a configuration."""

import inspect
import logging
import unicodedata
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from omegaconf import DictConfig, OmegaConf

from src.build.devices import decoding_workers
from src.build.instantiate import located
from src.config import ClipSpec
from src.data.annotations import Lists, Video, check_trainable
from src.data.csv_lists import list_file
from src.errors import UsageError, UserError
from src.text import folded, listed

if TYPE_CHECKING:
    from src.data.datamodule import VideoData
    from src.data.mirrored import Mirror

log = logging.getLogger(__name__)
SHOWN = 20  # classes that a message names
NEARLY = 2  # pairs of names that it calls alike


def read_lists(cfg: DictConfig, training: bool = True) -> Lists:
    """The data set's lists of videos. `data.lists._target_` is called with those options of `data` that it names.

    training: there must be videos to train on.

    Raises:
        UserError: something on disk or in the lists is not as it must be.
    """
    reader = located(cfg.data.lists._target_)
    options: Any = OmegaConf.to_container(cfg.data, resolve=True)
    options |= {"modality": cfg.modality.name, "training": training}
    arguments = {name: options[name] for name in inspect.signature(reader).parameters if name in options}
    lists: Lists = reader(**arguments)
    return lists


def build_data(cfg: DictConfig) -> "VideoData":
    """The data of a configuration: lists read, checked against the inventory, and split by the protocol.

    Raises:
        UserError: something on disk or in the lists is not as it must be.
    """
    lists = usable_lists(cfg)
    check_trainable(lists)
    return _video_data(cfg, lists, cfg.protocol.name)


def build_test_data(cfg: DictConfig, classes: Sequence[str]) -> "VideoData":
    """The data of a configuration, to test a network on that tells `classes` apart.

    Raises:
        UserError: as `build_data`; the lists have a class that is not among `classes`.
    """
    lists = with_classes(usable_lists(cfg, training=False), classes)
    return _video_data(cfg, lists, "paper")  # nothing is held out: only the test list is used


def with_classes(lists: Lists, classes: Sequence[str]) -> Lists:
    """The lists with their classes found by name, in either Unicode form, among `classes`; some may be missing.

    Raises:
        UserError: a class is not among them.
    """
    places = {unicodedata.normalize("NFC", name): place for place, name in enumerate(classes)}
    places |= {name: place for place, name in enumerate(classes)}
    number = {name: places.get(name, places.get(unicodedata.normalize("NFC", name), -1)) for name in lists.classes}
    unknown = [name for name, place in number.items() if place < 0]
    if unknown:
        raise UserError(
            f"{lists.root}: the network does not know the classes {listed(unknown, SHOWN)}; it was trained on "
            f"{listed(classes, SHOWN)}{_nearly(unknown, classes)}; rename the classes, leave them out, or set "
            "data.root to the run's own data"
        )

    def relabelled(videos: list[Video]) -> list[Video]:
        found = []
        for video in videos:
            first, *others = sorted(number[lists.classes[label]] for label in video.labels)
            found.append(replace(video, label=first, also=tuple(others)))
        return found

    val = None if lists.val is None else relabelled(lists.val)
    return replace(lists, classes=list(classes), train=relabelled(lists.train), val=val, test=relabelled(lists.test))


def _nearly(unknown: Sequence[str], classes: Sequence[str]) -> str:
    """Which names differ in what is hardly seen."""
    known = {folded(name): name for name in classes}
    pairs = [f"{name!a} is nearly {known[folded(name)]!a}" for name in unknown if folded(name) in known]
    return f" ({', '.join(pairs[:NEARLY])})" if pairs else ""


def usable_lists(cfg: DictConfig, training: bool = True) -> Lists:
    """The lists, checked against the inventory; their classes need be no network's.

    training: there must be videos to train on; false where only the test videos count.

    Raises:
        UserError: as `read_lists`; a video is not there, or cannot be read.
    """
    from src.data.usable import usable

    lists = read_lists(cfg, training)
    if not training:
        lists = replace(lists, train=[], val=None)  # what is wrong with them does not matter
    return usable(lists, cfg.modality.name, cfg.data.on_error, cfg.data.flow)


def _video_data(cfg: DictConfig, lists: Lists, protocol: str) -> "VideoData":
    from src.data.augmentation import Augmentation
    from src.data.datamodule import VideoData  # Lightning and torchvision, which reading lists does without

    recipe, flow = cfg.recipe, cfg.modality.name == "flow"
    return VideoData(
        lists=lists,
        clip=clip_spec(cfg),
        modality=cfg.modality.name,
        decoder=cfg.data.decoder,
        batch_size=cfg.recipe.batch_size,
        workers=decoding_workers(cfg),
        seed=cfg.seed,
        on_error=cfg.data.on_error,
        flip=cfg.data.flip,
        scales=tuple(cfg.data.scales),
        mirror=mirror_of(cfg, lists.classes),
        draws=cfg.features.clips if cfg.freeze.kind == "backbone" else None,
        clips=clip_count(cfg),
        crops=cfg.test.crops,
        view_batch=cfg.test.view_batch,
        protocol=protocol,
        holdout_fraction=cfg.protocol.fraction,
        augmentation=Augmentation(recipe.rand_augment, recipe.rand_magnitude, recipe.erasing, flow),
        balanced=recipe.sampling == "balanced",
        repeats=recipe.repeats,
    )


def mirror_of(cfg: DictConfig, classes: Sequence[str]) -> "Mirror | None":
    """The class that a mirrored clip of each class shows; None where mirroring changes no label.

    Raises:
        UserError: the file of pairs cannot be read, or names other classes.
    """
    from src.data.mirrored import AUTO, NONE, mirror, names_sides

    how = str(cfg.data.get("flip_labels") or NONE)
    if how == NONE and cfg.data.flip:
        pairs = [" and ".join(pair) for pair in names_sides(classes)]
        if pairs:
            exchanged = "" if cfg.data.get("multilabel") else "data.flip_labels=auto exchanges them, "
            log.warning(
                "clips are mirrored and keep their labels, though classes name sides (%s); %sdata.flip=false mirrors "
                "none",
                listed(pairs, NEARLY, separator="; "),
                exchanged,
            )
    return mirror(classes, how, None if how in (AUTO, NONE) else pairs_file(cfg))


def pairs_file(cfg: DictConfig) -> Path:
    """The file that `data.flip_labels` names: below the data root, else as seen from the current folder."""
    return list_file(Path(cfg.data.get("root") or "."), str(cfg.data.flip_labels))


def clip_count(cfg: DictConfig) -> int | None:
    """How many clips of a video are tested; None for all."""
    return None if cfg.test.clips == "all" else int(cfg.test.clips)


def clip_spec(cfg: DictConfig) -> ClipSpec:
    """The clips that the configured network takes.

    Raises:
        UsageError: a frame rate for frames that are spread over the whole video.
    """
    clip = cfg.model.clip
    width, height = clip.frame_size
    if clip.sampling == "segments" and clip.fps is not None:
        raise UsageError(
            f"model.clip.fps={clip.fps}: sampling=segments spreads a clip over the whole video, whatever its rate; "
            "leave model.clip.fps=null, or give sampling=dense"
        )
    return ClipSpec(clip.frames, clip.stride, clip.crop, (width, height), clip.keep_aspect, clip.sampling, clip.fps)
