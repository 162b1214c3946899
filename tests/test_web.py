"""The page of src.web as a person meets it: the command in a process of its own, and a browser without a window."""

import importlib.util
import json
import os
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from src.config import ROOT

from tests.conftest import write_video
from tests.prediction.conftest import CLASSES, write_checkpoint

pytestmark = [
    pytest.mark.slow,
    pytest.mark.skipif(
        importlib.util.find_spec("gradio") is None or not (shutil.which("chromium") and shutil.which("chromedriver")),
        reason="needs the extra web, and Chromium with its driver",
    ),
]
PATIENCE_S = 300
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-dev-shm-usage"),
    *("--disable-background-networking", "--disable-component-update", "--disable-sync", "--window-size=1300,1900"),
)


def free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return int(one.getsockname()[1])


def start(folder: Path, temporary: Path, *words: str) -> "subprocess.Popen[str]":
    environment = {**os.environ, "PYTHONPATH": str(ROOT), "TMPDIR": str(temporary), "OMP_NUM_THREADS": "1"}
    environment["XDG_CACHE_HOME"] = str(folder / "cache")
    command = [sys.executable, "-m", "src.web", *words]
    pipe = subprocess.PIPE
    return subprocess.Popen(command, cwd=folder, stdout=pipe, stderr=pipe, text=True, env=environment)


@pytest.fixture
def temporary() -> Iterator[Path]:
    with tempfile.TemporaryDirectory(prefix="page", dir="/tmp") as folder:  # a short name, which the command keeps
        yield Path(folder)


@pytest.fixture
def browser(tmp_path: Path) -> Iterator[Any]:
    webdriver = pytest.importorskip("selenium.webdriver")
    options = webdriver.ChromeOptions()
    options.binary_location = shutil.which("chromium")
    for flag in (*FLAGS, f"--user-data-dir={tmp_path / 'profile'}"):
        options.add_argument(flag)
    options.set_capability("goog:loggingPrefs", {"performance": "ALL"})
    driver = webdriver.Chrome(options=options, service=webdriver.ChromeService(shutil.which("chromedriver")))
    yield driver
    driver.quit()


def waited(browser: Any, selector: str) -> Any:
    """The first element of a CSS selector, once it is there."""
    from selenium.webdriver.support.ui import WebDriverWait

    found = WebDriverWait(browser, PATIENCE_S).until(lambda driver: driver.find_elements("css selector", selector))
    return found[0]


def complaint_with(browser: Any, words: str) -> str:
    """The message on the page that has these words; Gradio's own of the browser's player may stand beside it."""
    from selenium.webdriver.support.ui import WebDriverWait

    def found(driver: Any) -> str | None:
        shown = driver.execute_script("return [...document.querySelectorAll('.toast-body')].map(one => one.innerText)")
        return next((text for text in shown if words in text), None)

    return str(WebDriverWait(browser, PATIENCE_S).until(found))


def ask(browser: Any, video: Path) -> None:
    """Drop a video, wait until it is there, and press the button."""
    waited(browser, "#video input[type=file]").send_keys(str(video))
    waited(browser, "#video video")
    waited(browser, "#ask").click()


def hosts(browser: Any) -> set[str]:
    """From where the page asked for something, in vain or not."""
    found = set()
    for entry in browser.get_log("performance"):
        message = json.loads(entry["message"])["message"]
        address = message["params"].get("request", {}).get("url", "")
        if message["method"] == "Network.requestWillBeSent" and address.startswith("http"):
            found.add(address.split("/")[2])
    return found


def test_a_clip_is_answered_and_a_text_file_refused_and_nothing_is_kept(
    browser: Any, temporary: Path, tmp_path: Path
) -> None:
    checkpoint = write_checkpoint(tmp_path / "net.ckpt")
    clip = write_video(tmp_path / "clip.mp4", 40, g="8", bf="0")
    text = tmp_path / "notes.mp4"
    text.write_text("no video")
    port = free_port()
    server = start(tmp_path, temporary, f"checkpoint={checkpoint}", f"port={port}")
    try:
        assert server.stdout is not None
        line = server.stdout.readline()
        assert line.startswith(f"http://127.0.0.1:{port}/: for this machine alone; videos up to 100 MB and 60 s")

        browser.get(f"http://127.0.0.1:{port}")
        ask(browser, clip)
        waited(browser, "#why img")
        assert waited(browser, "#classes h2").text in CLASSES
        for picture in ("#timeline img", "#why video"):
            assert waited(browser, picture).get_attribute("src").startswith("data:")
        assert not browser.find_elements("css selector", ".toast-body")

        ask(browser, text)
        said = complaint_with(browser, "notes.mp4: cannot be read as a video (")
        assert "Traceback" not in said
        assert str(temporary) not in said
        waited(browser, "#video input[type=file]")  # is empty again
        assert [path for path in temporary.rglob("*") if path.is_file()] == []
        assert hosts(browser) <= {f"127.0.0.1:{port}"}

        second = start(tmp_path, temporary, f"checkpoint={checkpoint}", f"port={port}")
        _, complaint = second.communicate(timeout=PATIENCE_S)
        assert second.returncode == 1
        assert complaint.splitlines() == [f"error: port={port}: it cannot be had; give another, or leave port= out"]
    finally:
        server.send_signal(signal.SIGINT)
        _, complaint = server.communicate(timeout=PATIENCE_S)
    assert server.returncode == 130
    assert complaint.splitlines() == ["stopped by SIGINT; the same command opens the page again"]
    assert [path.name for path in temporary.iterdir() if "page" in path.name] == []
    assert [path for path in temporary.rglob("*") if path.is_file()] == []
