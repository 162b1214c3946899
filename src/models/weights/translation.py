"""A checkpoint's tensors by our names and in our form, whatever layout they were saved in."""

import math
from collections.abc import Mapping

import torch
from torch import Tensor

from src.errors import UserError
from src.models.recognizer import Recognizer
from src.models.weights import layouts
from src.models.weights.layouts import OWN, Layout
from src.models.weights.reading import shown
from src.text import listed

LINEAR = "pooling.heads.0.linear."
LINEAR_OF_NONLOCAL = "pooling.heads.0.concat.linear."

Named = dict[str, tuple[str, Tensor]]  # our name → name in the checkpoint, tensor


def translate(
    state: Mapping[str, Tensor], recognizer: Recognizer, layout: Layout | None = None
) -> tuple[Layout, Named]:
    """A checkpoint's layout, and its tensors by our names.

    layout: where somebody has said which one it is; else it is recognised.

    Raises:
        UserError: an unknown layout, another architecture, or tensors that the layout does not have.
    """
    names = layouts.strip_prefixes(state)
    layout = layout or layouts.recognise(set(names.values()), recognizer.backbone)
    if layout is None:
        examples = listed([shown(name) for name in state]) or "no tensors at all"
        raise UserError(f"the checkpoint has no known layout (it holds {examples}); say it with weights.layout")
    if layout.backbone is not None and not isinstance(recognizer.backbone, layout.backbone):
        raise UserError(
            f"the checkpoint is for {layout.backbone.__name__} (layout of {layout.name}), the network has "
            f"{type(recognizer.backbone).__name__}; choose the model that the checkpoint belongs to"
        )
    named: Named = {}
    unknown = []
    for theirs, name in names.items():
        if layout.leaves_out(name):
            continue
        tensor = state[theirs]
        ours = name if layout is OWN else layout.target(name)
        if ours is None:
            unknown.append(f"{shown(theirs)} {tuple(tensor.shape)}")
            continue
        if layout is not OWN and not layout.pretrained:
            ours, tensor = into_place(ours, tensor, recognizer)
        if ours.startswith("classifier.") and tensor.ndim == 5:
            tensor = tensor.flatten(1)  # a 1×1×1 convolution (K, D, 1, 1, 1) → (K, D)
        # Where a file names one tensor twice the later one counts.
        named.pop(ours, None)
        named[ours] = (theirs, tensor)
    if unknown:
        raise UserError(f"the checkpoint (layout of {layout.name}) has tensors of unknown use: {listed(unknown)}")
    return layout, named


def into_place(name: str, tensor: Tensor, recognizer: Recognizer) -> tuple[str, Tensor]:
    """Our name and form of an authors' tensor whose place follows from the network, not from its name."""
    for block, place in recognizer.backbone.replaced.items():
        if name.startswith(f"backbone.{block}"):
            return f"backbone.{place}" + name.removeprefix(f"backbone.{block}"), tensor
    if name.startswith(LINEAR):
        nonlocal_name = name.replace(LINEAR, LINEAR_OF_NONLOCAL)
        if nonlocal_name in recognizer.state_dict():
            name = nonlocal_name
        channels = recognizer.backbone.channels[0]
        if tensor.ndim == 2 and tensor.shape[1] % channels == 0:
            # They lay the tokens side by side channel by channel: (out, C·T) → (out, C, T) → (out, T·C)
            tensor = torch.unflatten(tensor, 1, (channels, -1)).transpose(1, 2).flatten(1)
    return name, tensor


def assemble(named: Named) -> dict[str, Tensor]:
    """The tensors by our names, with what differs in the authors' heads brought into our form.

    Raises:
        UserError: query, key and value that do not make one tensor.
    """
    tensors: dict[str, Tensor] = {}
    thirds: dict[str, dict[str, Tensor]] = {}
    for name, (_, tensor) in named.items():
        whole, _, part = name.partition("#")
        if part:
            thirds.setdefault(whole, {})[part] = tensor
        elif layouts.UNBIASED_SCALE.search(name):
            tensors[layouts.UNBIASED_SCALE.sub(".weight", name)] = _biased_scale(tensor)
        else:
            tensors[name] = tensor
    for whole, parts in thirds.items():
        ordered = [parts[part] for part in sorted(parts)]
        if ordered[0].ndim == 0 or len({part.shape[1:] for part in ordered}) > 1:
            raise UserError(f"the checkpoint's query, key and value for {shown(whole)} do not fit together")
        tensors[whole] = torch.cat(ordered)  # query, key, value: 3 × (C, C) → (3·C, C)
    return tensors


def _biased_scale(scale: Tensor) -> Tensor:
    """Their layer norm divides by the unbiased deviation, which is larger by sqrt(C / (C - 1)), (C,) → (C,)."""
    width = max(scale.numel(), 1)
    return scale * math.sqrt((width - 1) / width)
