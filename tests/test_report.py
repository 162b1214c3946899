"""The tables, on made-up run folders that hold what real runs write."""

import csv
import io
import json
import re
from collections.abc import Sequence
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from omegaconf import DictConfig, OmegaConf
from src import atomic, report
from src.build import compose
from src.complexity import of_configuration, total
from src.errors import UserError
from src.reports import comparisons, experiments, html, tables
from src.reports.rows import Job, Line, Row, lines_of
from src.reports.runs import read_run
from src.scores import Scores

CLASSES = ["up", "down", "left", "right", "in", "out"]
TINY = ["model=tiny", "data=ordered_motions", "logger=csv"]


@pytest.fixture(autouse=True)
def _elsewhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)


@pytest.fixture(scope="module")
def bert() -> DictConfig:
    return compose([*TINY, "pooling=bert"])


def scores(right: Sequence[bool], split: int = 1, classes: list[str] = CLASSES) -> Scores:
    """Scores over videos of which the wrong ones are taken for the next class."""
    labels = np.arange(len(right), dtype=np.int64) % len(classes)
    predicted = np.where(right, labels, (labels + 1) % len(classes))
    values = np.zeros((len(right), len(classes)), dtype=np.float32)
    values[np.arange(len(right)), predicted] = 1
    videos = [f"split{split}/v{i}" for i in range(len(right))]
    return Scores(classes, videos, labels, values, np.ones(len(right), dtype=np.int64))


def write_run(
    folder: Path,
    right: Sequence[bool],
    config: DictConfig | None = None,
    split: int | None = 1,
    seed: int = 0,
    protocol: str = "paper",
    lists: str = "",
    name: str = "ordered_motions",
    **other: Any,
) -> Path:
    """What a finished run leaves behind, with these videos right."""
    made = other.pop("scores", None) or scores(right, split or 1)
    made.save(folder / "scores" / "test.npz")
    if config is not None:
        cfg = config.copy()
        cfg.seed = seed
        atomic.write_text(folder / "config.yaml", OmegaConf.to_yaml(cfg, resolve=True))
    about = {"title": folder.name, "identity": folder.name}
    data = {phase: {"videos": len(right), "sha256": f"{phase}{split}{lists}"} for phase in ("test", "train_val")}
    results = {
        "protocol": {"name": protocol, "fraction": None if protocol == "paper" else 0.1},
        "split": split,
        "seed": seed,
        "parameters": 1,
        "data": {"name": name, "root": f"/data{lists}", "classes": len(made.classes), **data},
        "metrics": made.metrics(),
        "tested": len(right),
        "best": {"epoch": 3},
    }
    atomic.write_json(folder / "run.json", about)
    atomic.write_json(folder / "results.json", {**about, **results, **other})
    return folder


def share(count: int, of: int = 10) -> list[bool]:
    return [i < count for i in range(of)]


def row_of(name: str, folders: Sequence[Path], **other: Any) -> Row:
    def job(folder: Path) -> Job:
        run = read_run(folder)
        return Job(folder, run.key if run else (1, 9))

    return Row(name, [job(folder) for folder in folders], **other)


def write_manifest(rows: list[dict[str, Any]], name: str = "mini") -> None:
    about = {"experiment": name, "table": None, "title": "A table of one's own", "overrides": []}
    atomic.write_json(Path("outputs/sweeps") / f"{name}.json", {**about, "rows": rows})


def job(folder: str, split: int | None = 1, seed: int = 0, data: str = "ordered_motions") -> dict[str, Any]:
    overrides = [*TINY, "pooling=bert", f"seed={seed}"]
    return {
        "data": data,
        "split": split,
        "seed": seed,
        "overrides": overrides,
        "folder": folder,
        "identity": folder,
    }


# A line


def test_a_line_is_the_mean_over_splits_with_its_deviations() -> None:
    folders = [
        write_run(Path(f"r{split}{seed}"), share(count), split=split, seed=seed)
        for split, seed, count in [(1, 0, 6), (1, 1, 8), (2, 0, 9)]
    ]
    (line,) = lines_of([row_of("bert", folders)])
    summary = line.summary()
    assert summary is not None
    assert summary.mean == pytest.approx((70 + 90) / 2)
    assert (summary.n, summary.splits) == (3, 2)
    assert summary.sd == pytest.approx(np.std([60, 80, 90], ddof=1))
    assert summary.sd_seeds == pytest.approx(np.sqrt(200))
    assert summary.sd_splits == pytest.approx(np.std([70, 90], ddof=1))


