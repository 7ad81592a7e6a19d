"""The viewer's real server, and a headless browser that looks at it."""

from __future__ import annotations

import ipaddress
import json
import os
import shutil
import signal
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import urlsplit

import pytest

from ..waiting import wait_for

REPOSITORY = Path(__file__).resolve().parents[2]
WAIT = 180_000  # milliseconds, for an answer of a network on a busy machine
BROWSERS = ("chromium", "chromium-browser", "google-chrome", "google-chrome-stable")
BROWSER_OPTIONS = (
    "--no-sandbox",  # containers run tests as root
    "--disable-dev-shm-usage",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--no-first-run",
)


def browser_program() -> str:
    """Path of a Chromium, or the test is skipped, saying so."""
    found = next((path for name in BROWSERS if (path := shutil.which(name))), None)
    if found is None:
        pytest.skip(f"no browser: none of {', '.join(BROWSERS)} is on PATH (Debian: apt-get install chromium)")
    return found


def viewer_python() -> Path:
    """This interpreter, where the extra ``viewer`` is installed; else the test is skipped, saying so."""
    if find_spec("gradio") is None:
        pytest.skip("the extra viewer is not installed: pip install -e '.[viewer]' -c constraints.txt")
    return Path(sys.executable)


class ViewerServer:
    """A running viewer; use it in a ``with`` block, which always stops it."""

    def __init__(self, python: Path, log: Path, *options: str) -> None:
        self.log, self.url = log, ""
        self.command = [str(python), "-m", "medssm_monai.apps.viewer", "--no-browser", "--port", "0", *options]
        self.temporary = log.with_name(f"{log.stem}_temporary")

    def __enter__(self) -> ViewerServer:
        hidden = ("PYTHONPATH", "MEDSSM_BUNDLES", "GRADIO_TEMP_DIR")
        environment = {name: value for name, value in os.environ.items() if name not in hidden}
        self.temporary.mkdir(exist_ok=True)
        environment |= {"PYTHONPATH": str(REPOSITORY), "TMPDIR": str(self.temporary), "OMP_WAIT_POLICY": "PASSIVE"}
        self.output = self.log.open("w")
        self.process = subprocess.Popen(
            self.command, env=environment, stdin=subprocess.DEVNULL, stdout=self.output, stderr=subprocess.STDOUT
        )
        try:
            self._wait_until_it_answers()
        except BaseException:
            self.stop()
            raise
        return self

    def __exit__(self, *error: object) -> None:
        self.stop()

    def stop(self) -> None:
        """End the server as a service manager does; by force where that does not help."""
        self.process.send_signal(signal.SIGTERM)
        try:
            self.process.wait(60)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(60)
        self.output.close()

    def _wait_until_it_answers(self) -> None:
        def address() -> str:
            lines = [line for line in self.text().splitlines() if line.startswith("The viewer is at http://")]
            return lines[0].split()[4] if lines else ""

        self.url = wait_for("address of the viewer", address, show=self.text, pause=0.5, process=self.process)
        status, _ = self.get("/")
        assert status == 200, self.text()

    def text(self) -> str:
        """What the server has printed."""
        return self.log.read_text(errors="replace")

    def ask(self, number: int, data: list) -> str:
        """Send an event to the queue as the page does, past its widgets; all messages up to its end."""
        body = {"data": data, "fn_index": number, "session_hash": f"visitor{number}{time.monotonic_ns()}"}
        request = urllib.request.Request(
            f"{self.url}/gradio_api/queue/join", json.dumps(body).encode(), {"Content-Type": "application/json"}
        )
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        opener.open(request, timeout=60).close()
        said = []
        with opener.open(f"{self.url}/gradio_api/queue/data?session_hash={body['session_hash']}", timeout=60) as stream:
            for line in stream:
                said.append(line.decode())
                if "process_completed" in said[-1]:
                    break
        return "".join(said)

    def get(self, path: str, **headers: str) -> tuple[int, bytes]:
        """Status and body of a plain request, without a browser."""
        request = urllib.request.Request(self.url + path, headers=headers)
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        try:
            with opener.open(request, timeout=60) as answer:
                return answer.status, answer.read()
        except urllib.error.HTTPError as error:
            return error.code, error.read()

    def connections(self) -> set[str]:
        """Addresses beyond this computer that the process has sockets to (Linux)."""
        links = [os.readlink(link) for link in Path(f"/proc/{self.process.pid}/fd").iterdir() if link.is_symlink()]
        own = {link.removeprefix("socket:[").rstrip("]") for link in links if link.startswith("socket:[")}
        found = set()
        for table in ("tcp", "tcp6", "udp", "udp6"):
            for line in Path(f"/proc/{self.process.pid}/net/{table}").read_text().splitlines()[1:]:
                words = line.split()
                if words[9] in own:
                    found.add(_address(words[2].split(":")[0]))
        return {str(address) for address in found if not (address.is_loopback or address.is_unspecified)}


