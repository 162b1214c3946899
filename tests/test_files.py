import pytest
from src import files


def test_an_interrupted_write_leaves_the_old_file_and_nothing_else(tmp_path) -> None:
    path = tmp_path / "results.json"
    files.write_json(path, {"a": 1})
    with pytest.raises(RuntimeError), files.replacing(path) as temporary:
        temporary.write_text("half")
        raise RuntimeError
    assert path.read_text() == '{\n  "a": 1\n}\n'
    assert list(tmp_path.iterdir()) == [path]


def test_the_ending_stays_so_that_writers_know_the_format(tmp_path) -> None:
    with files.replacing(tmp_path / "clip.mp4") as temporary:
        assert temporary.suffix == ".mp4"
