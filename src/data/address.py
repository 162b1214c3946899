"""Where video comes from that is no file: addresses and cameras."""

import os
import re
import stat

ADDRESS = re.compile(r"(rtsps?|rtmps?|rtp|srt|udp|tcp|https?)://", re.IGNORECASE)
LIVE = re.compile(r"(rtsps?|rtmps?|rtp|srt|udp)://", re.IGNORECASE)  # what is not fetched in time is lost anyway


def is_stream(source: str) -> bool:
    """Whether this is an address or a camera: it may have no end, and cannot be looked at twice."""
    return ADDRESS.match(source) is not None or _is_device(source)


def is_live(source: str) -> bool:
    """Whether frames come at their own pace, whoever waits for them."""
    return LIVE.match(source) is not None or _is_device(source)


def without_password(source: str) -> str:
    """An address as it may be printed."""
    return re.sub(r"(?<=://)[^/@\s]*@", "…@", source) if ADDRESS.match(source) else source


def _is_device(path: str) -> bool:
    try:
        return stat.S_ISCHR(os.stat(path).st_mode)  # noqa: PTH116 - Path raises on long names
    except (OSError, ValueError):
        return False