def test_one_run_has_no_deviation() -> None:
    (line,) = lines_of([row_of("bert", [write_run(Path("r"), share(7))])])
    summary = line.summary()
    assert summary is not None
    assert (summary.mean, summary.sd, summary.sd_seeds, summary.sd_splits) == (70, None, None, None)


def test_runs_without_a_result_are_missing_and_say_why() -> None:
    done = write_run(Path("done"), share(7))
    crashed = Path("crashed")
    atomic.write_json(crashed / "error.json", {"message": "CUDA out of memory"})
    row = row_of("bert", [done])
    row.jobs += [Job(crashed, (2, 0)), Job(Path("nowhere"), (3, 0))]
    (line,) = lines_of([row])
    assert line.missing == ["split 2 seed 0 (crashed: CUDA out of memory)", "split 3 seed 0"]
    assert "split 3 seed 0" in tables.markdown(tables.Report("x", "x", [line]))


def test_a_row_without_any_result_has_a_line_with_what_its_network_costs() -> None:
    overrides = (*TINY, "pooling=bert")
    (line,) = lines_of([Row("bert", [Job(Path("nowhere"), (1, 0), overrides)], {"top1": 77.49})])
    assert line.summary() is None
    assert line.cost == total(of_configuration(list(overrides)))
    assert line.missing == ["split 1 seed 0"]
    assert tables.main_table(tables.Report("x", "x", [line]))[1][0][1] == "–"


def test_the_cost_is_that_of_the_runs_own_configuration(bert: DictConfig) -> None:
    (line,) = lines_of([row_of("bert", [write_run(Path("r"), share(7), bert)])])
    overrides = [*TINY, "pooling=bert", f"data.num_classes={len(CLASSES)}"]
    assert line.cost == total(of_configuration(overrides))


# What must not be mixed


def test_protocols_are_never_mixed() -> None:
    folders = [write_run(Path("a"), share(6)), write_run(Path("b"), share(8), seed=1, protocol="holdout")]
    lines = lines_of([row_of("bert", folders)])
    assert [line.title for line in lines] == [
        "bert [paper · ordered_motions]",
        "bert [holdout (fraction 0.1) · ordered_motions]",
    ]
    assert [round(line.summary().mean) for line in lines if line.summary()] == [60, 80]
    text = tables.plain(tables.Report("x", "x", lines))
    assert "holdout (fraction 0.1)" in text
    assert "paper · ordered_motions" in text


def test_lists_of_videos_are_never_mixed() -> None:
    folders = [write_run(Path("a"), share(6)), write_run(Path("b"), share(8), seed=1, lists="other")]
    lines = lines_of([row_of("bert", folders)])
    assert [len(line.results) for line in lines] == [1, 1]
    assert lines[0].title != lines[1].title


def test_the_same_lists_at_another_place_share_a_cell() -> None:
    folders = [write_run(Path("a"), share(6)), write_run(Path("b"), share(8), seed=1)]
    moved = json.loads((folders[1] / "results.json").read_text())
    moved["data"]["root"] = "/elsewhere"
    atomic.write_json(folders[1] / "results.json", moved)
    assert [len(line.results) for line in lines_of([row_of("bert", folders)])] == [2]


def test_lists_in_one_folder_that_changed_are_told_apart_by_themselves() -> None:
    folders = [write_run(Path("a"), share(6)), write_run(Path("b"), share(8), seed=1)]
    changed = json.loads((folders[1] / "results.json").read_text())
    changed["data"]["test"]["sha256"] = "0123456789"
    atomic.write_json(folders[1] / "results.json", changed)
    lines = lines_of([row_of("bert", folders)])
    assert [len(line.results) for line in lines] == [1, 1]
    assert "012345" in lines[1].title


