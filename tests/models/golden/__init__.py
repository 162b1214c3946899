"""Reference numbers of the published networks.

`layouts.json.gz`: for each public checkpoint its `state_dict` (tensor name → shape, in file order), `wrapper` (the
key that it lies under in the file, or null), `input` (C, T, H, W of its clip) and number of `parameters`.

`numbers.json.gz`: what the published network answers when its checkpoint is filled by `fill.fill_state_dict` and
its input is `fill.clip(input)`: logits, or the last feature maps averaged over time and space (slow, then fast), in
eval mode and with every batch norm on the batch's own statistics. Equal means: off by at most 1e-3 of the standard
deviation of the reference.
"""

import functools
import gzip
import json
from pathlib import Path
from typing import Any


@functools.cache
def layouts() -> dict[str, Any]:
    return json.loads(gzip.decompress((Path(__file__).parent / "layouts.json.gz").read_bytes()))


@functools.cache
def numbers() -> dict[str, Any]:
    return json.loads(gzip.decompress((Path(__file__).parent / "numbers.json.gz").read_bytes()))
