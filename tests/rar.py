"""A writer of plain .rar archives (format 4, nothing compressed), for tests of what reads them."""

import struct
import zlib
from pathlib import Path

MARK = b"Rar!\x1a\x07\x00"
UNIX, STORED, VERSION = 3, 0x30, 20
HAS_DATA = 0x8000


def _block(kind: int, flags: int, body: bytes) -> bytes:
    """CRC (16 bits of it), type, flags, size of the header, body."""
    rest = struct.pack("<BHH", kind, flags, 7 + len(body)) + body
    return struct.pack("<H", zlib.crc32(rest) & 0xFFFF) + rest


def write_rar(path: Path, files: dict[str, bytes], modes: dict[str, int] | None = None) -> Path:
    """Write `files` (name within the archive → content) to `path`; `modes` gives Unix modes other than 0644."""
    parts = [MARK, _block(0x73, 0, bytes(6))]
    for name, content in files.items():
        encoded = name.replace("/", "\\").encode()  # the format's own separator
        mode = (modes or {}).get(name, 0o100644)
        size, time = len(content), 0x5A210000  # 2025-01-01 as MS-DOS writes it
        fields = (size, size, UNIX, zlib.crc32(content), time, VERSION, STORED, len(encoded), mode)
        header = struct.pack("<IIBIIBBHI", *fields) + encoded
        parts += [_block(0x74, HAS_DATA, header), content]
    parts.append(_block(0x7B, 0x4000, b""))
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(b"".join(parts))
    return path
