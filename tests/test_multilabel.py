"""Videos that show several classes: lists, loss, metrics, files, and what takes one class alone."""

from pathlib import Path

import numpy as np
import pytest
import torch
import torch.nn.functional as F
from src import evaluate, predict
from src.batch import IGNORE, Batch
from src.build.compose import compose
from src.build.network import build_recognizer
from src.data.annotations import Video, group_holdout, list_digest
from src.data.folder import folder
from src.errors import UsageError, UserError
from src.prediction.results import best
from src.reports.fusion import fuse
from src.reports.lines import lines_of
from src.runs import records
from src.runs.folder import RunFolder
from src.runs.records import Evaluation
from src.scores import Scores
from src.training.mixing import Mixing
from src.training.multilabel import binary_loss, one_of_several, shown
from src.training.recipe import check_recipe
from src.training.recognition import Recognition
from torchmetrics.functional.classification import multilabel_average_precision, multilabel_f1_score

from tests.reports.made_runs import entry
from tests.small_runs import CLIP, exit_of, train_here, write_classes
from tests.tiny import tiny

LABELS = ["run", "jump;run", "walk", "jump;walk", "run;walk", "jump", "run|jump|walk", "walk;run"]


def several(scores: object, targets: object) -> Scores:
    values, true = np.array(scores, dtype=np.float32), np.array(targets, dtype=bool)
    names = [f"v{i}" for i in range(len(values))]
    classes = [f"c{i}" for i in range(values.shape[1])]
    return Scores(classes, names, true.argmax(1), values, np.ones(len(values), dtype=np.int64), true)


def drawn(videos: int = 200, classes: int = 6, places: int = 1) -> Scores:
    """Scores with ties (few decimal places) that know something; the last class is never true."""
    rng = np.random.default_rng(0)
    targets = rng.random((videos, classes)) < 0.3
    targets[:, -1] = False
    targets[np.arange(videos), rng.integers(0, classes - 1, videos)] = True
    return several(np.round(rng.normal(size=targets.shape) + targets, places), targets)


# Metrics


def test_metrics_by_hand() -> None:
    scores = several([[3, -1, 1], [2, 1, -3], [-1, 2, -2]], [[1, 0, 0], [0, 1, 0], [1, 1, 0]])
    found = scores.metrics()
    # class 0: true at ranks 1 and 3 of 3: (1 + 2/3) / 2; class 1: true at ranks 1 and 2: 1; class 2 is never true
    assert found["map"] == pytest.approx(100 * (5 / 6 + 1) / 2, abs=1e-3)
    assert found["top1"] == pytest.approx(200 / 3, abs=1e-3)  # the second video's surest class is none of its own
    # said where above 0: class 0: 1 hit, 2 said, 2 true: 1/2; class 1: 2 of 2: 1; class 2: said once, wrongly: 0
    assert found["macro_f1"] == pytest.approx(100 * 1.5 / 3, abs=1e-3)
    assert scores.temperature() is None and not scores.calibrated


@pytest.mark.parametrize("places", [0, 1, 6])
def test_metrics_are_torchmetrics(places: int) -> None:
    scores = drawn(places=places)
    assert scores.targets is not None
    logits, true = torch.from_numpy(scores.scores), torch.from_numpy(scores.targets.astype(np.int64))
    occur = slice(0, 5)  # the last class is in no mean, which torchmetrics warns of
    shares = logits.double().sigmoid()
    expected = multilabel_average_precision(shares[:, occur], true[:, occur], num_labels=5, average="macro")
    assert scores.metrics()["map"] == pytest.approx(100 * expected.item(), abs=2e-3)
    said = (logits > 0).int()
    expected = multilabel_f1_score(said, true, num_labels=6, average="macro")
    assert scores.metrics()["macro_f1"] == pytest.approx(100 * expected.item(), abs=1e-3)
    loss = torch.nn.functional.binary_cross_entropy_with_logits(logits, true.float())
    assert scores.loss() == pytest.approx(loss.item(), rel=1e-5)


def test_weights_are_repeated_videos_and_every_metric_has_an_interval() -> None:
    scores = drawn(60)
    assert scores.targets is not None
    times = np.random.default_rng(1).integers(0, 4, 60)
    again = np.repeat(np.arange(60), times)
    repeated = several(scores.scores[again], scores.targets[again]).outcomes().metrics()
    assert scores.outcomes().metrics(times.astype(np.float64)) == pytest.approx(repeated)
    found, measured = scores.intervals(), scores.metrics()
    assert list(found) == list(measured)
    assert all(low < measured[name] < high for name, (low, high) in found.items() if name != "top5")


