"""A headless Chromium that tests steer as a user would: real keys, clipboard, print. It speaks the DevTools protocol over a pipe."""

from __future__ import annotations

import base64
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from itertools import count
from pathlib import Path
from select import select
from typing import Any

from tests.reports.chromium import CHROMIUM, ENVIRONMENT, FLAGS

KEYS = {"Enter": 13, "Escape": 27, "ArrowLeft": 37, "ArrowRight": 39, "Tab": 9}  # Windows' codes, which Chromium asks for
LIMIT_S = 60.0
# Chromium reads requests from descriptor 3 and writes answers to 4; a pipe may have either number already.
START = """import fcntl, os, sys
read, write = (fcntl.fcntl(int(number), fcntl.F_DUPFD, 10) for number in sys.argv[1:3])
os.dup2(read, 3)
os.dup2(write, 4)
os.execv(sys.argv[3], sys.argv[3:])"""


class Tab:
    """An open page. `command` is a method of https://chromedevtools.github.io/devtools-protocol."""

    def __init__(self, requests: int, answers: int) -> None:
        self._requests, self._answers, self._numbers = requests, answers, count(1)
        self._rest, self._session, self._target = b"", "", ""
        self.renew()

    def renew(self) -> None:
        """A new empty tab in place of this one, which another test may have left narrow, dark or without the keyboard."""
        before, self._target = self._target, self.command("Target.createTarget", url="about:blank")["targetId"]
        self._session = self.command("Target.attachToTarget", targetId=self._target, flatten=True)["sessionId"]
        if before:
            self.command("Target.closeTarget", targetId=before)

    def command(self, method: str, **parameters: Any) -> dict[str, Any]:
        number = next(self._numbers)
        message = {"id": number, "method": method, "params": parameters}
        if self._session and not method.startswith(("Browser.", "Target.")):
            message["sessionId"] = self._session
        os.write(self._requests, json.dumps(message).encode() + b"\0")
        while True:
            while b"\0" not in self._rest:
                ready, _, _ = select([self._answers], [], [], LIMIT_S)
                assert ready, f"no answer within {LIMIT_S:g} s: {method}"
                read = os.read(self._answers, 1 << 20)
                assert read, "Chromium ended"
                self._rest += read
            line, _, self._rest = self._rest.partition(b"\0")
            answer = json.loads(line)
            if answer.get("id") == number:
                assert "error" not in answer, f"{method}: {answer}"
                return answer["result"]

    def open(self, url: str) -> None:
        """Opens a page of this suite, and waits until its script is through."""
        self.command("Page.navigate", url=url)
        self.until("document.documentElement?.dataset.ready")

    def run(self, script: str) -> Any:
        """What an expression of JavaScript gives; of a promise what it resolves to."""
        asked = {"expression": script, "returnByValue": True, "awaitPromise": True, "userGesture": True}
        found = self.command("Runtime.evaluate", **asked)
        assert "exceptionDetails" not in found, found
        return found["result"].get("value")

    def until(self, script: str) -> None:
        """Waits until an expression holds."""
        end = time.monotonic() + LIMIT_S
        while not self.run(script):
            assert time.monotonic() < end, f"not within {LIMIT_S:g} s: {script}"
            time.sleep(0.02)

    def press(self, key: str) -> None:
        """A key as a keyboard sends it, which also does what the browser itself does on it."""
        named = key in KEYS
        fields = {"key": key, "windowsVirtualKeyCode": KEYS[key]} if named else {"key": key}
        text = "\r" if key == "Enter" else "" if named else key
        self.command("Input.dispatchKeyEvent", type="keyDown", text=text, **fields)
        self.command("Input.dispatchKeyEvent", type="keyUp", **fields)

    def width(self, pixels: int, dark: bool = False) -> None:
        """The size of the window, and the colours that the system prefers."""
        self.command("Emulation.setDeviceMetricsOverride", width=pixels, height=900, deviceScaleFactor=1, mobile=pixels < 500)
        scheme = {"name": "prefers-color-scheme", "value": "dark" if dark else "light"}
        self.command("Emulation.setEmulatedMedia", features=[scheme])

    def pdf(self) -> bytes:
        """What printing the page gives, on the paper that its style sheet asks for."""
        asked = {"preferCSSPageSize": True, "printBackground": True}
        return base64.b64decode(self.command("Page.printToPDF", **asked)["data"])

    def image(self, whole: bool = False) -> bytes:
        """A PNG of what is in sight, or of the whole page."""
        return base64.b64decode(self.command("Page.captureScreenshot", captureBeyondViewport=whole)["data"])


@contextmanager
def chromium(profile: Path) -> Iterator[Tab]:
    """A tab of a Chromium of its own, which is ended with it."""
    (child_in, requests), (answers, child_out) = os.pipe(), os.pipe()
    flags = [*FLAGS, "--remote-debugging-pipe", f"--user-data-dir={profile}"]
    start = [sys.executable, "-S", "-c", START, str(child_in), str(child_out), str(CHROMIUM), *flags]
    process = subprocess.Popen(start, pass_fds=(child_in, child_out), env=ENVIRONMENT, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    os.close(child_in)
    os.close(child_out)
    try:
        yield Tab(requests, answers)
    finally:
        os.close(requests)
        os.close(answers)
        process.terminate()
        process.wait()
