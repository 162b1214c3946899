"""The page itself, in Gradio: served to this machine alone; the browser loads nothing from elsewhere.

Nothing is kept. Uploads and pictures live in a temporary folder: an upload until it is answered, pictures until the
browser has them, and the folder until the command ends.
"""

import base64
import html
import os
import shutil
import tempfile
import threading
from collections.abc import Awaitable, Callable, Iterator, MutableMapping, Sequence
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import Any

from src.data.annotations import Video
from src.errors import UserError
from src.page.answer import LARGEST_MB, LONGEST_S, TOP, Answer, Choice, Opened, answers
from src.text import console, printable

TITLE = "What does this video show, when, and why?"
HOST = "127.0.0.1"
# Gradio's page asks for fonts and scripts of other hosts, and does without.
POLICY = b"default-src 'self' 'unsafe-inline' 'unsafe-eval' data: blob:; frame-ancestors 'none'"
LEFT_S = 3600  # after which an upload that nobody has asked about is removed
SWEEP_S = 300  # from one look for such uploads to the next
SILENT = {"GRADIO_ANALYTICS_ENABLED": "False", "HF_HUB_DISABLE_TELEMETRY": "1"}

Messages = Callable[[], Awaitable[MutableMapping[str, Any]]]
Send = Callable[[MutableMapping[str, Any]], Awaitable[None]]


def serve(choices: Sequence[Choice], examples: Sequence[tuple[str, Video]], port: int | None) -> None:
    """Serve the page until a signal comes.

    Args:
        examples: a name and a video each.
        port: None for the first free one from 7860 up.

    Raises:
        UserError: the port is not free.
    """
    with _uploads() as folder:
        page = build(choices, examples, folder)
        try:
            _, address, _ = page.launch(
                server_name=HOST,
                server_port=port,
                share=False,
                quiet=True,
                inbrowser=False,
                prevent_thread_lock=True,
                max_file_size=f"{LARGEST_MB}mb",
                allowed_paths=[],
                footer_links=[],
                ssr_mode=False,
                enable_monitoring=False,
                mcp_server=False,
                app_kwargs={"middleware": [_middleware()]},
            )
        except OSError as error:
            raise UserError(f"port={port}: it cannot be had; give another, or leave port= out") from error
        try:
            console().print(
                f"{address}: for this machine alone; videos up to {LARGEST_MB} MB and {LONGEST_S:.0f} s, removed once "
                "they are answered; Ctrl-C ends it"
            )
            threading.Event().wait()
        finally:
            page.close(verbose=False)


@contextmanager
def _uploads() -> Iterator[Path]:
    """Where uploads are for as long as the block lasts. Gradio reads its settings when it is imported."""
    with tempfile.TemporaryDirectory(prefix="late-temporal-page-", ignore_cleanup_errors=True) as folder:
        os.environ.update(SILENT, GRADIO_TEMP_DIR=os.path.realpath(folder))
        yield Path(os.path.realpath(folder))


def build(choices: Sequence[Choice], examples: Sequence[tuple[str, Video]], folder: Path) -> Any:
    """The page, a `gradio.Blocks`. folder: where uploads are, and pictures for a moment."""
    import gradio as gr

    opened = Opened(list(choices))
    titles = list(opened.choices)

    def ask(title: str, video: str | None) -> Iterator[tuple[dict[str, float] | None, str, str, str]]:
        if video is None:
            raise gr.Error("Drop or record a video first.", print_exception=False)
        try:
            yield None, "", "", ""  # what was said of another video does not stay beside an error
            with tempfile.TemporaryDirectory(dir=folder) as pictures:
                for answer in answers(opened.get(title), Path(video), Path(pictures)):
                    yield answer.shares, html.escape(answer.note), *_pictures(answer)
        except UserError as error:
            raise gr.Error(html.escape(printable(error)), duration=None, print_exception=False) from None
        finally:
            remove(Path(video), folder)

    def example(index: int) -> str:
        source = Path(examples[index][1].path)
        place = folder / f"example {index}"  # from where Gradio copies it, as it does with an upload
        place.mkdir(exist_ok=True)
        return str(shutil.copy(source, place / source.name))

    with gr.Blocks(title=TITLE, analytics_enabled=False, delete_cache=(SWEEP_S, LEFT_S)) as page:
        gr.Markdown(f"# {TITLE}")
        with gr.Row():
            with gr.Column(scale=2):
                video = gr.Video(
                    label=f"A video of up to {LONGEST_S:.0f} seconds and {LARGEST_MB} MB",
                    sources=["upload", "webcam"],
                    include_audio=True,
                    webcam_options=gr.WebcamOptions(mirror=False),
                    height=280,
                    elem_id="video",
                )
                network = gr.Dropdown(titles, value=titles[0], label="Network", elem_id="network")
                button = gr.Button("Ask", variant="primary", elem_id="ask")
                offered = gr.Dataset(
                    label="Examples: clips of the embedded data, by what they show",
                    components=[gr.Textbox(visible=False)],
                    samples=[[name] for name, _ in examples],
                    type="index",
                    visible=bool(examples),
                )
            with gr.Column(scale=3):
                classes = gr.Label(label="Classes", num_top_classes=TOP, elem_id="classes")
                note = gr.HTML(elem_id="note")
                timeline = gr.HTML(elem_id="timeline")
        why = gr.HTML(elem_id="why")
        gr.Markdown(
            "A video is removed from this machine once it is answered: to ask another network, drop it again.",
        )
        hidden = {"api_visibility": "private"}
        asked = button.click(ask, [network, video], [classes, note, timeline, why], concurrency_limit=1, **hidden)
        for ended in (asked.success, asked.failure):  # Gradio 6.31 passes over `then` after an error
            ended(lambda: None, None, video, **hidden)
        offered.click(example, offered, video, **hidden)
    return page


def remove(video: Path, folder: Path) -> None:
    """Remove an upload, and the folder that Gradio made for it. Touches nothing outside of `folder`."""
    if Path(os.path.realpath(video)).is_relative_to(folder):
        video.unlink(missing_ok=True)
        with suppress(OSError):
            video.parent.rmdir()


def _pictures(answer: Answer) -> tuple[str, str]:
    """When and why, as HTML that has the pictures in it: no file of them need be kept for the browser."""
    when = "<h3>When</h3>" + _image(answer.timeline, "probabilities over time") if answer.timeline else ""
    if answer.picture is None or answer.clip is None:
        return when, ""
    style = "max-height: 320px; max-width: 100%"
    clip = f'<video src="{_data(answer.clip, "video/mp4")}" style="{style}" autoplay loop muted controls></video>'
    picture = _image(answer.picture, "frames, Grad-CAM, score without each time step, attention")
    return when, "<h3>Why: the clip that speaks most for the first class</h3>" + picture + clip


def _image(path: Path, text: str) -> str:
    return f'<img src="{_data(path, "image/png")}" alt="{text}" style="width: 100%">'


def _data(path: Path, kind: str) -> str:
    return f"data:{kind};base64,{base64.b64encode(path.read_bytes()).decode()}"


class Headers:
    """Tells the browser, with every answer, to load nothing from other hosts (ASGI)."""

    def __init__(self, app: Callable[[Any, Messages, Send], Awaitable[None]]) -> None:
        self.app = app

    async def __call__(self, scope: Any, receive: Messages, send: Send) -> None:
        async def with_policy(message: MutableMapping[str, Any]) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (b"content-security-policy", POLICY)]
            await send(message)

        await self.app(scope, receive, with_policy)


def _middleware() -> Any:
    from starlette.middleware import Middleware

    return Middleware(Headers)
