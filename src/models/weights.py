"""Load published and own weights into a recognizer, by the names of their tensors."""

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, cast

import torch
from torch import Tensor, nn

from src.errors import UserError
from src.models import layouts, pickles
from src.models.layouts import OWN, Layout
from src.models.recognizer import Backbone

COUNTER = "num_batches_tracked"  # absent from the files of old PyTorch versions; nothing depends on it
FLOW_WEIGHTS = ("ResNeXt", "I3D")  # backbones that have published flow weights
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
    notes: tuple[str, ...] = field(default=())

    @property
    def summary(self) -> str:
        """One line for the log."""
        parts = [f"{len(self.loaded)} tensors from a checkpoint of {self.layout}"]
        if self.initial:
            parts.append(f"initial values kept in {', '.join(_modules(self.initial))}")
        if self.dropped:
            parts.append(f"left out of the checkpoint: {', '.join(_modules(self.dropped))}")
        return "; ".join((*parts, *self.notes))


def load(recognizer: nn.Module, checkpoint: str | os.PathLike[str] | Mapping[str, Any]) -> Loaded:
    """Fill `recognizer` with the weights of a checkpoint file or state dict, wrapped or not.

    Pretrained backbones leave head and reduction as they are, and lose the block that a reduction replaces. Where
    the number of classes differs the classifier is dropped. Nothing else may be missing or left over.

    Raises:
        UserError: an unknown layout, another architecture, or tensors that do not fit, with names and shapes. The
            recognizer is unchanged then.
    """
    content = checkpoint if isinstance(checkpoint, Mapping) else pickles.read(Path(checkpoint))
    state = pickles.unwrap(content)
    layout, named = translate(state, recognizer)
    expected = recognizer.state_dict()
    dropped: list[str] = []
    notes: list[str] = []
    if layout.pretrained:
        dropped += _drop(named, *(f"backbone.{block}" for block in _replaced(recognizer)))
        notes += _cross_modality(named, expected, layout)
    if _other_classifier(named, expected, recognizer, layout):
        dropped += _drop(named, *CLASSIFIER)
    tensors = assemble(named)
    initial = [name for name in expected if name not in tensors]
    _check(tensors, expected, [name for name in initial if not _may_keep(name, layout, dropped, named)], layout)
    recognizer.load_state_dict(tensors, strict=False)
    initial = [name for name in initial if not name.endswith(COUNTER)]
    return Loaded(layout.name, tuple(tensors), tuple(initial), tuple(dropped), tuple(notes))


def translate(state: Mapping[str, Tensor], recognizer: nn.Module) -> tuple[Layout, dict[str, tuple[str, Tensor]]]:
    """A checkpoint's layout, and its tensors by our names: {ours: (theirs, tensor)}.

    Raises:
        UserError: an unknown layout, another architecture, or tensors that the layout does not have.
    """
    names = layouts.bare(state)
    layout = layouts.recognise(set(names.values()))
    if layout is None:
        shown = ", ".join(list(state)[:5]) or "no tensors at all"
        raise UserError(f"the checkpoint is of no known layout (it holds {shown} …)")
    backbone = type(recognizer.backbone).__name__
    if layout.backbone not in (None, backbone):
        raise UserError(
            f"the checkpoint is for {layout.backbone} (layout of {layout.name}), the network has {backbone}; "
            "choose the model that the checkpoint belongs to"
        )
    named: dict[str, tuple[str, Tensor]] = {}
    unknown = []
    for theirs, name in names.items():
        ours, tensor = name if layout is OWN else layout.target(name), state[theirs]
        if ours is None:
            unknown.append(f"{theirs} {tuple(tensor.shape)}")
            continue
        if not (layout.pretrained or layout is OWN):
            ours, tensor = _into_place(ours, tensor, recognizer)
        if ours.startswith("classifier.") and tensor.ndim == 5:
            tensor = tensor.flatten(1)  # a 1×1×1 convolution (K, D, 1, 1, 1) → (K, D)
        # Where a file names one tensor twice the later one counts.
        named.pop(ours, None)
        named[ours] = (theirs, tensor)
    if unknown:
        raise UserError(f"the checkpoint (layout of {layout.name}) has tensors of unknown use: {_list(unknown)}")
    return layout, named


def assemble(named: Mapping[str, tuple[str, Tensor]]) -> dict[str, Tensor]:
    """The tensors by our names, with what differs in the authors' heads brought into our form."""
    tensors: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for name, (_, tensor) in named.items():
        whole, _, part = name.partition("#")
        if part:
            thirds.setdefault(whole, {})[part] = tensor
        elif layouts.UNBIASED_SCALE.search(name):
            # Their layer norm divides by the unbiased deviation, larger by sqrt(D / (D - 1)).
            width = tensor.numel()
            tensors[layouts.UNBIASED_SCALE.sub(".weight", name)] = tensor * math.sqrt((width - 1) / width)
        else:
            tensors[name] = tensor
    for whole, parts in thirds.items():
        tensors[whole] = torch.cat([parts[part] for part in sorted(parts)])  # query, key, value: 3 × (D, D) → (3·D, D)
    return tensors


