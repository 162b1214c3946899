"""Load published and own weights into a recognizer, by the names of their tensors."""

import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from torch import Tensor

from src.errors import UserError
from src.models.recognizer import Recognizer
from src.models.weights.layouts import Layout
from src.models.weights.reading import COUNTER, read, shown, unwrap
from src.models.weights.translation import Named, assemble, translate
from src.text import listed

CLASSIFIER = ("classifier.weight", "classifier.bias")


@dataclass(frozen=True)
class Loaded:
    """What became of a checkpoint.

    layout: whose naming scheme it had.
    loaded: our names of the tensors that were set; initial: of those that kept their initial values.
    dropped: the checkpoint's names of tensors that were left out.
    notes: what was changed on the way, one sentence each.
    """

    layout: str
    loaded: tuple[str, ...]
    initial: tuple[str, ...] = ()
    dropped: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()

    @property
    def summary(self) -> str:
        """One line for the log."""
        parts = [f"{len(self.loaded)} tensors from a checkpoint of {self.layout}"]
        if self.initial:
            parts.append(f"initial values kept in {', '.join(_modules(self.initial))}")
        if self.dropped:
            parts.append(f"left out of the checkpoint: {', '.join(_modules(self.dropped))}")
        return "; ".join((*parts, *self.notes))


def load(
    recognizer: Recognizer, checkpoint: str | os.PathLike[str] | Mapping[str, Any], layout: Layout | None = None
) -> Loaded:
    """Fill `recognizer` with the weights of a checkpoint file or state dict, wrapped or not.

    layout: of the checkpoint, where somebody has said it (src/models/weights/stated.py); else it is recognised.

    Pretrained backbones leave head and reduction as they are, and lose the block that a reduction replaces. Where
    the number of classes differs the classifier is dropped. Nothing else may be missing or left over.

    Raises:
        UserError: a file that cannot be read, an unknown layout, another architecture, or tensors that do not fit
            or are not finite, with names and shapes. The recognizer is unchanged then.
    """
    if isinstance(checkpoint, Mapping):
        return _fill(recognizer, checkpoint, layout)
    path = Path(checkpoint)
    content = read(path)
    try:
        return _fill(recognizer, content, layout)
    except UserError as error:
        raise UserError(f"{path}: {error}") from error


def _fill(recognizer: Recognizer, content: Mapping[str, Any], layout: Layout | None) -> Loaded:
    layout, named = translate(unwrap(content), recognizer, layout)
    expected: dict[str, Tensor] = recognizer.state_dict()
    dropped: list[str] = []
    notes: list[str] = []
    if layout.pretrained:
        for block in recognizer.backbone.replaced:
            dropped += _drop(named, f"backbone.{block}")
        notes += _cross_modality(named, expected, layout)
    for part in layout.optional:
        if not any(name.startswith(part) for name in expected):
            _drop(named, part)
    if _other_classifier(named, expected, recognizer, layout):
        dropped += _drop(named, "classifier.")
    tensors = assemble(named)
    initial = [name for name in expected if name not in tensors]
    missing = [name for name in initial if not _may_keep(name, layout, dropped, named)]
    _check_fit(tensors, expected, missing, layout)
    _check_values(tensors, expected)
    recognizer.load_state_dict(tensors, strict=False)
    initial = [name for name in initial if not name.endswith(COUNTER)]
    return Loaded(layout.name, tuple(tensors), tuple(initial), tuple(dropped), tuple(notes))


def _drop(named: Named, prefix: str) -> list[str]:
    """Take out all tensors whose names start so; their names in the checkpoint."""
    gone = [name for name in named if name.startswith(prefix)]
    return [named.pop(name)[0] for name in gone]


def _other_classifier(named: Named, expected: Mapping[str, Tensor], recognizer: Recognizer, layout: Layout) -> bool:
    """Whether the checkpoint's classifier is for other classes, or for other features than the network's."""
    if "classifier.weight" not in named:
        return False
    if layout.pretrained and not recognizer.backbone.own_classifier_fits:
        return True
    theirs = named["classifier.weight"][1].shape
    ours = expected["classifier.weight"].shape
    if theirs[:1] != ours[:1]:
        return True
    has_own_head = next(recognizer.pooling.parameters(), None) is not None
    return layout.pretrained and (theirs != ours or has_own_head)


