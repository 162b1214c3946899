"""Networks on the Hugging Face Hub, or on another server with its interface ($HF_ENDPOINT).

A network there is one .safetensors file, whose header says all that is needed to use it, with config.json and a page
for people. Nothing else is ever uploaded or downloaded: no pickles, no code.
"""

import re
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

from src import extras
from src.errors import UsageError, UserError
from src.text import first_line, printable

WEIGHTS, CONFIG, PAGE = "model.safetensors", "config.json", "README.md"
NAME = re.compile(r"[A-Za-z0-9][\w.-]*/[A-Za-z0-9][\w.-]*", re.ASCII)


def check_name(name: str) -> None:
    """Refuse what is no name on the hub, and a missing package.

    Raises:
        UsageError, UserError
    """
    if not NAME.fullmatch(name) or ".." in name:
        raise UsageError(f"hub={printable(name)}: give user/name")
    extras.require(f"hub={name}", "hub", "huggingface_hub")


def pull(name: str) -> Path:
    """Download a network's weights, or find them in the hub's cache; returns the file.

    Raises:
        UserError: there is none, or the hub cannot be reached.
    """
    check_name(name)
    import huggingface_hub

    with _explained(name, "cannot be downloaded"):
        return Path(huggingface_hub.hf_hub_download(name, WEIGHTS))


def push(name: str, contents: Mapping[str, Path]) -> str:
    """Upload files as one commit; a new repository is private. Returns its address.

    contents: WEIGHTS, CONFIG and PAGE → files on this machine.

    Raises:
        UserError: nobody is logged in, or the hub cannot be reached or refuses.
    """
    import huggingface_hub

    if set(contents) != {WEIGHTS, CONFIG, PAGE}:
        raise ValueError(f"only {WEIGHTS}, {CONFIG} and {PAGE} are uploaded, not {sorted(contents)}")
    with _explained(name, "cannot be uploaded"):
        hub = huggingface_hub.HfApi()
        hub.create_repo(name, private=True, exist_ok=True)
        operations = [
            huggingface_hub.CommitOperationAdd(path_in_repo=path, path_or_fileobj=str(file))
            for path, file in contents.items()
        ]
        hub.create_commit(name, operations, commit_message="Network, configuration and page")
    return f"{hub.endpoint}/{name}"


@contextmanager
def _explained(name: str, what: str) -> Iterator[None]:
    """What the hub's client raises becomes one line."""
    try:
        yield
    except UserError:
        raise
    except Exception as error:  # of the client, of the network below it, and of files
        advice = "hf auth login, or set HF_TOKEN" if _is_refusal(error) else "check the name and the connection"
        raise UserError(f"hub={name}: {what} ({printable(first_line(error))}); {advice}") from error


def _is_refusal(error: Exception) -> bool:
    status = getattr(getattr(error, "response", None), "status_code", None)
    return status in (401, 403) or type(error).__name__ == "LocalTokenNotFoundError"
