"""Small trees that look like published data sets after unpacking: real names, list files, codec and oddities.

`python -m tests.lookalikes DIR` writes `DIR/hmdb51`, `DIR/ucf101` and their frame folders `DIR/hmdb51_frames`,
`DIR/ucf101_frames`, and `DIR/ssv2`, `DIR/jester` and `DIR/diving48`. Which way the pattern moves is the class, so that
a network can learn from them.
"""

import json
import os
import shutil
import sys
from collections.abc import Iterator, Sequence
from fractions import Fraction
from pathlib import Path

import av
import numpy as np
import torch
from numpy.typing import NDArray
from src.data.annotations import Lists, Video
from torchvision.io import write_jpeg

Clip = NDArray[np.uint8]  # T, H, W, 3
MOTIONS = ((2, 0), (-2, 0), (0, 2), (0, -2))  # pixels a frame: right, left, down, up
# Sources as HMDB51 names them: with a number sign, brackets, an exclamation mark, a dash, and a class in the title.
SOURCES = (
    *("#20_Rhythm", "Die_Another_Day_-_Scene_Part_1_[HD]", "The_Three_Musketeers_(1993)_Final_Battle_1"),
    *("kick__Best_CHUCK_NORRIS_kick_to_the_nuts!", "American_History_X", "How_to", "prelinger_LetsBeGo1953"),
)
HMDB_CLASSES = ("brush_hair", "cartwheel", "kick", "shoot_ball")
UCF_CLASSES = ("ApplyEyeMakeup", "BenchPress", "Diving", "HandstandPushups")
SSV2_CLASSES = (  # as the pattern moves
    *("Pushing something from left to right", "Pushing something from right to left"),
    *("Moving something down", "Moving something up"),
)
SSV2_TEMPLATES = tuple(name.replace("something", "[something]") for name in SSV2_CLASSES)
JESTER_CLASSES = ("Swiping Right", "Swiping Left", "Swiping Down", "Swiping Up")
DIVES = (
    *(["Back", "15som", "05Twis", "FREE"], ["Forward", "25som", "NoTwis", "PIKE"]),
    *(["Inward", "15som", "NoTwis", "TUCK"], ["Reverse", "Dive", "NoTwis", "PIKE"]),
)
PARTS = ("train", "test", "unused")  # of HMDB51's lists


def sample_clips() -> Path | None:
    """The folder of real clips to test with, where there is one."""
    folder = os.environ.get("LATE_SAMPLE_CLIPS")
    return Path(folder) if folder and Path(folder).is_dir() else None


def moving_pattern(motion: int, seed: int, frames: int = 20, size: tuple[int, int] = (64, 48)) -> Clip:
    """A smooth random texture of width, height that moves by `MOTIONS[motion]` a frame."""
    rng = np.random.default_rng(seed)
    width, height = size
    y, x = np.mgrid[:height, :width]
    texture = np.zeros((height, width, 3))
    for colour in ([1.0, 0.9, 0.8], [0.9, 1.0, 0.7], [0.2, -0.2, 0.3]):  # mostly light and dark, as real pictures
        a, b = rng.integers(1, 5, 2) * rng.choice((-1, 1), 2)  # whole periods: the picture goes on at its edges
        wave = np.sin(2 * np.pi * (a * x / width + b * y / height) + rng.uniform(0, 2 * np.pi))
        texture += wave[..., None] * colour  # H,W,1 · 3 → H,W,3
    picture = np.clip(127 + 50 * texture, 0, 255).astype(np.uint8)
    dx, dy = MOTIONS[motion]
    return np.stack([np.roll(picture, (t * dy, t * dx), (0, 1)) for t in range(frames)])


