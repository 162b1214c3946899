"""Damaged copies of clips: every one ends as readable or as named bad, and whoever asked lives on."""

import numpy as np
import pytest
from src.data import inventory
from src.data.decode import DECODERS, open_video
from src.data.survey import BAD_FILES, find_videos, take_stock

from tests.data.test_decode import largest_difference

SEED = 20200803
LIMIT_S = 30  # for one file; none may come near it


class Quiet:
    def start(self, what, total, done):
        pass

    def advance(self, entry):
        pass


def mutated(content, other, rng):
    """A damaged copy: bytes flipped, cut off, cut out, or spliced with another file."""
    data = bytearray(content)
    kind = ("flip", "head", "cut", "hole", "splice")[rng.integers(5)]
    if kind == "flip":
        for place in rng.integers(0, len(data), int(rng.choice([1, 16, 256, 4096]))):
            data[place] ^= 1 << int(rng.integers(8))
    elif kind == "head":  # sizes, counts and tables stand here
        for place in rng.integers(0, min(4096, len(data)), int(rng.choice([1, 4, 16]))):
            data[place] = int(rng.integers(256))
    elif kind == "cut":
        del data[int(rng.integers(1, len(data))) :]
    elif kind == "hole":
        start = int(rng.integers(len(data)))
        del data[start : start + int(rng.integers(1, 20000))]
    else:
        start, length = int(rng.integers(len(data))), int(rng.integers(1, 50000))
        data[start : start + length] = other[int(rng.integers(len(other))) :][:length]
    return kind, bytes(data)


def check(sources, number, root):
    """Take stock of `number` damaged copies of `sources`; all are accounted for."""
    rng = np.random.default_rng(SEED)
    contents = [path.read_bytes() for path in sources]
    for i in range(number):
        which, other = i % len(sources), int(rng.integers(len(sources)))
        kind, data = mutated(contents[which], contents[other], rng)
        (root / f"{i:03d} {kind} {sources[which].name}").write_bytes(data)
    videos = find_videos(root)
    assert len(videos) == number
    entries = take_stock(root, videos, 2, LIMIT_S, False, Quiet())
    assert set(entries) == set(videos) == set(inventory.load(root))
    listed = [line.split("\t") for line in (root / BAD_FILES).read_text().splitlines()]
    assert [name for name, _ in listed] == sorted(name for name, entry in entries.items() if entry.bad)
    assert all(reason.strip() for _, reason in listed)
    assert not [entry for entry in entries.values() if entry.bad and "took more than" in entry.bad], listed
    for entry in entries.values():
        assert (entry.frames > 0 and entry.size is not None) or entry.bad, entry
    for name, entry in entries.items():
        if not entry.bad:
            check_readers_agree(videos[name], entry)
    return entries


def check_readers_agree(path, entry):
    """Whatever is not bad gives the same frames by both readers, as the inventory says they are to be read."""
    wanted = sorted({0, entry.frames // 3, entry.frames // 2, entry.frames - 1})
    with open_video(path, frames=entry.frames, in_order=True) as reader:
        reference = reader.frames(wanted)
    for decoder in DECODERS:
        with open_video(path, decoder, entry.frames, in_order=entry.in_order) as reader:
            for index, expected in zip(wanted, reference, strict=True):
                assert largest_difference(reader.frames([index])[0], expected) <= 2, (path, index, decoder, entry)


def test_damaged_generated_clips(tmp_path, codecs):
    sources = [path for name, path in codecs.items() if name != "stream.ts"]
    entries = check(sources, 42, tmp_path)
    assert 5 < sum(1 for entry in entries.values() if entry.bad) < 42


@pytest.mark.slow
def test_two_hundred_damaged_clips(tmp_path, codecs, samples_or_none):
    sources = list(codecs.values())
    if samples_or_none:
        small = [path for path in samples_or_none if path.stat().st_size < 2_000_000]
        sources = small[:: max(1, len(small) // 40)]
    entries = check(sources, 200, tmp_path)
    print(sum(1 for entry in entries.values() if entry.bad), "of 200 are bad")


@pytest.fixture
def samples_or_none(request):
    try:
        return request.getfixturevalue("samples")
    except pytest.skip.Exception:
        return []