def _cross_modality(named: Named, expected: Mapping[str, Tensor], layout: Layout) -> list[str]:
    """Give first convolutions of RGB weights two input channels, in place; a note that says so.

    Channel mean, repeated, times 3/2: the response to a constant input stays (Wang et al., 2016, Section 3.2).
    """
    if layout.has_flow:
        return []
    changed = []
    for name, (theirs, tensor) in named.items():
        first = name.startswith("backbone.") and tensor.ndim == 5 and name in expected
        if first and (tensor.shape[1], expected[name].shape[1]) == (3, 2):
            named[name] = (theirs, tensor.mean(dim=1, keepdim=True).expand(-1, 2, -1, -1, -1) * 1.5)
            changed.append(name)
    return [f"cross-modality initialisation from RGB weights of {', '.join(changed)}"] if changed else []


def _may_keep(name: str, layout: Layout, dropped: list[str], named: Named) -> bool:
    """Whether a tensor that the checkpoint does not have may keep its initial value."""
    if name.endswith(COUNTER) or (name in CLASSIFIER and dropped and name not in named):
        return True
    return layout.pretrained and name.startswith(("pooling.", "backbone.reduction.", "classifier."))


def _check_fit(
    tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], missing: list[str], layout: Layout
) -> None:
    """UserError that names what is missing, left over or of another shape."""
    left = []
    unlike = []
    for name, tensor in tensors.items():
        shape = tuple(tensor.shape)
        if name not in expected:
            left.append(f"{shown(name)} {shape}")
        elif tensor.shape != expected[name].shape:
            unlike.append(name)
    other = [f"{name} {tuple(tensors[name].shape)}, the network has {tuple(expected[name].shape)}" for name in unlike]
    problems = []
    if missing:
        problems.append("missing: " + listed([f"{name} {tuple(expected[name].shape)}" for name in missing]))
    if left:
        problems.append("left over: " + listed(left))
    if other:
        problems.append("of another shape: " + listed(other))
    problems += _other_lengths(tensors, expected)
    if any(name.startswith("backbone.") and "pos" in name.rpartition(".")[2] for name in unlike):
        problems.append(
            "its positions are for clips of another size; leave model.clip.frames= and model.clip.crop= out"
        )
    if problems:
        raise UserError(f"the checkpoint (layout of {layout.name}) does not fit the network; {'; '.join(problems)}")


def _other_lengths(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> list[str]:
    """What to do about position embeddings (1, T + 1, C) of another length than the network's."""
    problems = []
    for name, tensor in tensors.items():
        if not name.endswith(".positions") or name not in expected or tensor.ndim != 3:
            continue
        theirs, ours = tensor.shape[1] - 1, expected[name].shape[1] - 1
        if theirs != ours:
            problems.append(
                f"the position embeddings are for {theirs} time steps, the network has {ours} "
                "(model.clip.frames sets them)"
            )
    return problems


def _check_values(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor]) -> None:
    """UserError that names tensors whose values no network can work with."""
    bad = []
    for name, tensor in tensors.items():
        if tensor.is_meta:
            continue
        values = tensor.to(expected[name].dtype)  # a large double becomes infinite here
        if not values.isfinite().all():
            bad.append(f"{name} holds NaN or infinity")
        elif name.endswith("running_var") and (values < 0).any():
            bad.append(f"{name} holds negative variances")
    if bad:
        raise UserError(f"the checkpoint is damaged or its training has diverged: {listed(bad)}; use another one")


def _modules(names: tuple[str, ...]) -> list[str]:
    """Names of the modules that tensors belong to, each once, cut to three levels so that a line can hold them."""
    modules = []
    for name in names:
        levels = name.removeprefix("module.").split(".")[:-1]
        modules.append(".".join(levels[:3]))
    return list(dict.fromkeys(modules))