def test_rows_under_different_protocols_are_not_compared() -> None:
    lines = lines_of(
        [
            row_of("a", [write_run(Path("a"), share(6))]),
            row_of("b", [write_run(Path("b"), share(8), protocol="holdout")]),
        ]
    )
    assert comparisons.against_first(lines) == []
    assert "not comparable" in comparisons.compare(lines[0], lines[1]).note


# Two streams


def two_streams(rgb: Scores, flow: Scores, flow_lists: str = "") -> Line:
    right = [True] * len(rgb.videos)
    rows = [
        row_of("rgb", [write_run(Path("rgb"), right, scores=rgb)]),
        row_of("flow", [write_run(Path("flow"), right, scores=flow, lists=flow_lists)]),
        Row("both", streams=("rgb", "flow")),
    ]
    return lines_of(rows)[-1]


def test_two_streams_are_the_sum_of_their_scores_whatever_their_order() -> None:
    rng = np.random.default_rng(0)
    one, two = scores(share(5)), scores(share(5))
    one = Scores(one.classes, one.videos, one.labels, rng.normal(size=(10, 6)).astype(np.float32), one.views)
    values = rng.normal(size=(10, 6)).astype(np.float32)
    turned = Scores(two.classes, two.videos[::-1], two.labels[::-1].copy(), values[::-1].copy(), two.views)
    line = two_streams(one, turned)
    summary = line.summary()
    assert summary is not None
    expected = ((one.scores + values).argmax(1) == one.labels).mean()
    assert summary.mean == pytest.approx(100 * expected, abs=1e-3)


def test_streams_of_other_videos_are_not_added() -> None:
    line = two_streams(scores(share(5)), scores(share(5), split=2))
    assert line.summary() is None
    assert "differ in 20 videos" in line.problems[0]


def test_streams_of_other_lists_are_not_added() -> None:
    line = two_streams(scores(share(5)), scores(share(5)), flow_lists="other")
    assert line.summary() is None
    assert "other lists of videos" in line.problems[0]


def test_two_streams_cost_both_and_wait_for_both(bert: DictConfig) -> None:
    write_run(Path("rgb"), share(5), bert)
    rows = [
        Row("rgb", [Job(Path("rgb"), (1, 0))]),
        Row("flow", [Job(Path("flow"), (1, 0), (*TINY, "pooling=bert"))]),
        Row("both", streams=("rgb", "flow")),
    ]
    rgb, flow, both = lines_of(rows)
    assert both.missing == ["split 1 seed 0"]
    assert rgb.cost and flow.cost and both.cost == rgb.cost + flow.cost


# Comparisons


def compared(first: Sequence[bool], second: Sequence[bool], **other: Any) -> comparisons.Comparison:
    write_run(Path("first"), first)
    write_run(Path("second"), second, **other)
    return comparisons.compare(*lines_of([row_of("a", [Path("first")]), row_of("b", [Path("second")])]))


def test_comparison_counts_the_videos_that_only_one_row_gets_right() -> None:
    # 12 videos: 1 right in the first alone, 6 in the second alone, 5 in both.
    made = compared([True] * 6 + [False] * 6, [False] + [True] * 11)
    assert (made.only_first, made.only_second, made.videos, made.pairs) == (1, 6, 12, 1)
    assert made.difference == pytest.approx(100 * 5 / 12)
    assert made.p == pytest.approx(2 * (1 + 7) / 2**7)
    assert made.p_mid == pytest.approx(made.p - 7 / 2**7)
    assert made.low <= made.difference <= made.high


def test_scores_of_other_classes_are_not_compared() -> None:
    classes = ["up", "down", "left", "right", "in", "other"]
    made = compared(share(5), share(5), scores=scores(share(5), classes=classes))
    assert not made.made
    assert "other lists of classes" in made.note


def test_pairs_need_the_same_split_and_seed() -> None:
    made = compared(share(5), share(5), seed=1)
    assert not made.made
    assert made.note == "no split and seed in common"


