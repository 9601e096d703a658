"""The headless Chromium that tests look at pages with."""

import os
import shutil
import subprocess
from collections.abc import Sequence
from pathlib import Path


def found() -> str | None:
    """The first browser on the PATH."""
    return next(filter(None, map(shutil.which, ("chromium", "chromium-browser", "google-chrome"))), None)


CHROMIUM = found()
FLAGS = (
    *("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking"),
    *("--disable-component-update", "--disable-sync", "--window-size=1440,900", "--enable-logging=stderr", "--v=0"),
)
ENVIRONMENT = os.environ | {"TMPDIR": "/tmp"}  # Chromium makes a socket there, whose path may have at most 107 bytes: unix(7)


def is_working() -> bool:
    """Whether there is one that starts: the name may be that of a package's stub which only says how to install it."""
    browser = found()
    return browser is not None and subprocess.run([browser, "--version"], capture_output=True, check=False).returncode == 0


def opened(page: Path, profile: Path, fragment: str = "", flags: Sequence[str] = ()) -> tuple[str, str]:
    """The DOM once the page's script is through, and what the browser logged."""
    url = page.as_uri() + fragment
    command = [str(CHROMIUM), *FLAGS, *flags, f"--user-data-dir={profile}", "--virtual-time-budget=300000", "--dump-dom", url]
    done = subprocess.run(command, env=ENVIRONMENT, capture_output=True, encoding="utf-8", timeout=120, check=True)
    return done.stdout, done.stderr