def write_xvid(path: Path, clip: Clip, fps: int = 25) -> None:
    """An AVI as XviD writes it: MPEG-4 part 2 with B-frames, four-character code XVID."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"bf": "2", "qscale": "2", "flags": "+qscale", "g": "12", "threads": "1"}
    with av.open(str(path), "w", format="avi") as container:
        stream = container.add_stream("mpeg4", rate=Fraction(fps), options=options)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.codec_context.codec_tag = "XVID"
        for picture in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def hmdb51(root: Path, classes: Sequence[str] = HMDB_CLASSES[:3], sources: int = 4, clips: int = 2) -> Path:
    """`<root>/<class>/<clip>.avi` and `<root>/testTrainMulti_7030_splits/<class>_test_split{1,2,3}.txt`.

    Per class and split one source is for testing, one unused, the others for training; lines end in a space.
    """
    lists = root / "testTrainMulti_7030_splits"
    lists.mkdir(parents=True, exist_ok=True)
    for label, class_name in enumerate(classes):
        names: list[list[str]] = []
        for source in range(sources):
            named = [f"{SOURCES[source]}_{class_name}_f_cm_np1_fr_med_{i}.avi" for i in range(clips)]
            for i, name in enumerate(named):
                clip = moving_pattern(label, seed=1000 * label + 10 * source + i, frames=18 + 4 * source + i)
                write_xvid(root / class_name / name, clip, fps=30)
            names.append(named)
        for split in (1, 2, 3):
            use = {(split - 1) % sources: 2, split % sources: 0}
            lines = [f"{name} {use.get(i, 1)} \n" for i, named in enumerate(names) for name in named]
            (lists / f"{class_name}_test_split{split}.txt").write_text("".join(lines))
    return root


def ucf101(
    root: Path, classes: Sequence[str] = UCF_CLASSES[:3], groups: int = 4, clips: int = 2, real: Path | None = None
) -> Path:
    """`<root>/<Class>/v_<Class>_gXX_cYY.avi` and `<root>/ucfTrainTestlist/*.txt` with CRLF line ends.

    Group n is tested in split n. With `real`, a folder of UCF101 clips, clip n of a class stands for group n.
    """
    lists = root / "ucfTrainTestlist"
    lists.mkdir(parents=True, exist_ok=True)
    paths: dict[int, list[str]] = {}
    for label, class_name in enumerate(classes):
        given = sorted((real / class_name).glob("*.avi"))[:groups] if real else []
        for group in range(1, 1 + (len(given) or groups)):
            for i in range(1, 2 if given else 1 + clips):
                name = f"{class_name}/v_{class_name}_g{group:02d}_c{i:02d}.avi"
                paths.setdefault(group, []).append(name)
                if given:
                    (root / class_name).mkdir(exist_ok=True)
                    shutil.copyfile(given[group - 1], root / name)
                else:
                    seed = 5000 + 1000 * label + 10 * group + i
                    write_xvid(root / name, moving_pattern(label, seed, frames=18 + 3 * group + i))
    number = {class_name: i for i, class_name in enumerate(classes, 1)}
    write_lines(lists / "classInd.txt", [f"{i} {class_name}" for class_name, i in number.items()])
    for split in (1, 2, 3):
        train = [name for group, names in paths.items() if group != split for name in names]
        write_lines(
            lists / f"trainlist0{split}.txt", [f"{name} {number[name.split('/')[0]]}" for name in sorted(train)]
        )
        write_lines(lists / f"testlist0{split}.txt", sorted(paths[split]))
    return root


def ssv2(root: Path, clips: int = 3) -> Path:
    """`<root>/20bn-something-something-v2/<id>.webm` (VP9, 12 frames a second) and `<root>/labels/*.json`.

    Of each class `clips` videos for training, one for validation and one for testing, whose answers are there too.
    """
    (root / "labels").mkdir(parents=True, exist_ok=True)
    order = sorted(range(len(SSV2_CLASSES)), key=lambda label: SSV2_CLASSES[label])  # the published one
    numbers = {SSV2_CLASSES[label]: str(place) for place, label in enumerate(order)}
    entries: dict[str, list[dict[str, object]]] = {"train": [], "validation": [], "test": []}
    answers = []
    for i in range(clips + 2):
        side = "train" if i < clips else "validation" if i == clips else "test"
        for label, template in enumerate(SSV2_TEMPLATES):
            video = str(1000 * (label + 1) + 37 * i)
            clip = moving_pattern(label, seed=8000 + 100 * label + i, frames=14 + i)
            write_vp9(root / "20bn-something-something-v2" / f"{video}.webm", clip)
            said = {"label": SSV2_CLASSES[label].replace("something", "a cup").lower(), "placeholders": ["a cup"]}
            entries[side].append({"id": video} if side == "test" else {"id": video, "template": template, **said})
            answers += [f"{video};{SSV2_CLASSES[label]}\n"] if side == "test" else []
    for side, listed in {"labels": numbers, **entries}.items():
        (root / "labels" / f"{side}.json").write_text(json.dumps(listed))
    (root / "labels" / "test-answers.csv").write_text("".join(answers))
    return root


def write_vp9(path: Path, clip: Clip, fps: int = 12) -> None:
    """A WebM as the set has it."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"deadline": "realtime", "cpu-used": "8", "lag-in-frames": "0", "threads": "1"}
    with av.open(str(path), "w", format="webm") as container:
        stream = container.add_stream("libvpx-vp9", rate=Fraction(fps), options=options)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        stream.bit_rate = 2_000_000
        for picture in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def jester(root: Path, clips: int = 3) -> Path:
    """`<root>/20bn-jester-v1/<id>/00001.jpg` and `<root>/jester-v1-{labels,train,validation,test}.csv`.

    Of each class `clips` videos for training and one for validation; the test list has no labels.
    """
    lines: dict[str, list[str]] = {"train": [], "validation": [], "test": []}
    for label, name in enumerate(JESTER_CLASSES):
        for i in range(clips + 1):
            video = str(300 + 10 * label + i)
            folder = root / "20bn-jester-v1" / video
            folder.mkdir(parents=True)
            clip = moving_pattern(label, seed=9000 + 100 * label + i, frames=12 + 2 * i, size=(64, 36))
            for number, picture in enumerate(clip, 1):
                write_jpeg(torch.from_numpy(picture).permute(2, 0, 1), str(folder / f"{number:05d}.jpg"), 95)
            lines["train" if i < clips else "validation"].append(f"{video};{name}\n")
    lines["test"] = ["999\n"]
    for side, listed in {"labels": [f"{name}\n" for name in sorted(JESTER_CLASSES)], **lines}.items():
        (root / f"jester-v1-{side}.csv").write_text("".join(listed))
    return root


