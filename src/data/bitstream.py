"""What the coded pictures themselves say about where decoding may begin.

Containers flag a packet as keyframe on somebody's word: recovery points of intra refresh, single I-frames and wrong
sync-sample tables look like the real ones there.
"""

from collections.abc import Iterator

SetUp = bytes  # what a keyframe says of the pictures to come; b"" where it says nothing new
NAL_START = b"\x00\x00\x01"
H264_KEY, H264_SETS = {5}, {7, 8, 13}  # NAL types: IDR; SPS, PPS, SPS extension
H264_PICTURES = set(range(1, 6))
HEVC_KEY, HEVC_SETS = set(range(16, 22)), {32, 33, 34}  # BLA, IDR, CRA; VPS, SPS, PPS
HEVC_PICTURES = set(range(32))
MPEG4_LAYER = tuple(NAL_START + bytes([code]) for code in range(0x20, 0x30))  # holds the size
MPEG4_PICTURE = NAL_START + b"\xb6"
JPEG_SIZE = tuple(b"\xff" + bytes([code]) for code in (0xC0, 0xC1, 0xC2))  # baseline, extended, progressive
VP9_SYNC = b"\x49\x83\x42"
CODECS = ("h264", "hevc", "mpeg4", "vp8", "vp9", "mjpeg")


def length_bytes(codec: str, extradata: bytes | None) -> int:
    """How many bytes tell the length of a NAL unit (mp4, Matroska); 0 where start codes part them."""
    place = {"h264": 4, "hevc": 21}.get(codec)
    if place is None or not extradata or extradata[0] != 1 or len(extradata) <= place:
        return 0
    return (extradata[place] & 3) + 1


def keyframe(codec: str, packet: bytes, length: int = 0) -> SetUp | None:
    """The set-up that a packet states if decoding may begin at it, else None.

    Args:
        codec: one of CODECS.
        length: what `length_bytes` says.
    """
    if codec == "h264":
        units = [(unit[0] & 31, unit) for unit in nal_units(packet, length) if unit]
        return _parameter_sets(units, H264_PICTURES, H264_KEY, H264_SETS)
    if codec == "hevc":
        units = [(unit[0] >> 1 & 63, unit) for unit in nal_units(packet, length) if unit]
        return _parameter_sets(units, HEVC_PICTURES, HEVC_KEY, HEVC_SETS)
    if codec == "mpeg4":
        return _mpeg4(packet)
    if codec == "vp8":  # 3 bytes of header, 3 of start code, 4 of size
        return packet[6:10] if len(packet) > 10 and not packet[0] & 1 else None
    if codec == "vp9":  # profile 0: 4 bits of colour and 32 of size after the start code
        is_key = len(packet) > 9 and packet[0] >> 2 == 0b100000 and packet[1:4] == VP9_SYNC
        return packet[4:8] + bytes([packet[8] & 0xF0]) if is_key else None
    if codec == "mjpeg":
        places = [place for place in (packet.find(code) for code in JPEG_SIZE) if place >= 0]
        return packet[min(places) + 5 : min(places) + 9] if places else None
    return None


def is_shown(codec: str, packet: memoryview) -> bool:
    """False for a packet that only prepares pictures to come (alternate references of VP8 and VP9)."""
    if codec == "vp8":
        return bool(packet[0] & 0b10000)
    if codec == "vp9":
        is_superframe = packet[-1] & 0xE0 == 0xC0  # a hidden picture and a shown one
        return is_superframe or bool(packet[0] & 0b1010)
    return True


def nal_units(packet: bytes, length: int) -> Iterator[bytes]:
    """The NAL units of an H.264 or HEVC packet."""
    if length:
        place = 0
        while place < len(packet):
            end = place + length + int.from_bytes(packet[place : place + length], "big")
            yield packet[place + length : end]
            place = end
        return
    start = packet.find(NAL_START)
    while start >= 0:
        end = packet.find(NAL_START, start + 3)
        yield packet[start + 3 : end if end >= 0 else len(packet)].rstrip(b"\0")
        start = end


def _parameter_sets(units: list[tuple[int, bytes]], pictures: set[int], keys: set[int], sets: set[int]) -> SetUp | None:
    slices = {kind for kind, _ in units if kind in pictures}
    if not slices or not slices <= keys:
        return None
    return b"".join(unit for kind, unit in units if kind in sets)


def _mpeg4(packet: bytes) -> SetUp | None:
    picture = packet.find(MPEG4_PICTURE)
    if picture < 0 or picture + 4 >= len(packet) or packet[picture + 4] >> 6:  # 0: an I-picture
        return None
    for code in MPEG4_LAYER:
        start = packet.find(code, 0, picture)
        if start >= 0:
            return packet[start : packet.find(NAL_START, start + 4)]
    return b""
