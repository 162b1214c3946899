"""What is in a video, by a file of `python -m src.export format=onnx`: needs onnxruntime, numpy and av, nothing else.

python onnx_predict.py network.onnx clip.mp4
"""

import json
import sys

import av
import numpy as np
import onnxruntime


def read_frames(path):
    """All frames of a video, upright: T, H, W, 3 uint8; and how many there are in a second."""
    with av.open(path) as container:
        stream = container.streams.best("video")
        frames = [np.rot90(f.to_ndarray(format="rgb24"), f.rotation // 90) for f in container.decode(stream)]
        return np.stack(frames), float(stream.average_rate or 0)


def clips_of(number, fps, clip):
    """Lists of the frames that make the clips of a video with this number of frames."""
    length, rate = clip["frames"], clip.get("fps")
    if clip.get("sampling") == "segments":  # the centre of each of as many parts as a clip has frames
        edges = np.arange(length + 1) * number // length
        return [edges[:-1] + np.maximum(1, np.diff(edges)) // 2]
    stride = clip["stride"] * fps / rate if rate else clip["stride"]
    span = int((length - 1) * stride + 1e-6) + 1
    # Clips follow one another; a rest that is shorter than a clip is left out, and a short video starts over.
    count = int(max(0, number - span) / (length * stride) + 1e-6) + 1
    offsets = np.floor(stride * np.arange(length) + 1e-6).astype(int)
    return [(int(i * length * stride + 1e-6) + offsets) % number for i in range(count)]


def centre_window(width, height, clip):
    """(left, top, right, bottom) of the centre crop, in pixels of a frame of this size."""
    if clip["keep_aspect"]:  # the short side is brought to the frame size's height
        scale = clip["frame_size"][1] / min(width, height)
        size = round(width * scale), round(height * scale)
    else:
        size = clip["frame_size"]
    edges = []
    for virtual, real in zip(size, (width, height), strict=True):
        start = (virtual - clip["crop"]) // 2
        first = min(real - 1, round(start * real / virtual))
        edges.append((first, min(real, max(first + 1, round((start + clip["crop"]) * real / virtual)))))
    (left, right), (top, bottom) = edges
    return left, top, right, bottom


def filter_matrix(before, after):
    """(after, before): bilinear resizing with antialiasing along one axis, as a matrix."""
    scale = before / after
    support = max(scale, 1.0)
    centres = (np.arange(after) + 0.5) * scale - 0.5
    weights = np.maximum(0, 1 - np.abs(np.arange(before)[None] - centres[:, None]) / support)
    return weights / weights.sum(1, keepdims=True)


def make_clip(frames, clip):
    """Frames (T, H, W, 3) as the network takes them: 3, T, crop, crop uint8."""
    left, top, right, bottom = centre_window(frames.shape[2], frames.shape[1], clip)
    cut = frames[:, top:bottom, left:right].astype(np.float32)
    rows, columns = filter_matrix(bottom - top, clip["crop"]), filter_matrix(right - left, clip["crop"])
    resized = np.einsum("ah,bw,thwc->ctab", rows, columns, cut, optimize=True)  # T H W C → C T crop crop
    return np.clip(np.rint(resized), 0, 255).astype(np.uint8)


def main(model, video, top=5):
    session = onnxruntime.InferenceSession(model, providers=["CPUExecutionProvider"])
    said = session.get_modelmeta().custom_metadata_map
    classes, clip = json.loads(said["classes"]), json.loads(said["clip"])
    if said["modality"] != "rgb":
        sys.exit(f"{model} takes optical flow, and this script reads RGB")
    frames, fps = read_frames(video)
    logits = []
    for indices in clips_of(len(frames), fps, clip):
        (scores,) = session.run(None, {"clip": make_clip(frames[indices], clip)[None]})
        logits.append(scores[0])
    mean = np.mean(logits, axis=0)
    shares = np.exp(mean - mean.max()) / np.exp(mean - mean.max()).sum()
    for index in np.argsort(-shares)[:top]:
        print(f"{shares[index]:.4f}  {classes[index]}")


if __name__ == "__main__":
    main(*sys.argv[1:3])
