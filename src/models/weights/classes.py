"""How many classes a checkpoint tells apart, and their names where they are known."""

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from src.errors import UserError
from src.models.weights import layouts
from src.models.weights.layouts import OWN, Layout
from src.models.weights.reading import unwrap

KINETICS400 = Path(__file__).with_name("kinetics400.txt")  # alphabetical, as published checkpoints number them


def kinetics400() -> list[str]:
    """The 400 classes of Kinetics-400 (Kay et al., 2017) in the order of the outputs of published networks."""
    return KINETICS400.read_text(encoding="utf-8").splitlines()


def outputs(content: Mapping[str, Any], layout: Layout | None = None) -> tuple[Layout, int]:
    """The layout of a checkpoint, and how many classes its classifier tells apart.

    layout: where somebody has said which one it is.

    Raises:
        UserError: an unknown layout, or a checkpoint without a classifier.
    """
    state = unwrap(content)
    names = layouts.strip_prefixes(state)
    layout = layout or layouts.recognise(set(names.values()))
    if layout is None:
        raise UserError("the checkpoint has no known layout; say it with weights.layout (src/models/weights/stated.py)")
    for theirs, name in names.items():
        ours = name if layout is OWN else layout.target(name)
        if ours == "classifier.weight" and state[theirs].ndim >= 2:
            return layout, len(state[theirs])
    raise UserError(f"the checkpoint (layout of {layout.name}) has no classifier; it can be trained on, but not asked")


def known_names(layout: Layout, number: int) -> list[str] | None:
    """The classes of a published network; None where nobody published them, as those of IG-65M, or their order."""
    names = kinetics400()
    return names if layout.pretrained and layout.marks and number == len(names) else None
