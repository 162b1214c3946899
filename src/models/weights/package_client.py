"""Send one source archive of a Python package to standard output: a process of its own, see package.py.

pip finds and fetches the archive, with the user's own configuration: its files, PIP_*, indexes, folders, proxies,
passwords and certificates. Nothing in the archive is opened; `pip download` itself would run its setup.py to learn
its metadata. Where the environment has no pip (uv makes such ones), the pip that comes with Python does it, with uv's
indexes.

    python package_client.py NAME VERSION SHA256

The first line is JSON, {"bytes": how many follow, null where nobody says} or {"problem": why there are none}. The exit
code is 0 where all of them were sent.
"""

import importlib.util
import json
import logging
import os
import re
import sys
import sysconfig
from pathlib import Path
from typing import Any, BinaryIO

CHUNK = 1 << 16  # bytes
SHOWN = 3  # problems in one line
PASSWORD = re.compile(r"//[^/@\s]*@")
PLAIN = {"Accept-Encoding": "identity"}  # the archive as it is: its hash is known
OF_UV = {  # pip's variables → those of uv that mean the same, the newer one first
    "PIP_INDEX_URL": ("UV_DEFAULT_INDEX", "UV_INDEX_URL"),
    "PIP_EXTRA_INDEX_URL": ("UV_INDEX", "UV_EXTRA_INDEX_URL"),
}


def provide_pip() -> bool:
    """Make pip importable; False where this Python has none."""
    if importlib.util.find_spec("pip"):
        return True
    for theirs, names in OF_UV.items():
        found = next((os.environ[name] for name in names if os.environ.get(name)), None)
        if found is not None:  # an index of uv's may have a name: NAME=URL
            plain = [re.sub(r"^[\w.-]+=", "", word) for word in found.split()]
            os.environ.setdefault(theirs, " ".join(plain))
    ensurepip = importlib.util.find_spec("ensurepip")
    folders = [Path(str(ensurepip.origin)).parent / "_bundled"] if ensurepip else []
    folders += [Path(sysconfig.get_config_var("WHEEL_PKG_DIR") or "/nowhere")]  # where distributions keep it
    for folder in folders:
        for wheel in folder.glob("pip-*.whl"):
            sys.path.insert(0, str(wheel))
            return True
    return False


class Problems(logging.Handler):
    """What went wrong on the way, each once: answers of servers, else pip's own warnings."""

    def __init__(self) -> None:
        super().__init__(logging.WARNING)
        self.answers: list[str] = []
        self.warnings: list[str] = []

    def emit(self, record: logging.LogRecord) -> None:
        self.warnings.append(record.getMessage())

    def watch(self, session: Any) -> None:
        """Note down what the session's requests come to: pip itself passes over an index that fails."""
        ask = session.request

        def request(method: str, url: str, *args: Any, **options: Any) -> Any:
            try:
                answer = ask(method, url, *args, **options)
            except Exception as error:
                reason = str(error).rpartition(": ")[2].strip("'\") ") or type(error).__name__
                self.answers.append(f"{url} cannot be reached ({reason})")
                raise
            if answer.status_code != 200:
                self.answers.append(f"{url} answers {answer.status_code}")
            return answer

        session.request = request

    def __str__(self) -> str:
        each = [PASSWORD.sub("//", problem)[:200] for problem in dict.fromkeys(self.answers or self.warnings)]
        return "; ".join(each[:SHOWN])


def first_answer(session: Any, links: list[Any]) -> Any:
    """The answer of the first link that gives its file; None where none does."""
    for link in links:
        answer = session.get(link.url_without_fragment, headers=PLAIN, stream=True)
        if answer.status_code == 200:
            return answer
        answer.close()
    return None


def send(answer: Any, out: BinaryIO) -> None:
    """The header, and the archive as it comes."""
    size = str(answer.headers.get("Content-Length", ""))
    tell(out, {"bytes": int(size) if size.isdecimal() else None})
    while chunk := answer.raw.read(CHUNK):
        out.write(chunk)
        out.flush()


def tell(out: BinaryIO, header: dict[str, Any]) -> None:
    out.write(json.dumps(header).encode() + b"\n")
    out.flush()


def main(name: str, version: str, sha256: str) -> int:
    out = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # pip talks there
    if not provide_pip():
        tell(out, {"problem": "this Python has no pip; install pip into its environment"})
        return 1
    from pip._internal.commands.download import DownloadCommand

    class Fetch(DownloadCommand):  # type: ignore[misc]
        """Everything of `pip download` but its work: options, configuration, session and finder."""

        ignore_require_venv = True

        def run(self, options: Any, args: list[str]) -> int:
            problems = Problems()
            logging.getLogger("pip._internal").addHandler(problems)
            session = self.get_default_session(options)
            problems.watch(session)
            links, fitting, answer = [], [], None
            try:
                finder = self._build_package_finder(options, session, ignore_requires_python=True)
                for candidate in finder.find_all_candidates(name):
                    if str(candidate.version) == version and not candidate.link.is_wheel:
                        links.append(candidate.link)
                fitting = [link for link in links if link.hash_name != "sha256" or link.hash.startswith(sha256)]
                answer = first_answer(session, fitting)
            except Exception as error:
                if not problems.answers:
                    problems.answers.append(f"{type(error).__name__}: {error}".splitlines()[0])
            if answer is not None:
                with answer:
                    send(answer, out)
                return 0
            if links and not fitting:
                reason = "the package index has another archive of this version, with another SHA-256"
            else:
                reason = "no configured package index gave its source archive"
            tell(out, {"problem": ": ".join(part for part in (reason, str(problems)) if part)})
            return 1

    options = ["--no-input", "--disable-pip-version-check", "--no-binary", name]
    return int(Fetch("download", "").main([*options, name]))


if __name__ == "__main__":
    sys.exit(main(*sys.argv[1:]))
