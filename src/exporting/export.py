"""A network written to a file, and the file checked at once."""

from importlib.metadata import version
from pathlib import Path

from src import files, plugins
from src.build import rebuilding
from src.config import ROOT
from src.errors import UserError
from src.exporting import checking, formats
from src.exporting.checking import Check
from src.exporting.formats import Portable
from src.prediction.exported import FORM, Exported
from src.prediction.network import Network
from src.runs.identity import title


def describe(network: Network, precision: str, licence: str, identity: str | None) -> Exported:
    """What a file with this network says of it.

    Raises:
        UserError: it tells several classes of a video, which such a file has no word for.
    """
    network.one_class("src.export")
    return Exported(
        form=FORM,
        title=title(network.cfg),
        classes=network.classes,
        modality=network.modality,
        clip=network.clip,
        precision=precision,
        licence=licence,
        weights=network.file.name,
        sha256=files.sha256(network.file),
        identity=identity,
        overrides=rebuilding.overrides(network.cfg),
        versions={"torch": version("torch"), "late-temporal-modelling": _own_version()},
        plugins=plugins.active(),
    )


def export(network: Network, about: Exported, kind: str, out: Path) -> Check:
    """Write `out`, and beside it `out`.check.json: how far it is from the network. Files that are there are replaced.

    Raises:
        UserError: it cannot be exported, or the file gives something else; nothing is written then.
    """
    if out.exists() and out.samefile(network.file):
        raise UserError(f"out={out} is the file that the weights come from; give another name")
    clips, named = checking.real_clips(network)
    portable = Portable(network.with_parts(), about.precision == "float16")
    with files.scratch(out.absolute().parent, out.name) as folder:
        written = folder / out.name
        formats.write(kind, portable, clips, about.texts(), written)
        result = checking.check(kind, written, network, portable, clips, named)
        written.replace(out)
    result.write(check_file(out))
    return result


def check_file(out: Path) -> Path:
    """Where the check of an exported file is kept."""
    return out.with_name(f"{out.name}.check.json")


def _own_version() -> str:
    """As pyproject.toml has it; this project is not installed as a package."""
    import tomllib

    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
