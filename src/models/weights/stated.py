"""Layouts of files that nobody here knows: said in YAML, beside the network or the file that they belong to.

    layout:
      name: somebody's release             # for messages
      prefix: encoder.                     # in front of every name; taken off
      rename: { '^blocks\\.': 'backbone.blocks.', '^head\\.': 'classifier.' } # regular expressions, in order
      leave_out: ['^decoder\\.']           # of the names in the file; everything else has to fit
      pretrained: true                     # a backbone with its own classifier: head and reduction keep initial values

Names here begin with backbone., pooling. or classifier.; what a network has is what its state dict says.
"""

import re
from collections.abc import Mapping
from typing import Any

from src.errors import UserError
from src.models.weights.layouts import Layout, Rules
from src.text import listed, printable

NAME = "the file's own layout"
KEYS = ("name", "prefix", "rename", "leave_out", "pretrained")


def stated(weights: Mapping[str, Any]) -> Layout | None:
    """The layout that a `weights` configuration states, for its file or in its published source.

    Raises:
        UserError: it is not of the form above.
    """
    said = weights.get("layout") or (weights.get("source") or {}).get("layout")
    return None if said is None else layout_of(said)


def layout_of(said: Any) -> Layout:
    """A layout out of its mapping.

    Raises:
        UserError: it is not of the form above.
    """
    if not isinstance(said, Mapping):
        raise UserError(f"weights.layout={printable(said)[:80]}: give a mapping of {', '.join(KEYS)}")
    unknown = [str(key) for key in said if key not in KEYS]
    if unknown:
        raise UserError(f"weights.layout has no {listed(unknown)}; it takes {', '.join(KEYS)}")
    name, prefix = said.get("name", NAME), said.get("prefix", "")
    pretrained = said.get("pretrained", True)
    if not isinstance(name, str) or not isinstance(prefix, str) or not isinstance(pretrained, bool):
        raise UserError("weights.layout: name and prefix are texts, pretrained is true or false")
    rename = said.get("rename") or {}
    if not isinstance(rename, Mapping) or not all(isinstance(text, str) for text in rename.values()):
        raise UserError("weights.layout.rename is a mapping of regular expressions to what takes their place")
    leave_out = said.get("leave_out") or []
    if isinstance(leave_out, str | Mapping) or not all(isinstance(text, str) for text in leave_out):
        raise UserError("weights.layout.leave_out is a list of regular expressions")
    rules: Rules = tuple((str(pattern), text) for pattern, text in rename.items())
    for pattern, text in (*rules, *((pattern, "") for pattern in leave_out)):
        try:
            re.sub(pattern, text, "")
            re.compile(pattern).sub(text, pattern)
        except (re.error, IndexError) as error:
            raise UserError(f"weights.layout: {printable(pattern)[:80]} → {printable(text)[:80]}: {error}") from None
    if prefix:
        # A name without the prefix has no place here; one with it loses it before the rules.
        rules = ((rf"^(?!{re.escape(prefix)})", "\0"), (rf"^{re.escape(prefix)}", ""), *rules)
    return Layout(name, None, (), rules, pretrained, has_flow=True, leave_out=tuple(leave_out))
