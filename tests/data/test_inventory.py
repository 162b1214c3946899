import json
import resource

import pytest
from src.data.inventory import FILE, Entry, journal, load, write
from src.errors import UserError


def entry(name, **changes):
    values = {"frames": 9, "size": (64, 48), "fps": 25.0, "codec": "h264", "bytes": 5, "mtime": 7, "sha256": "ab"}
    return Entry(name, **{**values, "bad": None, **changes})


ODD = ["a b/c;[d] é.avi", "tab\there.avi", "line\nbreak.avi", "\udcff not utf-8.avi", '"quoted".avi']


def test_what_is_written_is_read(tmp_path):
    entries = {name: entry(name) for name in ODD}
    entries["x"] = entry("x", frames=0, size=None, fps=None, codec=None, sha256=None, bad="it is empty")
    write(tmp_path, entries)
    assert load(tmp_path) == entries
    assert load(tmp_path / "nowhere") == {}


def test_an_older_inventory_is_read(tmp_path):
    write(tmp_path, {"a": entry("a", in_order=True)})
    values = json.loads((tmp_path / FILE).read_text())
    assert values.pop("in_order") is True
    (tmp_path / FILE).write_text(json.dumps(values) + "\n")
    assert load(tmp_path) == {"a": entry("a", in_order=None)}


def test_a_journal_keeps_what_was_added_before_a_crash(tmp_path):
    with pytest.raises(ZeroDivisionError), journal(tmp_path) as opened:
        opened.add(entry("b"))
        opened.add(entry("a"))
        _ = 1 / 0
    assert set(load(tmp_path)) == {"a", "b"}
    with (tmp_path / FILE).open("a") as stream:
        stream.write('{"name": "torn", "fra')  # the power went off here
    assert set(load(tmp_path)) == {"a", "b"}
    with journal(tmp_path) as opened:
        assert set(opened.entries) == {"a", "b"}
        opened.add(entry("c"))
        opened.add(entry("a", frames=3))
        assert load(tmp_path)["a"].frames == 3  # on disk already
    lines = (tmp_path / FILE).read_text().splitlines()
    assert len(lines) == 3 and lines == sorted(lines) and load(tmp_path)["a"].frames == 3
    assert [path.name for path in tmp_path.iterdir()] == [FILE]


def test_a_full_disk_leaves_whole_lines(tmp_path):
    with pytest.raises(OSError), journal(tmp_path) as opened:
        opened.add(entry("kept"))
        soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
        resource.setrlimit(resource.RLIMIT_FSIZE, ((tmp_path / FILE).stat().st_size + 40, hard))
        try:
            opened.add(entry("lost" * 30))
        finally:
            resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert set(load(tmp_path)) == {"kept"} and (tmp_path / FILE).read_bytes().endswith(b"\n")


@pytest.mark.parametrize("line", ["not json", "[]", '{"name": "a"}', '{"name": "a", "size": null, "more": 1}'])
def test_a_line_that_is_no_entry_is_named(tmp_path, line):
    write(tmp_path, {"a": entry("a")})
    with (tmp_path / FILE).open("a") as stream:
        stream.write(line + "\n")
    with pytest.raises(UserError, match="line 2 is not an inventory entry"):
        load(tmp_path)


def test_an_entry_knows_its_file(tmp_path):
    file = tmp_path / "a.avi"
    file.write_bytes(b"12345")
    status = file.stat()
    assert entry("a.avi", bytes=5, mtime=status.st_mtime_ns).describes(status)
    assert not entry("a.avi", bytes=5, mtime=status.st_mtime_ns + 1).describes(status)
    assert not entry("a.avi", bytes=6, mtime=status.st_mtime_ns).describes(status)
