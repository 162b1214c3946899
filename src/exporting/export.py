"""A network written to a file, and the file checked at once."""

from importlib.metadata import version
from pathlib import Path

from src import extras, files
from src.build import rebuilding
from src.config import ROOT
from src.errors import UsageError, UserError
from src.exporting import checking, formats
from src.exporting.checking import Check
from src.exporting.formats import ENDINGS, Portable
from src.prediction.exported import FORM, Exported
from src.prediction.network import Network
from src.runs.identity import title

UNSTATED = "not stated"
NEEDS = {"onnx": ("onnx", "onnxruntime", "onnxscript")}  # format → modules of the extra


def check_target(kind: str, out: Path) -> None:
    """Refuse what cannot work, before a network is read.

    Raises:
        UsageError: another ending.
        UserError: the extra is not installed, or `out` cannot be a file.
    """
    extras.require(f"format={kind}", "export", *NEEDS.get(kind, ()))
    if out.suffix != ENDINGS[kind]:
        raise UsageError(f"out={out}: a file of format={kind} ends in {ENDINGS[kind]}")
    if out.is_dir():
        raise UserError(f"out={out} is a folder; give a file in it")
    if not out.absolute().parent.is_dir():
        raise UserError(f"out={out}: there is no folder {out.absolute().parent}; make it first")


def describe(network: Network, precision: str, licence: str, identity: str | None) -> Exported:
    """What a file with this network says of it."""
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


def default_name(kind: str) -> str:
    """What a file is called that has been given no name."""
    return f"network{ENDINGS[kind]}"


def _own_version() -> str:
    """As pyproject.toml has it; this project is not installed as a package."""
    import tomllib

    return str(tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]["version"])
