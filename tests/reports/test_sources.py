"""Where entries come from: manifests, and runs given by hand."""

from pathlib import Path

import pytest
from src.config import EXPERIMENTS
from src.errors import UserError
from src.reports import sources
from src.reports.lines import lines_of
from src.runs.folder import RunFolder
from src.sweeps import manifest, paper
from src.sweeps.manifest import Row

from tests.reports.made_runs import job, share, write_manifest, write_run


def test_a_manifest_with_two_data_sets_makes_an_entry_for_each() -> None:
    for name in ("hmdb51", "ucf101"):
        for stream in ("rgb", "flow"):
            write_run(f"{stream}-{name}", share(6 if name == "hmdb51" else 8), name=name)
    sets = ("hmdb51", "ucf101")
    rows = [Row(f"resnext101_bert_{s}", [], [job(f"{s}-{d}", data=d) for d in sets]) for s in ("rgb", "flow")]
    rows.append(Row("resnext101_bert_both", [row.name for row in rows], []))
    source = sources.from_manifest("table7", write_manifest(rows, "table7", table="table7"))
    lines = lines_of(source.entries)
    assert source.title == "table7: A table of one's own"
    assert [line.name for line in lines][-2:] == ["resnext101_bert_both · hmdb51", "resnext101_bert_both · ucf101"]
    assert [line.paper for line in lines] == [None, None, None, None, 83.55, 97.87]
    assert [round(line.summary().mean) for line in lines if line.summary()] == [60, 80, 60, 80, 60, 80]


@pytest.mark.parametrize(
    ("table", "row", "data", "expected"),
    [
        ("table1", "bert", "hmdb51", {"top1": 77.49, "params": 47.38, "operations": 38.37}),
        ("table2", "one_head", "hmdb51", {"top1": 76.97}),
        ("table7", "r2plus1d_bert_64", "ucf101", {"top1": 98.69}),
        ("table7", "r2plus1d_bert_64", "folder", {}),
        ("table1", "my_head", "hmdb51", {}),
        (None, "bert", None, {}),
        ("../table1", "bert", None, {}),
    ],
)
def test_the_papers_numbers_are_found_by_name(
    table: str | None, row: str, data: str | None, expected: dict[str, float]
) -> None:
    assert paper.numbers(table, row, data) == expected


def test_every_row_that_the_paper_prints_is_a_row_of_the_experiment() -> None:
    for number in range(1, 8):
        text = (EXPERIMENTS / f"table{number}.yaml").read_text(encoding="utf-8")
        for name in paper.rows(f"table{number}"):
            assert f"\n    {name}: {{" in text
    with pytest.raises(UserError, match="the paper has no table8; choose from table1"):
        paper.rows("table8")


def test_the_published_test_lists_have_the_published_sizes() -> None:
    assert [paper.published_test_videos("ucf101", split) for split in (1, 2, 3, 4, None)] == [
        3783,
        3734,
        3696,
        None,
        None,
    ]
    assert paper.published_test_videos("hmdb51", 1) == 1530
    assert paper.published_test_videos("folder", 1) is None


def test_runs_by_hand_that_differ_only_in_split_and_seed_make_an_entry() -> None:
    average = {"pooling.name": "average", "optim.name": "sgd"}
    folders = [
        write_run("outputs/a", share(5)),
        write_run("outputs/b", share(6), seed=1),
        write_run("outputs/c", share(6), split=2, protocol="holdout", settings={"protocol.name": "holdout"}),
        write_run("outputs/d", share(7), settings={"pooling.head.layers": 2}),
        write_run("outputs/e", share(8), settings=average),
    ]
    (folders[1] / "config.yaml").write_text("model: {name: another}")  # for people; a report does not read it
    entries = sources.entries_of(map(RunFolder, folders))
    assert [(entry.name, len(entry.jobs)) for entry in entries] == [
        ("tiny bert pooling.head.layers=1", 3),
        ("tiny bert pooling.head.layers=2", 1),
        ("tiny average sgd", 1),
    ]
    assert [line.title for line in lines_of(entries)][:2] == [
        "tiny bert pooling.head.layers=1 [paper · ordered_motions]",
        "tiny bert pooling.head.layers=1 [holdout (fraction 0.1) · ordered_motions]",
    ]


def test_a_run_that_has_not_finished_is_missing_from_the_entry_of_its_settings() -> None:
    folders = [write_run("outputs/a", share(5)), write_run("outputs/b", share(6), seed=1)]
    RunFolder(folders[1]).results.unlink()
    (line,) = lines_of(sources.entries_of(map(RunFolder, folders)))
    assert line.name == "tiny bert"
    assert line.missing == ["split 1 seed 1 (interrupted: 0 epochs done)"]


def test_entries_never_share_a_name() -> None:
    """Their names show three differing options at most."""
    many = [{f"trainer.option{i}": value for i in range(5)} for value in (0, 1)]
    for settings in many:
        settings |= {"pooling.head.a": 0, "pooling.head.b": 0, "pooling.head.c": 0}
    many[1] |= {"trainer.option9": 1}
    folders = [write_run(f"r{i}", share(5 + i), settings=settings) for i, settings in enumerate(many)]
    folders.append(write_run("r2", share(9), settings=many[1] | {"trainer.option9": 2}))
    names = [entry.name for entry in sources.entries_of(map(RunFolder, folders))]
    assert len(set(names)) == 3


def test_loose_runs_are_those_of_no_sweep() -> None:
    write_run("outputs/runs/planned", share(5))
    write_run("outputs/runs/other", share(5))
    write_run("outputs/by_hand", share(5))
    write_manifest([Row("bert", [], [job("outputs/runs/planned"), job("outputs/runs/planned", seed=1)])])
    chosen, damaged = sources.choose([], [])
    assert not damaged
    assert [source.name for source in chosen] == ["mini", "runs"]
    jobs = [job.folder for entry in chosen[1].entries for job in entry.jobs]
    assert jobs == ["outputs/by_hand", "outputs/runs/other"]


def test_a_folder_with_nothing_in_it_is_no_run() -> None:
    Path("empty").mkdir()
    for name in ("empty", "nowhere", "x\0y", "~nobody-here/run", "n" * 5000):
        with pytest.raises(UserError, match="run="):
            sources.find_folder(name)


def test_the_manifest_keeps_the_seeds_of_earlier_starts() -> None:
    def seeds(wanted: list[int], *overrides: str) -> list[int]:
        rows = [Row("bert", [], [job(f"r{seed}{overrides}", seed=seed) for seed in wanted])]
        manifest.write(manifest.Manifest(2, "mini", None, "x", list(overrides), rows))
        content = manifest.read(manifest.path_of("mini"))
        assert content is not None
        return [job.seed for job in content.rows[0].jobs]

    assert seeds([0]) == [0]
    assert seeds([1, 2]) == [1, 2, 0]
    assert seeds([0], "recipe.epochs=1") == [0]  # other runs: nothing of before belongs beside them