def _into_place(name: str, tensor: Tensor, recognizer: nn.Module) -> tuple[str, Tensor]:
    """Bring those of the authors' tensors home whose place follows from the network, not from the name."""
    for block, place in _replaced(recognizer).items():
        if name.startswith(f"backbone.{block}"):
            return f"backbone.{place}" + name.removeprefix(f"backbone.{block}"), tensor
    linear = "pooling.heads.0.linear."
    if name.startswith(linear):
        if f"pooling.heads.0.concat.linear.{name.removeprefix(linear)}" in recognizer.state_dict():
            name = name.replace(linear, "pooling.heads.0.concat.linear.")
        channels = cast(Backbone, recognizer.backbone).channels[0]
        if tensor.ndim == 2 and tensor.shape[1] % channels == 0:
            # They lay the tokens side by side channel by channel: (out, D·T) → (out, D, T) → (out, T·D)
            tensor = tensor.view(len(tensor), channels, -1).transpose(1, 2).flatten(1)
    return name, tensor


def _replaced(recognizer: nn.Module) -> dict[str, str]:
    return cast(dict[str, str], getattr(recognizer.backbone, "replaced", {}))


def _drop(named: dict[str, tuple[str, Tensor]], *prefixes: str) -> list[str]:
    """Take out all tensors whose names start so; their names in the checkpoint."""
    gone = [name for name in named if name.startswith(prefixes)] if prefixes else []
    return [named.pop(name)[0] for name in gone]


def _other_classifier(
    named: Mapping[str, tuple[str, Tensor]],
    expected: Mapping[str, Tensor],
    recognizer: nn.Module,
    layout: Layout,
) -> bool:
    """Whether the checkpoint's classifier is for other classes, or for other features than the network's."""
    if "classifier.weight" not in named:
        return False
    theirs, ours = named["classifier.weight"][1].shape, expected["classifier.weight"].shape
    if theirs[0] != ours[0]:
        return True
    has_own_head = next(cast(nn.Module, recognizer.pooling).parameters(), None) is not None
    return layout.pretrained and (theirs != ours or has_own_head)


def _cross_modality(named: dict[str, tuple[str, Tensor]], expected: Mapping[str, Tensor], layout: Layout) -> list[str]:
    """Give first convolutions of RGB weights two input channels, in place; what was done, in words.

    Channel mean, repeated, times 3/2: the response to a constant input stays (Wang et al., 2016, Section 3.2).
    """
    if layout.backbone in FLOW_WEIGHTS:
        return []
    done = []
    for name, (theirs, tensor) in named.items():
        first = name.startswith("backbone.stem") and tensor.ndim == 5 and name in expected
        if first and (tensor.shape[1], expected[name].shape[1]) == (3, 2):
            named[name] = (theirs, tensor.mean(dim=1, keepdim=True).expand(-1, 2, -1, -1, -1) * 1.5)
            done.append(name)
    return [f"cross-modality initialisation from RGB weights of {', '.join(done)}"] if done else []


def _may_keep(name: str, layout: Layout, dropped: list[str], named: Mapping[str, Any]) -> bool:
    """Whether a tensor that the checkpoint does not have may keep its initial value."""
    if name.endswith(COUNTER) or (name in CLASSIFIER and dropped and name not in named):
        return True
    return layout.pretrained and name.startswith(("pooling.", "backbone.reduction.", "classifier."))


def _check(tensors: Mapping[str, Tensor], expected: Mapping[str, Tensor], missing: list[str], layout: Layout) -> None:
    """UserError that lists all that is missing, left over or of another shape."""
    problems = []
    if missing:
        problems.append("missing: " + _list(f"{name} {tuple(expected[name].shape)}" for name in missing))
    left = [f"{name} {tuple(tensor.shape)}" for name, tensor in tensors.items() if name not in expected]
    if left:
        problems.append("left over: " + _list(left))
    other = [
        f"{name} {tuple(tensor.shape)}, the network has {tuple(expected[name].shape)}"
        for name, tensor in tensors.items()
        if name in expected and tensor.shape != expected[name].shape
    ]
    if other:
        problems.append("of another shape: " + _list(other))
    for name, tensor in tensors.items():
        if name.endswith(".positions") and name in expected and tensor.shape != expected[name].shape:
            theirs, ours = tensor.shape[1] - 1, expected[name].shape[1] - 1
            problems.append(
                f"the position embeddings are for {theirs} time steps, the network has {ours} "
                "(model.clip.frames sets them)"
            )
    if problems:
        raise UserError(f"the checkpoint (layout of {layout.name}) does not fit the network; {'; '.join(problems)}")


def _list(names: Any) -> str:
    return ", ".join(names)


def _modules(names: tuple[str, ...]) -> list[str]:
    """Module names of tensors, each once, cut to two levels so that a line can hold them."""
    return list(dict.fromkeys(".".join(name.removeprefix("module.").split(".")[:-1][:3]) for name in names))