def test_files_and_sums_keep_all_classes(tmp_path: Path) -> None:
    scores = drawn(5)
    scores.save(tmp_path / "s.npz")
    again = Scores.load(tmp_path / "s.npz")
    assert scores.targets is not None and again.targets is not None
    assert np.array_equal(again.targets, scores.targets)
    assert again.metrics() == scores.metrics()
    added = (scores + again).targets
    assert added is not None and np.array_equal(added, scores.targets)
    other = drawn(5)
    assert other.targets is not None
    other.targets[0, -1] = True
    with pytest.raises(UserError, match="labels"):
        scores + other
    single = Scores(scores.classes, scores.videos, scores.labels, scores.scores, scores.views)
    with pytest.raises(UserError, match="labels"):
        scores + single


def test_a_damaged_file_is_refused(tmp_path: Path) -> None:
    scores = drawn(5)
    assert scores.targets is not None
    scores.targets[0] = False
    scores.save(tmp_path / "s.npz")
    with pytest.raises(UserError, match="a label is not among the video's classes"):
        Scores.load(tmp_path / "s.npz")


# Lists


def write_list(root: Path, labels: list[str], split: str = "") -> Path:
    clips = sorted(path.relative_to(root).as_posix() for path in root.glob("*/*.mp4"))
    assert len(clips) >= len(labels)
    lines = [f"{clip},{label}{split}" for clip, label in zip(clips, labels, strict=False)]
    (root / "videos.csv").write_text("\n".join(["path,label", *lines]) + "\n")
    return root


@pytest.fixture(scope="module")
def videos(tmp_path_factory: pytest.TempPathFactory) -> Path:
    root = write_classes(tmp_path_factory.mktemp("videos"), clips=8)
    return write_list(root, LABELS * 3)


def test_a_list_of_several_classes(videos: Path) -> None:
    lists = folder(str(videos), csv="videos.csv", multilabel=True)
    assert lists.classes == ["jump", "run", "walk"]
    labels = {video.name: video.labels for video in [*lists.train, *lists.test]}
    first = dict(zip(sorted(labels), LABELS, strict=False))
    for name, label in first.items():
        assert [lists.classes[i] for i in labels[name]] == sorted(label.replace("|", ";").split(";"))
    for side in (lists.train, lists.test):
        assert {label for video in side for label in video.labels} == {0, 1, 2}
    plain = folder(str(videos), csv="videos.csv")
    assert "jump;run" in plain.classes and all(video.also == () for video in plain.train)


@pytest.mark.parametrize(
    ("label", "message"), [("run;;walk", "empty class"), ("run;", "empty class"), ("run;walk;run", "one twice")]
)
def test_labels_that_nobody_means(label: str, message: str, videos: Path, tmp_path: Path) -> None:
    clip, other, *_ = videos.glob("*/*.mp4")
    (tmp_path / "list.csv").write_text(f'path,label\n{clip},"{label}"\n{other},run\n')
    with pytest.raises(UserError, match=message) as error:
        folder(str(videos), csv=str(tmp_path / "list.csv"), multilabel=True)
    assert "line 2" in str(error.value) and "\n" not in str(error.value)


def test_folders_have_one_class(videos: Path) -> None:
    with pytest.raises(UserError, match=r"needs a list, data\.csv=FILE"):
        folder(str(videos), multilabel=True)


def test_lists_of_each_side_with_numbers_and_names(videos: Path, tmp_path: Path) -> None:
    clips = sorted(path.relative_to(videos).as_posix() for path in videos.glob("*/*.mp4"))
    train = [f"{clip} {label}" for clip, label in zip(clips[:4], ["2;0", "1", "0;1", "2"], strict=True)]
    (tmp_path / "train.txt").write_text("\n".join(train) + "\n")
    (tmp_path / "test.txt").write_text(f"{clips[4]} 1;2\n{clips[5]} 0\n")
    (tmp_path / "names.txt").write_text("walk\nrun\njump\n")
    files = {f"{side}_list": str(tmp_path / f"{side}.txt") for side in ("train", "test")}
    lists = folder(str(videos), **files, class_names=str(tmp_path / "names.txt"), multilabel=True)
    assert lists.classes == ["walk", "run", "jump"]
    assert [video.labels for video in lists.train] == [(0, 2), (1,), (0, 1), (2,)]
    assert [video.labels for video in lists.test] == [(1, 2), (0,)]


