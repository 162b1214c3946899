"""Whether pictures of an H.264 stream have been lost on the way, told by the numbers that the stream gives them.

Decoders make something up for a lost picture, and each its own. Clauses are those of ITU-T H.264 (08/2021).
"""

from collections.abc import Iterator

from src.data.bitstream import nal_units

SLICE, KEY_SLICE, SEQUENCE = 1, 5, 7  # NAL unit types
DETAILED = {44, 83, 86, 100, 110, 118, 122, 128, 134, 135, 138, 139, 244}  # profiles that state more (7.3.2.1.1)
HEAD = 24  # bytes of a slice that hold its picture's number, and more


class Bits:
    """The bits of a NAL unit, read as numbers (clause 9.1). ValueError where they end too early."""

    def __init__(self, unit: bytes) -> None:
        plain = unit.replace(b"\0\0\3", b"\0\0")
        self._value, self._left = int.from_bytes(plain, "big"), 8 * len(plain)

    def fixed(self, count: int) -> int:
        """A number of `count` bits."""
        self._left -= count
        if self._left < 0:
            raise ValueError("a unit ends in the middle of a number")
        return self._value >> self._left & ((1 << count) - 1)

    def counted(self) -> int:
        """A number that is as long as the zeros before it say: ue(v), and se(v) where only its length matters."""
        zeros = 0
        while not self.fixed(1):
            zeros += 1
        return (1 << zeros) - 1 + self.fixed(zeros)

    def signed(self) -> int:
        """se(v)."""
        code = self.counted()
        return (code + 1) // 2 if code % 2 else -(code // 2)


class Numbering:
    """The pictures of a stream, one after the other in the order of decoding.

    extradata: of the container; length: bytes that tell a unit's length, 0 for start codes.
    """

    def __init__(self, extradata: bytes | None, length: int) -> None:
        self._length = length
        self._bits = 0  # of a picture's number; 0 until a sequence parameter set has told
        self._reference = 0  # number of the last picture that others refer to
        for unit in _units_of(extradata or b"", length):
            self._learn(unit)

    def follows(self, packet: bytes) -> bool:
        """Whether nothing is missing between the last picture and this one; False where that cannot be told."""
        try:
            for unit in nal_units(packet, self._length):
                kind = unit[0] & 31 if unit else 0
                if kind == SEQUENCE:
                    self._learn(unit)
                elif kind in (SLICE, KEY_SLICE):
                    return self._continues(unit[:HEAD], kind)
        except ValueError:
            pass
        return False

    def _continues(self, unit: bytes, kind: int) -> bool:
        """Clause 7.4.3, frame_num: that of the last reference picture, or one more."""
        bits = Bits(unit[1:])
        for _ in ("first macroblock", "type", "picture parameter set"):
            bits.counted()
        if not self._bits:
            return False
        number = bits.fixed(self._bits)
        steps = (number - self._reference) % (1 << self._bits)
        if unit[0] & 0b1100000:  # others refer to it
            self._reference = number
        return kind == KEY_SLICE or steps <= 1

    def _learn(self, unit: bytes) -> None:
        """Clause 7.3.2.1.1 up to log2_max_frame_num."""
        bits = Bits(unit[1:])
        profile = bits.fixed(8)
        bits.fixed(16)
        bits.counted()  # its own number
        if profile in DETAILED:
            chroma = bits.counted()
            if chroma == 3:
                bits.fixed(1)
            bits.counted(), bits.counted()  # depths
            bits.fixed(1)
            if bits.fixed(1):
                for i in range(12 if chroma == 3 else 8):
                    if bits.fixed(1):
                        _skip_scaling_list(bits, 16 if i < 6 else 64)
        self._bits = bits.counted() + 4


def _skip_scaling_list(bits: Bits, size: int) -> None:
    """Clause 7.3.2.1.1.1."""
    last = following = 8
    for _ in range(size):
        if following:
            following = (last + bits.signed()) % 256
        last = following or last


def _units_of(extradata: bytes, length: int) -> Iterator[bytes]:
    """Sequence parameter sets that a container keeps apart."""
    if not length:
        yield from (unit for unit in nal_units(extradata, 0) if unit and unit[0] & 31 == SEQUENCE)
        return
    place = 6
    for _ in range(extradata[5] & 31):  # avcC, ISO/IEC 14496-15
        end = place + 2 + int.from_bytes(extradata[place : place + 2], "big")
        yield extradata[place + 2 : end]
        place = end
