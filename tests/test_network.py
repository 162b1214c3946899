"""Opening a network to ask it: of a run, of a checkpoint file alone, of published weights alone."""

import shutil
from pathlib import Path

import pytest
import torch
from src.command_line import network
from src.command_line.options import Command, parse
from src.errors import UsageError, UserError
from src.models.weights.classes import kinetics400
from src.prediction.network import Network
from src.runs.folder import RunFolder
from src.runs.trained import KEY

from tests.models.golden import layouts
from tests.small_runs import CLASSES, CLIP, own_videos, train_here, write_classes

COMMAND = Command("ask", "", (), options=network.OPTIONS, overrides=network.OVERRIDES)


def opened(*words: str) -> list[Network]:
    return network.open_networks(parse(COMMAND, words))


@pytest.fixture(scope="module")
def run(tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    base = tmp_path_factory.mktemp("run")
    return train_here([*own_videos(write_classes(base / "videos")), f"run_dir={base / 'run'}"])


@pytest.fixture
def alone(run: RunFolder, tmp_path: Path) -> Path:
    """A checkpoint that has been carried elsewhere."""
    return Path(shutil.copy(run.best, tmp_path / "carried.ckpt"))


def without_description(file: Path) -> None:
    content = torch.load(file, weights_only=True)
    del content[KEY]
    torch.save(content, file)


def test_a_run_and_its_checkpoint_alone_are_one_network(run: RunFolder, alone: Path) -> None:
    (whole,), (carried,) = opened(f"run={run}"), opened(f"checkpoint={alone}")
    assert whole.classes == carried.classes == sorted(CLASSES)
    assert whole.clip == carried.clip
    assert (whole.clip.frames, whole.clip.crop) == (8, 32)
    assert whole.modality == "rgb"
    clip = torch.randint(0, 256, (2, 3, 8, 32, 32), dtype=torch.uint8)
    assert torch.equal(whole.recognizer(clip), carried.recognizer(clip))
    assert not whole.recognizer.training
    assert (whole.file, carried.file) == (run.best, alone)
    assert str(run) in whole.origin
    assert str(alone) in carried.origin


def test_a_checkpoint_that_says_nothing_is_known_by_its_run(run: RunFolder, tmp_path: Path) -> None:
    copy = RunFolder(Path(shutil.copytree(run.path, tmp_path / "copy")))
    without_description(copy.best)
    assert opened(f"checkpoint={copy.best}")[0].classes == sorted(CLASSES)
    alone = Path(shutil.copy(copy.best, tmp_path / "other.ckpt"))
    with pytest.raises(UserError, match=r"other\.ckpt.*run=FOLDER"):
        opened(f"checkpoint={alone}")


@pytest.mark.parametrize(
    "wrong",
    [
        "text",
        {"title": "t", "overrides": ["model=tiny"], "classes": []},
        {"title": "t", "overrides": "model=tiny", "classes": ["a"]},
        {"title": 3, "overrides": [], "classes": ["a"]},
        {"overrides": [], "classes": ["a"]},
    ],
)
def test_a_damaged_description_is_refused(alone: Path, wrong: object) -> None:
    torch.save(torch.load(alone, weights_only=True) | {KEY: wrong}, alone)
    with pytest.raises(UserError, match=r"carried\.ckpt"):
        opened(f"checkpoint={alone}")


@pytest.mark.parametrize("override", ["+model.backbone._target_=os.system", "data.lists._target_=os.system", "x"])
def test_a_description_brings_in_no_code(alone: Path, override: str) -> None:
    content = torch.load(alone, weights_only=True)
    content[KEY]["overrides"].append(override)
    torch.save(content, alone)
    with pytest.raises(UserError, match="refused"):
        opened(f"checkpoint={alone}")


def test_two_streams_need_the_same_classes(run: RunFolder, alone: Path) -> None:
    assert [one.file for one in opened(f"run={run}", f"run={run}", "checkpoint=last")] == [run.last] * 2
    content = torch.load(alone, weights_only=True)
    content[KEY]["classes"] = ["a", "b", "c"]
    torch.save(content, alone)
    with pytest.raises(UserError, match="different classes"):
        opened(f"checkpoint={run.best}", f"checkpoint={alone}")


@pytest.mark.parametrize(
    ("words", "said"),
    [
        ([], "which network"),
        (["model=i3d"], "which network"),
        (["weights=pretrained"], "give model=NAME"),
        (["checkpoint=best"], "of which run"),
        (["checkpoint=none.ckpt"], "none.ckpt"),
        (["model=tiny", "weights=none"], "weights=none"),
        (["model=tiny", "weights=pretrained"], "no weights are published"),
        (["model=tiny", "weights=file", "weights.path=none.pt"], "none.pt"),
        (["run=a", "run=b", "run=c", "checkpoint=best", "checkpoint=last"], "2 checkpoint="),
    ],
)
def test_what_names_no_network_is_refused(words: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        opened(*words)


def test_own_weights_alone_need_their_classes(run: RunFolder, tmp_path: Path) -> None:
    names, state = tmp_path / "names.txt", tmp_path / "state.pt"
    torch.save(torch.load(run.best, weights_only=True)["state_dict"], state)
    words = ["model=tiny", "weights=file", f"weights.path={state}", *CLIP]
    with pytest.raises(UserError, match=r"3 classes.*classes=FILE"):
        opened(*words)
    for text, said in (("a\nb\n", "2 classes are named"), ("a\nb\na\n", "a twice"), ("\n", "no classes")):
        names.write_text(text)
        with pytest.raises(UserError, match=said):
            opened(*words, f"classes={names}")
    names.write_text("ä\nb c\n d\n", encoding="utf-8")
    assert opened(*words, f"classes={names}")[0].classes == ["ä", "b c", "d"]
    with pytest.raises(UsageError, match=r"no\.such"):
        opened(*words, "no.such=1")


def test_published_weights_bring_their_classes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    file = tmp_path / "late-temporal" / "weights" / "rgb_imagenet.pt"
    file.parent.mkdir(parents=True)
    state = {name: torch.zeros(shape) for name, shape in layouts()["i3d_kinetics_rgb"]["state_dict"].items()}
    state["logits.conv3d.bias"][5] = 1
    torch.save(state, file)
    (found,) = opened("model=i3d", "weights=pretrained")
    assert found.classes == kinetics400()
    assert (found.clip.frames, found.clip.crop, found.clip.frame_size) == (64, 224, (340, 256))
    assert found.recognizer(torch.zeros(1, 3, 64, 32, 32)).argmax().item() == 5
    with pytest.raises(UserError, match="pooling=average"):
        opened("model=i3d", "weights=pretrained", "pooling=bert")


def test_the_classes_of_kinetics400() -> None:
    names = kinetics400()
    assert len(set(names)) == 400
    assert names == sorted(names)
    # Places that published label maps give.
    for number, name in {0: "abseiling", 19: "bench pressing", 227: "playing cricket", 399: "zumba"}.items():
        assert names[number] == name