def _address(text: str) -> ipaddress.IPv4Address | ipaddress.IPv6Address:
    """Of ``/proc/net``: words of four bytes in the order of the processor."""
    raw = b"".join(bytes.fromhex(text[start : start + 8])[::-1] for start in range(0, len(text), 8))
    address = ipaddress.ip_address(raw)
    mapped = getattr(address, "ipv4_mapped", None)
    return address if mapped is None else mapped


class Visitor:
    """A browser session: its own cookies and storage, with a record of everything that it asked for."""

    def __init__(self, browser, url: str, width: int = 1500, height: int = 1000) -> None:
        self.context = browser.new_context(viewport={"width": width, "height": height}, accept_downloads=True)
        self.page = self.context.new_page()
        self.requested: list[str] = []
        self.page.on("request", lambda request: self.requested.append(request.url))
        self.said: list[str] = []
        self.page.on("console", lambda message: self.said.append(f"{message.type}: {message.text}"))
        self.page.goto(url)
        self.page.wait_for_selector("button[role=tab]", timeout=WAIT)

    def open_tab(self, title: str) -> None:
        self.page.get_by_role("tab", name=title, exact=True).click()

    def drop(self, elem_id: str, file: Path | Sequence[Path]) -> None:
        """Give a file to an upload field, emptied first where it holds one."""
        field = self.page.locator(f"#{elem_id}")
        clear = field.get_by_label("Clear")
        if clear.count():
            clear.first.click()
        field.locator("input[type=file]").wait_for(state="attached", timeout=WAIT)
        field.locator("input[type=file]").set_input_files(str(file))

    def wait_for_text(self, elem_id: str, text: str) -> str:
        """The text of an element once ``text`` is in it."""
        self.page.wait_for_function(
            "([id, text]) => (document.getElementById(id)?.innerText ?? '').includes(text)",
            arg=[elem_id, text],
            timeout=WAIT,
        )
        return self.text(elem_id)

    def text(self, elem_id: str) -> str:
        return self.page.locator(f"#{elem_id}").inner_text()

    def press(self, elem_id: str) -> None:
        self.page.locator(f"#{elem_id}").click()

    def slide(self, elem_id: str, value: float) -> None:
        """Type a value into a slider's number."""
        number = self.page.locator(f"#{elem_id} input[type=number]")
        number.fill(str(value))
        number.press("Enter")

    def download(self, elem_id: str, name: str, folder: Path) -> Path:
        """Save a file of a list of downloads under its name."""
        row = self.page.locator(f"#{elem_id} a[href*='{name}']")
        row.first.wait_for(timeout=WAIT)
        with self.page.expect_download(timeout=WAIT) as waiting:
            row.first.click()
        target = folder / name
        waiting.value.save_as(target)
        return target

    def shot(self, path: Path) -> Path:
        """The whole page as a picture."""
        self.page.wait_for_timeout(700)  # pictures that have just been loaded are still fading in
        self.page.screenshot(path=str(path), full_page=True)
        return path

    def foreign(self) -> list[str]:
        """Addresses beyond this computer that the page asked for."""
        return [
            url
            for url in self.requested
            if urlsplit(url).scheme not in ("data", "blob", "about") and urlsplit(url).hostname != "127.0.0.1"
        ]

    def close(self) -> None:
        self.context.close()
