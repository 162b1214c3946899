"""What all benchmarks share: where results go, on what machine they were taken, and which clips to take."""

import json
import os
import platform
import sys
from datetime import date
from importlib.metadata import version
from pathlib import Path
from typing import Any

from src import files

RESULTS = Path(__file__).parent / "results"


def ucf101_clips() -> list[Path]:
    """UCF101 clips under the folder that LATE_SAMPLE_CLIPS names."""
    folder = os.environ.get("LATE_SAMPLE_CLIPS")
    found = sorted(Path(folder).rglob("v_*_g??_c??.avi")) if folder else []
    if not found:
        sys.exit("error: no UCF101 clips (v_<Class>_gXX_cYY.avi) found; name their folder in LATE_SAMPLE_CLIPS")
    return found


def machine(*packages: str) -> dict[str, Any]:
    """Processor, cores, load and versions."""
    info = Path("/proc/cpuinfo")
    names = [x.partition(":")[2].strip() for x in info.read_text().splitlines() if x.startswith("model name")]
    return {
        "processor": names[0] if names else platform.processor(),
        "cores": os.cpu_count(),
        "load": [round(x, 1) for x in os.getloadavg()],
        "python": platform.python_version(),
        "packages": {name: version(name) for name in packages},
    }


def today(name: str) -> dict[str, Any]:
    """What has been measured today; {} where nothing has."""
    path = RESULTS / f"{date.today().isoformat()}_{name}.json"
    values: dict[str, Any] = json.loads(path.read_text()) if path.is_file() else {}
    return values


def save(
    name: str, title: str, header: list[str], rows: list[list[str]], values: dict[str, Any], notes: str, on: str = ""
) -> None:
    """Print a table and write it, dated, as Markdown, and everything as JSON.

    on: a kind of device whose results stand beside those of others.
    """
    lines = [f"# {title}", "", f"{date.today().isoformat()}, `python -m benchmarks.{name}`. {notes}", ""]
    lines += [f"| {' | '.join(row)} |" for row in (header, ["---", *["---:"] * (len(header) - 1)], *rows)]
    lines += ["", f"Machine: {json.dumps(values['machine'])}"]
    text = "\n".join(lines) + "\n"
    print(text)
    stem = f"{date.today().isoformat()}_{name}{'_' if on else ''}{on}"
    files.write_text(RESULTS / f"{stem}.md", text)
    files.write_json(RESULTS / f"{stem}.json", values)