def test_compare_picks_rows_by_name_or_number() -> None:
    names = ["average", "bert, 2 layers", "bert"]
    lines = lines_of([row_of(name, [write_run(Path(f"r{i}"), share(i))]) for i, name in enumerate(names)])
    picked = {text: comparisons.pick(lines, text)[0] for text in ("average,bert, 2 layers", "1,3", "bert,average")}
    assert [(a.name, b.name) for a, b in picked.values()] == [
        ("average", "bert, 2 layers"),
        ("average", "bert"),
        ("bert", "average"),
    ]
    with pytest.raises(UserError, match=r"no row lstm; rows: 1 average, 2 bert, 2 layers, 3 bert"):
        comparisons.pick(lines, "average,lstm")
    with pytest.raises(UserError, match="give two rows"):
        comparisons.pick(lines, "average")


# Folders that are not whole


def test_a_score_file_that_is_gone_takes_only_the_comparison_with_it() -> None:
    write_run(Path("first"), share(5))
    write_run(Path("second"), share(7))
    Path("second/scores/test.npz").unlink()
    lines = lines_of([row_of("a", [Path("first")]), row_of("b", [Path("second")])])
    made = tables.Report("x", "x", lines, [comparisons.compare(*lines)])
    assert "no readable scores" in made.comparisons[0].note
    assert any("second/scores/test.npz: no score file here" in note for note in made.notes)
    assert "70.00" in tables.plain(made)


@pytest.mark.parametrize("content", [b"", b"no archive", b"PK\x03\x04 cut off"])
def test_broken_score_files_are_told(content: bytes) -> None:
    run = read_run(write_run(Path("r"), share(5)))
    assert run is not None
    Path("r/scores/test.npz").write_bytes(content)
    assert run.scores is None
    assert "cannot be read" in run.problems[0]


def test_scores_that_belong_to_another_result_are_not_used() -> None:
    run = read_run(write_run(Path("r"), share(5)))
    assert run is not None
    scores(share(9)).save(Path("r/scores/test.npz"))
    assert run.scores is None
    assert "gives 90.00 % top-1, but results.json says 50.00 %" in run.problems[0]


@pytest.mark.parametrize("name", ["results.json", "run.json", "config.yaml"])
def test_half_written_files_do_not_end_the_report(name: str, bert: DictConfig) -> None:
    write_run(Path("r"), share(5), bert)
    Path("r", name).write_text('{"model": [1, ')
    (line,) = lines_of([Row("bert", [Job(Path("r"), (1, 0))])])
    assert any(name in problem for problem in line.problems)
    assert bool(line.results) == (name != "results.json")


def test_a_folder_with_nothing_in_it_is_no_run() -> None:
    Path("empty").mkdir()
    assert read_run(Path("empty")) is None
    with pytest.raises(UserError, match="runs=empty: holds no run"):
        experiments.from_folders([Path("empty")])


def test_curves_of_a_resumed_run_are_one_curve() -> None:
    head = "epoch,step,train/loss_step,train/loss_epoch,val/top1,test/top1\n"
    first = Path("r/csv/version_0/metrics.csv")
    atomic.write_text(first, head + "0,5,9.0,,,\n0,5,,2.0,,\n0,5,,,10,\n1,9,,1.5,,\n1,9,,,20,\n2,13,,1.4")
    atomic.write_text(Path("r/csv/version_10/metrics.csv"), head + "2,13,,1.2,,\n2,13,,,40,\n2,13,,,,41\n")
    atomic.write_text(Path("r/csv/version_2/metrics.csv"), head + "1,9,,1.6,,\n1,9,,,21,\n2,13,,7,,\n")
    run = read_run(write_run(Path("r"), share(5)))
    assert run is not None
    assert run.curves == {"train/loss": {1: 2.0, 2: 1.6, 3: 1.2}, "val/top1": {1: 10.0, 2: 21.0, 3: 40.0}}


# Where rows come from