def diving48(root: Path, clips: int = 3) -> Path:
    """`<root>/rgb/<competition>_<number>.mp4` and `<root>/Diving48_{V2_train,V2_test,vocab}.json`."""
    listed: dict[str, list[dict[str, object]]] = {"train": [], "test": []}
    for label in range(len(DIVES)):
        for i in range(clips + 1):
            name = f"{('_8Vy3dlHg2w', 'HNoX-TSnZPM')[i % 2]}_{10 * label + i:05d}"
            clip = moving_pattern(label, seed=9900 + 100 * label + i, frames=16 + i)
            write_h264(root / "rgb" / f"{name}.mp4", clip)
            entry = {"vid_name": name, "label": label, "start_frame": 0, "end_frame": len(clip)}
            listed["train" if i < clips else "test"].append(entry)
    for side, entries in listed.items():
        (root / f"Diving48_V2_{side}.json").write_text(json.dumps(entries))
    (root / "Diving48_vocab.json").write_text(json.dumps(DIVES))
    return root


def write_h264(path: Path, clip: Clip, fps: int = 30) -> None:
    """An MP4; without x264's looking ahead, so that the same clip gives the same bytes."""
    path.parent.mkdir(parents=True, exist_ok=True)
    options = {"rc-lookahead": "0", "mbtree": "0", "threads": "1", "crf": "18"}
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=Fraction(fps), options=options)
        stream.height, stream.width = clip.shape[1:3]
        stream.pix_fmt = "yuv420p"
        for picture in clip:
            container.mux(stream.encode(av.VideoFrame.from_ndarray(picture, format="rgb24")))
        container.mux(stream.encode())


def write_lines(path: Path, lines: list[str]) -> None:
    path.write_bytes("".join(f"{line}\r\n" for line in lines).encode())


def frame_folders(lists: Sequence[Lists], root: Path, flow_ending: str = ".jpg", quality: int = 95) -> Path:
    """The videos of some splits as the authors' preprocessing leaves them, with their list files.

    `<root>/<clip>/img_%05d.jpg`, `flow_x_%05d`, `flow_y_%05d` (from 1, as many as frames) and
    `<root>/settings/{train,val}_{rgb,flow}_split<n>.txt`. The flow is the motion that the pattern really has.

    Args:
        flow_ending: empty for HMDB51's flow.
    """
    (root / "settings").mkdir(parents=True, exist_ok=True)
    frames: dict[str, int] = {}
    for read in lists:
        for side, videos in (("train", read.train), ("val", read.test)):
            lines = []
            for video in videos:
                folder = Path(video.name).stem
                if folder not in frames:
                    frames[folder] = _write_frames(video, root / folder, flow_ending, quality)
                lines.append(f"{folder} {frames[folder]} {video.label}\n")
            for modality in ("rgb", "flow"):
                (root / "settings" / f"{side}_{modality}_split{read.split}.txt").write_text("".join(lines))
    return root


def _write_frames(video: Video, folder: Path, flow_ending: str, quality: int) -> int:
    folder.mkdir(parents=True)
    count = 0
    dx, dy = MOTIONS[video.label % len(MOTIONS)]
    for count, picture in enumerate(decoded(Path(video.path)), 1):
        image = torch.from_numpy(picture).permute(2, 0, 1)  # H,W,C → C,H,W
        write_jpeg(image, str(folder / f"img_{count:05d}.jpg"), quality)
        for axis, motion in (("x", dx), ("y", dy)):
            field = torch.full_like(image[:1], round(127.5 + motion * 127.5 / 20))
            write_jpeg(field, str(folder / f"flow_{axis}_{count:05d}{flow_ending}"), quality)
    return count


def decoded(path: Path) -> Iterator[Clip]:
    """All frames H, W, 3 in order, by PyAV."""
    with av.open(str(path)) as container:
        for frame in container.decode(video=0):
            yield frame.to_ndarray(format="rgb24")


if __name__ == "__main__":
    from src.data.hmdb51 import hmdb51 as read_hmdb51
    from src.data.ucf101 import ucf101 as read_ucf101

    base = Path(sys.argv[1])
    for make, read, ending in ((hmdb51, read_hmdb51, ""), (ucf101, read_ucf101, ".jpg")):
        tree = make(base / make.__name__)
        splits = [read(str(tree), split, check_counts=False) for split in (1, 2, 3)]
        frame_folders(splits, base / f"{make.__name__}_frames", ending)
    for make_one in (ssv2, jester, diving48):
        make_one(base / make_one.__name__)
    print(f"look-alikes of HMDB51, UCF101, Something-Something V2, Jester and Diving48 in {base}")
