"""Files of each kind that somebody may have among their videos."""

import os

import av
import numpy as np

from tests.conftest import write_video


def patched(path, old, new):
    """Replace bytes in a file, so that a header lies or a picture lies on its side."""
    content = path.read_bytes()
    assert old in content
    path.write_bytes(content.replace(old, new, 1))
    return path


def matrix(*values):
    return b"".join(value.to_bytes(4, "big", signed=True) for value in values)


def write_bad_input(root):
    """One file of each kind; name → (frames, part of the reason or None)."""
    one = 1 << 16
    long = write_video(root / "long.avi", 40, codec="mjpeg").read_bytes()
    (root / "truncated.avi").write_bytes(long[: len(long) // 2])
    (root / "empty.mp4").write_bytes(b"")
    (root / "renamed text.avi").write_text("path,label\n" * 400)
    (root / "renamed.mp4").write_text("#!/bin/sh\n")
    with av.open(str(root / "no frames.avi"), "w") as container:
        stream = container.add_stream("mpeg4", rate=25)
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        container.start_encoding()
    (root / "liar.avi").write_bytes(long)
    for _ in range(2):  # avih and strh
        patched(root / "liar.avi", (40).to_bytes(4, "little"), (99).to_bytes(4, "little"))
    write_video(root / "one.mp4", 1)
    write_video(root / "odd size.avi", 5, size=(67, 51), codec="ffv1")
    write_video(root / "4K.mp4", 2, size=(3840, 2160), preset="ultrafast")
    upright, turned = (one, 0, 0, 0, one, 0, 0, 0, 1 << 30), (0, one, 0, -one, 0, 0, 0, 0, 1 << 30)
    patched(write_video(root / "rotated.mp4", 6), matrix(*upright) + (64 << 16).to_bytes(4, "big"),
            matrix(*turned) + (64 << 16).to_bytes(4, "big"))  # fmt: skip
    write_variable(root / "variable rate.mp4", [0, 1, 2, 30, 31, 90, 91, 92])
    write_sound(root / "audio only.mp4")
    write_video(root / "a b;[c] (d) 'e' $f.mp4", 4)
    (root / "circle.avi").symlink_to("circle.avi")
    (root / "nowhere.avi").symlink_to("not there.avi")
    os.mkfifo(root / "pipe.avi")
    return {
        **{"long.avi": (40, None), "one.mp4": (1, None), "odd size.avi": (5, None), "4K.mp4": (2, None)},
        **{"rotated.mp4": (6, None), "variable rate.mp4": (8, None), "a b;[c] (d) 'e' $f.mp4": (4, None)},
        **{"truncated.avi": (0, "truncated"), "empty.mp4": (0, "empty"), "renamed text.avi": (0, "nvalid data")},
        **{"renamed.mp4": (0, ""), "no frames.avi": (0, ""), "liar.avi": (40, None)},
        **{"audio only.mp4": (0, "no video stream"), "circle.avi": (0, "symbolic links")},
        **{"nowhere.avi": (0, "No such file"), "pipe.avi": (0, "not a regular file")},
    }


def write_variable(path, times):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=25, options={"bf": "0"})
        stream.width, stream.height, stream.pix_fmt = 64, 48, "yuv420p"
        for time_ in times:
            frame = av.VideoFrame.from_ndarray(np.full((48, 64, 3), time_, np.uint8), format="rgb24")
            frame.pts = time_
            container.mux(stream.encode(frame))
        container.mux(stream.encode(None))


def write_sound(path):
    with av.open(str(path), "w") as container:
        stream = container.add_stream("aac", rate=16000)
        frame = av.AudioFrame.from_ndarray(np.zeros((1, 1024), np.float32), format="fltp", layout="mono")
        frame.rate = 16000
        for packets in (stream.encode(frame), stream.encode(None)):
            container.mux(packets)