def test_a_manifest_with_two_data_sets_makes_a_row_for_each() -> None:
    for name in ("hmdb51", "ucf101"):
        for stream in ("rgb", "flow"):
            write_run(Path(f"{stream}-{name}"), share(6 if name == "hmdb51" else 8), name=name)
    paper = {"hmdb51": 81.78, "ucf101": 97.46, "modality": "both"}
    sets = ("hmdb51", "ucf101")
    rows: list[dict[str, Any]] = [
        {"name": stream, "streams": None, "paper": None, "jobs": [job(f"{stream}-{d}", data=d) for d in sets]}
        for stream in ("rgb", "flow")
    ]
    rows.append({"name": "both", "streams": ["rgb", "flow"], "paper": paper, "jobs": []})
    write_manifest(rows)
    title, read = experiments.from_manifest(Path("outputs/sweeps/mini.json"))
    lines = lines_of(read)
    assert title == "mini: A table of one's own"
    assert [line.name for line in lines][-2:] == ["both · hmdb51", "both · ucf101"]
    assert [line.paper for line in lines][-2:] == [81.78, 97.46]
    assert [round(line.summary().mean) for line in lines if line.summary()] == [60, 80, 60, 80, 60, 80]


def test_the_difference_to_the_paper_needs_the_whole_published_test_list() -> None:
    expected = {"top1": 50.0}
    rows = [
        row_of("part", [write_run(Path("part"), share(6), name="hmdb51")], expected=expected),
        row_of("own", [write_run(Path("own"), share(900, 1530))], expected=expected),
        row_of("whole", [write_run(Path("whole"), share(900, 1530), name="hmdb51")], expected=expected),
        row_of("holes", [write_run(Path("x"), share(900, 1530), name="hmdb51", tested=1529)], expected=expected),
    ]
    differences = [line.difference for line in lines_of(rows)]
    assert differences == [None, None, pytest.approx(100 * 900 / 1530 - 50, abs=1e-3), None]


def test_loose_runs_that_differ_only_in_split_and_seed_make_a_row(bert: DictConfig) -> None:
    two_layers = compose([*TINY, "pooling=bert", "pooling.head.layers=2"])
    average = compose([*TINY, "pooling=average", "optim=sgd"])
    folders = [
        write_run(Path("outputs/a"), share(5), bert),
        write_run(Path("outputs/b"), share(6), bert, seed=1),
        write_run(Path("outputs/c"), share(7), two_layers),
        write_run(Path("outputs/d"), share(8), average),
    ]
    rows = experiments.from_folders(folders)
    assert [(row.name, len(row.jobs)) for row in rows] == [
        ("tiny bert pooling.head.layers=1", 2),
        ("tiny bert pooling.head.layers=2", 1),
        ("tiny average sgd", 1),
    ]


# The files


@pytest.fixture()
def sweep(bert: DictConfig) -> None:
    """Two rows of three seeds, one of them missing, and a row with a name to be escaped."""
    for seed in range(3):
        write_run(Path(f"outputs/runs/a{seed}"), share(4 + seed, 24), bert, seed=seed)
        text = "epoch,step,train/loss_epoch,train/top1,val/loss,val/top1\n0,1,2,0.2,,\n0,1,,,1.9,30\n1,2,1,0.3,,\n"
        atomic.write_text(Path(f"outputs/runs/a{seed}/csv/version_0/metrics.csv"), text)
        if seed < 2:
            write_run(Path(f"outputs/runs/b{seed}"), share(14 + seed, 24), bert, seed=seed)
    printed = {"top1": 74.46, "params": 47.63, "operations": 38.56}
    rows = [
        {
            "name": name,
            "streams": None,
            "paper": printed,
            "jobs": [job(f"outputs/runs/{x}{s}", 1, s) for s in range(3)],
        }
        for x, name in (("a", "average & <b>50 %</b>_x"), ("b", "bert"))
    ]
    write_manifest(rows)


def test_the_command_prints_the_table_and_writes_the_files(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["mini"])
    folder = Path("outputs/reports/mini")
    assert sorted(path.name for path in folder.iterdir()) == [f"report.{x}" for x in ("csv", "html", "md", "tex")]
    printed = capsys.readouterr().out
    assert "bert" in printed and "74.46" in printed and "split 1 seed 2" in printed
    record = list(csv.DictReader(io.StringIO((folder / "report.csv").read_text())))[1]
    assert float(record["top1"]) == pytest.approx(100 * 14.5 / 24, abs=1e-3)
    assert (record["n"], record["missing"], record["protocol"]) == ("2", "split 1 seed 2", "paper")
    assert record["folders"] == "outputs/runs/b0; outputs/runs/b1"