def test_every_class_is_held_out_and_digests_know_all() -> None:
    train = [Video(f"{i}", i % 3, f"g{i}", f"{i}", also=((i % 3 + 1,) if i % 3 < 2 else ())) for i in range(60)]
    kept, held = group_holdout(train, 0.2, seed=0)
    shares = [sum(label in video.labels for video in held) for label in range(3)]
    assert shares == [4, 8, 8] and len(kept) + len(held) == 60
    single = [Video(video.path, video.label, video.group, video.name) for video in train]
    assert list_digest(train) != list_digest(single)


# Loss


def test_top1_is_judged_by_the_surest_class() -> None:
    logits = torch.tensor([[1.0, 2, 0], [3, 2, 0], [0, 1, 2], [0, 3, 2]])
    target = torch.tensor([[0, 1, 1], [0, 1, 1], [0, 0, 0], [0.7, 0.3, 0.7]])
    assert one_of_several(logits, target).tolist() == [1, 1, IGNORE, 0]


def test_the_loss_is_over_clips_that_can_be_read() -> None:
    torch.manual_seed(0)
    logits, target = torch.randn(4, 3), torch.tensor([[0.0, 1, 1], [1, 0, 0], [0, 0, 0], [1, 1, 0]])
    read = [0, 1, 3]
    expected = F.binary_cross_entropy_with_logits(logits[read], target[read])
    torch.testing.assert_close(binary_loss(logits, target, 0), expected)
    smooth = F.binary_cross_entropy_with_logits(logits[read], 0.8 * target[read] + 0.1)
    torch.testing.assert_close(binary_loss(logits, target, 0.2), smooth)
    assert binary_loss(logits[2:3], target[2:3], 0.1) == 0
    logits[2] = torch.nan
    assert torch.isfinite(binary_loss(logits, target, 0))


def test_mixed_clips_have_shares_of_the_classes_of_both() -> None:
    torch.manual_seed(1)
    maps = [torch.randn(3, 1, 2, 2, 1, 1)]
    batch = Batch(maps=maps, label=torch.tensor([0, 1, 2]), video_id=torch.arange(3))
    target = torch.tensor([[1.0, 1, 0, 0], [0, 1, 0, 0], [0, 0, 1, 0]])
    for mixing in (Mixing(0.8, 0, 4), Mixing(0.8, 1, 4)):
        before = target.clone()
        mixed, shares = mixing(
            batch, build_recognizer(compose([*tiny("tiny"), "pooling=average", "data=kinetics400"]), 4), target
        )
        share = shares[0, 0].item()
        torch.testing.assert_close(shares, share * target + (1 - share) * target.roll(1, 0))
        assert torch.equal(target, before) and mixed["maps"][0].shape == maps[0].shape


def test_a_clip_that_cannot_be_read_shows_nothing() -> None:
    videos = [Video("a", 0, "a", "a", also=(2,)), Video("b", 1, "b", "b")]
    module = Recognition(
        build_recognizer(compose([*tiny("tiny"), "pooling=average", "data=kinetics400"]), 3),
        ["x", "y", "z"],
        {"train": videos},
        torch.optim.SGD,
        None,
        None,
        0,
        True,
        multilabel=True,
    )
    module.shown = shown(videos, 3)
    batch = Batch(label=torch.tensor([1, 0, IGNORE]), video_id=torch.tensor([1, 0, -1]))
    assert module.targets(batch).tolist() == [[0, 1, 0], [1, 0, 1], [0, 0, 0]]


# A run


@pytest.fixture(scope="module")
def run(videos: Path, tmp_path_factory: pytest.TempPathFactory) -> RunFolder:
    words = ["model=tiny", "pooling=bert", "data=folder", f"data.root={videos}", "data.csv=videos.csv", *CLIP]
    words += ["data.multilabel=true", "logger=csv", "recipe.epochs=2", "data.workers=0", "test.order=true"]
    steps = []
    original = Recognition.training_step

    def step(self: Recognition, batch: Batch, index: int) -> torch.Tensor:
        """The binary cross-entropy, computed again with the same dropout and from the videos' own labels."""
        torch.manual_seed(index)
        loss = original(self, batch, index)
        torch.manual_seed(index)
        with torch.no_grad():
            logits = self.logits(batch).mean(1)
        true = torch.zeros_like(logits)
        for row, position in enumerate(batch["video_id"].tolist()):
            for label in self.videos["train"][position].labels:
                true[row, label] = 1
        expected = torch.nn.functional.binary_cross_entropy_with_logits(logits, true)
        torch.testing.assert_close(loss.detach(), expected)
        steps.append(index)
        return loss

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Recognition, "training_step", step)
        made = train_here([*words, f"run_dir={tmp_path_factory.mktemp('run') / 'run'}"])
    assert steps
    return made


