"""HMDB51 as published: `<class>/<clip>.avi` and, per class and split, `<class>_test_split<1|2|3>.txt`."""

from pathlib import Path

from src.data.annotations import Lists, Video
from src.data.list_text import numbered_lines
from src.data.published import check_count, check_once, check_present, existing, video_root
from src.errors import UserError
from src.text import printable

CLASSES = (
    *("brush_hair", "cartwheel", "catch", "chew", "clap", "climb", "climb_stairs", "dive", "draw_sword"),
    *("dribble", "drink", "eat", "fall_floor", "fencing", "flic_flac", "golf", "handstand", "hit", "hug"),
    *("jump", "kick", "kick_ball", "kiss", "laugh", "pick", "pour", "pullup", "punch", "push", "pushup"),
    *("ride_bike", "ride_horse", "run", "shake_hands", "shoot_ball", "shoot_bow", "shoot_gun", "sit", "situp"),
    *("smile", "smoke", "somersault", "stand", "swing_baseball", "sword", "sword_exercise", "talk", "throw"),
    *("turn", "walk", "wave"),
)
TRAIN, TEST = "1", "2"  # in the lists; 0 is a clip that this split does not use
PER_CLASS = {TRAIN: 70, TEST: 30}
LISTS = ("testTrainMulti_7030_splits", "splits", "test_train_splits", ".", "*/testTrainMulti_7030_splits")
VIDEOS = (".", "videos", "hmdb51_org")


def group(clip: str, label: str) -> str:
    """The source of a clip: its name up to the first place where its class stands, within that class.

    `American_History_X_kick_f_nm_np1_le_bad_37` of `kick` → `kick/American_History_X`.
    """
    return f"{label}/{clip.partition(f'_{label}_')[0]}"


def hmdb51(root: str, split: int, check_counts: bool = True, name: str = "hmdb51") -> Lists:
    """One split of HMDB51, classes in alphabetical order.

    Args:
        root: folder with the class folders (also in `videos/` or `hmdb51_org/`) and the lists (in
            `testTrainMulti_7030_splits/`, `splits/`, or directly).
        split: 1, 2 or 3.
        check_counts: require 51 classes with 70 training and 30 test clips each; false reads the classes that
            there are lists of.
        name: name of the data set in results.

    Raises:
        UserError: lists or clips are missing (it names them), or a list is not as published.
    """
    if split not in (1, 2, 3):
        raise UserError(f"data.split={split}: HMDB51 has the splits 1, 2 and 3")
    folder = existing(root, f"*_test_split{split}.txt", LISTS)
    ending = f"_test_split{split}.txt"
    classes = [c for c in CLASSES if check_counts or (folder / f"{c}{ending}").is_file()]
    if not check_counts:  # a part of the data set, or one that is made like it
        classes = sorted({*classes, *(f.name.removesuffix(ending) for f in folder.glob(f"*{ending}"))})
    check_present(folder, (f"{c}{ending}" for c in classes), f"HMDB51's lists of split {split}")
    base = video_root(root, classes, VIDEOS)
    sides: dict[str, list[Video]] = {TRAIN: [], TEST: []}
    for label, class_name in enumerate(classes):
        clips = _read(folder / f"{class_name}{ending}", class_name)
        for side, published in PER_CLASS.items():
            chosen = [path for path, use in clips if use == side]
            if check_counts:
                what = f"{'training' if side == TRAIN else 'test'} clips"
                check_count(str(folder / f"{class_name}{ending}"), len(chosen), published, what)
            for path in chosen:
                source = group(Path(path).stem, class_name)
                sides[side].append(Video(str(base / path), label, source, path))
    check_present(base, (video.name for side in sides.values() for video in side), f"HMDB51 split {split}")
    return Lists(classes, sides[TRAIN], None, sides[TEST], str(base), split, name, official=True)


def _read(file: Path, class_name: str) -> list[tuple[str, str]]:
    """Pairs of path and use; a clip's name may hold spaces."""
    pairs, places = [], []
    for number, line in numbered_lines(file):
        clip, _, use = line.rpartition(" ")
        if not clip.strip() or use not in ("0", TRAIN, TEST):
            raise UserError(
                f"{file} line {number}: {printable(line)} is not `<clip>.avi 0|1|2`; download the lists again"
            )
        path = f"{class_name}/{clip.strip()}"
        pairs.append((path, use))
        places.append((path, number))
    check_once(file, places)
    return pairs