class Page(HTMLParser):
    """Every address and every tag of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.addresses: list[str] = []
        self.open: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "xlink:href", "data")]
        if tag not in ("meta", "br"):
            self.open.append(tag)

    def handle_startendtag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.handle_starttag(tag, attrs)
        self.open.pop()

    def handle_endtag(self, tag: str) -> None:
        assert self.open.pop() == tag


def test_the_page_needs_nothing_else_and_links_to_the_configurations(sweep: None) -> None:
    report.main(["mini"])
    path = Path("outputs/reports/mini/report.html")
    text = path.read_text()
    page = Page(text)
    assert not page.open
    assert not re.search(r"https?:|//[a-z]|url\(|@import", text)
    assert not {"script", "link", "img", "iframe"} & set(page.tags)
    assert len(page.addresses) == 5
    assert all((path.parent / address).resolve().is_file() for address in page.addresses)
    assert "<b>50" not in text
    assert page.tags.count("svg") == 1 + 4 + 2  # dots, four curves, a confusion matrix a row


def test_latex_and_markdown_escape_what_they_must(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["mini", "format=latex"])
    text = capsys.readouterr().out
    assert r"average \& $<$b$>$50 \%$<$/b$>$\_x" in text
    assert text.count(r"\begin{tabular}") == text.count(r"\end{tabular}") == 2
    assert r"$\pm$" in text
    assert all(line.startswith("%") or line.isascii() for line in text.splitlines())
    (line,) = lines_of([Row("a|b")])
    assert r"a\|b" in tables.markdown(tables.Report("x", "x", [line]))


def test_one_format_goes_where_it_is_sent(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["mini", "format=csv"])
    assert capsys.readouterr().out.startswith("experiment,row,protocol")
    report.main(["mini", "format=html", "out=pages/mine.html"])
    addresses = Page(Path("pages/mine.html").read_text()).addresses
    assert addresses[0] == "../outputs/runs/a0/config.yaml"
    assert not Path("outputs/reports").exists()


def test_compare_on_the_command_line(sweep: None, capsys: pytest.CaptureFixture[str]) -> None:
    report.main(["mini", "compare=2,1", "format=markdown"])
    pairs = capsys.readouterr().out.split("### Paired tests")[1]
    assert "| bert | average & <b>50 %</b>_x | −41.67 |" in pairs


def test_without_words_all_sweeps_and_the_runs_of_none(
    sweep: None, bert: DictConfig, capsys: pytest.CaptureFixture[str]
) -> None:
    write_run(Path("outputs/by_hand"), share(5), bert)
    report.main([])
    printed = capsys.readouterr().out
    assert "A table of one's own" in printed and "Single runs" in printed
    with (Path("outputs/reports/runs/report.csv")).open() as file:
        assert [row["folders"] for row in csv.DictReader(file)] == ["outputs/by_hand"]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["table9"], r"no sweep table9 has been started; there are: mini \(in outputs/sweeps/\)"),
        (["format=pdf"], "format=pdf does not exist; format can be: terminal, markdown, csv, latex, html"),
        (["sort=top1"], "sort=top1: there is no such option"),
        (["mini", "runs=outputs/nothing"], "runs=outputs/nothing: holds no run"),
        (["mini", "compare=bert"], "compare=bert: give two rows"),
    ],
)
def test_mistakes_on_the_command_line(sweep: None, arguments: list[str], said: str) -> None:
    with pytest.raises(UserError, match=said):
        report.main(arguments)


def test_nothing_to_report_and_a_file_that_is_no_manifest() -> None:
    with pytest.raises(UserError, match="nothing to report"):
        report.main([])
    atomic.write_text(Path("outputs/sweeps/odd.json"), '{"rows": [{}]}')
    with pytest.raises(UserError, match=r"outputs/sweeps/odd.json: is no sweep's manifest"):
        report.main(["odd"])


def test_a_page_of_an_experiment_without_results_stands() -> None:
    (line,) = lines_of([Row("bert", [Job(Path("nowhere"), (1, 0))], {"top1": 77.49})])
    page = Page(html.page(tables.Report("x", "x", [line]), Path()))
    assert not page.open