def test_what_a_run_writes(run: RunFolder) -> None:
    results = run.read_results()
    assert results is not None and results.metrics is not None and results.best is not None
    scores = Scores.load(run.scores)
    assert scores.targets is not None and scores.targets.sum() > len(scores.videos)
    assert results.metrics == scores.metrics() and "map" in results.metrics and "mean_class" not in results.metrics
    assert results.intervals.keys() == results.metrics.keys() and results.calibration is None
    curves = run.curves()
    assert results.best.val_map == pytest.approx(max(curves["val/map"].values()), abs=1e-3)
    assert results.order is not None and results.order.top1 == results.metrics["top1"]
    assert not (run.path / "confusion.png").exists() and not (run.path / "mistakes").exists()
    counts = files_json(run.audit)["classes"]
    assert sum(one["test"] for one in counts.values()) == scores.targets.sum()


@pytest.mark.parametrize(
    "words", [[], ["freeze=backbone", "recipe.rand_augment=0", "recipe.erasing=0", "recipe.cutmix=0"]]
)
def test_all_parts_of_a_recipe_that_go_with_several_classes(words: list[str], videos: Path, tmp_path: Path) -> None:
    words = [
        *words,
        "model=tiny",
        "pooling=average",
        "data=folder",
        f"data.root={videos}",
        "data.csv=videos.csv",
        *CLIP,
    ]
    words += ["data.multilabel=true", "recipe=finetune", "recipe.class_weights=null", "recipe.sampling=shuffled"]
    words += ["recipe.epochs=2", "recipe.unfreeze=0", f"features.root={tmp_path / 'features'}", "features.clips=2"]
    run = train_here([*words, "logger=csv", "data.workers=0", f"run_dir={tmp_path / 'run'}"])
    results = run.read_results()
    assert results is not None and results.metrics is not None and results.best is not None
    assert results.best.val_map is not None and not results.diverged
    fused = fuse([run, run])
    assert fused.lines[2].summary("map") is not None


def files_json(path: Path) -> dict[str, dict[str, dict[str, int]]]:
    import json

    content: dict[str, dict[str, dict[str, int]]] = json.loads(path.read_text())
    return content


def test_it_is_tested_again_alike_and_reported(run: RunFolder) -> None:
    assert exit_of(evaluate.COMMAND, evaluate.evaluate, f"run={run}") == 0
    (path,) = run.evaluations.glob("*/evaluation.json")
    again, results = records.read(path, Evaluation), run.read_results()
    assert again is not None and results is not None and again.metrics == results.metrics
    (line,) = lines_of([entry("several", [run.path])])
    assert line.summary("map") is not None and not line.problems and not line.runs[0].problems


def test_predictions_give_each_class_a_probability_of_its_own(
    run: RunFolder, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = next(videos.glob("*/*.mp4"))
    out = tmp_path / "p.csv"
    assert exit_of(predict.COMMAND, predict.predict, f"run={run}", f"video={clip}", f"out={out}", "top=3") == 0
    rows = [line.split(",") for line in out.read_text().splitlines()]
    place = rows[0].index("probability")
    score = rows[0].index("score")
    for row in rows[1:]:
        assert float(row[place]) == pytest.approx(1 / (1 + np.exp(-float(row[score]))), abs=1e-4)
    guesses = best(np.array([2.0, -2.0, 0.0], np.float32), ["a", "b", "c"], 3, multilabel=True)
    assert [guess.name for guess in guesses] == ["a", "c", "b"]
    assert sum(guess.probability for guess in guesses) == pytest.approx(1.5)


@pytest.mark.parametrize("words", [["explain=occlusion"], ["windows=true"]])
def test_what_takes_one_class_is_refused_in_a_line(
    words: list[str], run: RunFolder, videos: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    clip = next(videos.glob("*/*.mp4"))
    words = [f"run={run}", f"video={clip}", f"out={tmp_path / 'out'}", *words]
    assert exit_of(predict.COMMAND, predict.predict, *words) == 1
    assert "this one tells several" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("words", "named"),
    [
        (["recipe.class_weights=inverse"], "recipe.class_weights=null"),
        (["recipe.sampling=balanced"], "recipe.sampling=shuffled"),
        (["data.flip_labels=auto"], "data.flip_labels=none"),
    ],
)
def test_a_recipe_for_one_class_is_refused(words: list[str], named: str) -> None:
    cfg = compose(["model=tiny", "data=folder", "data.root=videos", "data.csv=list.csv", *words])
    check_recipe(cfg)
    cfg.data.multilabel = True
    with pytest.raises(UsageError, match=r"data\.multilabel=true") as error:
        check_recipe(cfg)
    assert str(error.value).endswith(f"give {named}")
