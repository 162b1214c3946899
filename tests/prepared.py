"""What tests of src.prepare share: a quick run of it in this process, and what it leaves."""

from src.build.compose import compose
from src.data.survey import find_videos, take_stock
from src.prepare import prepare

QUICK = ["flow=tvl1", "flow.size=[32,24]", "flow.settings.nscales=1", "flow.settings.warps=1"]


class Quiet:
    """A progress bar that only counts."""

    def __init__(self):
        self.done = []

    def start(self, what, total, done):
        self.known = done

    def advance(self, entry):
        self.done.append(entry.name)


def run(*overrides):
    prepare(compose(["limit_s=1000", *overrides, "workers=2"], "prepare"))  # also beside much else


def stock(root, limit_s=1000, retry_bad=False):
    quiet = Quiet()
    return take_stock(root, find_videos(root), 2, limit_s, retry_bad, quiet), quiet


def everything(folder):
    return {path: path.read_bytes() for path in sorted(folder.rglob("*")) if path.is_file()}
