"""`make` on machines that lack something: the Makefile and its script in a copy, over stand-ins for python3 and pip. No network."""

from __future__ import annotations

import os
import shlex
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from kernels.guard import ROOT

pytestmark = pytest.mark.skipif(shutil.which("make") is None, reason="no make on the PATH")

PYTHON = shlex.quote(sys.executable)
TOOLS = ("make", "sh", "rm", "touch", "df", "awk", "cut")
FILES = ("Makefile", ".ci/make-venv.sh", "constraints.txt", "pyproject.toml", "requirements.txt", "requirements-dev.txt")
OLD = """#!/bin/sh
case "$*" in *version_info\\[:3]*) echo 3.10.12 ;; *) exit 1 ;; esac
"""
NO_ENSUREPIP = f"""#!/bin/sh
case "$*" in *ensurepip*) echo "No module named 'ensurepip'" >&2; exit 1 ;; *) exec {PYTHON} "$@" ;; esac
"""
# A real environment, with a pip that notes its call and "installs" a package, _pytest and a pytest that prints its arguments.
WORKING = f"""#!/bin/sh
if [ "$1 $2" = "-m venv" ]; then
    {PYTHON} -m venv --without-pip "$3" || exit 1
    echo made >>made.log
    site=$("$3/bin/python" -c 'import sysconfig; print(sysconfig.get_path("purelib"))')
    {shutil.which("mkdir")} "$site/pip" && touch "$site/pip/__init__.py" && {shutil.which("cp")} pip_main.py "$site/pip/__main__.py"
else
    exec {PYTHON} "$@"
fi
"""
PIP = """
import os, pathlib, sys, sysconfig
site = pathlib.Path(sysconfig.get_path("purelib"))
with open("pip.log", "a") as log:
    log.write(" ".join(sys.argv[1:]) + chr(10))
info = site / "alpha-1.dist-info"
info.mkdir(exist_ok=True)
(info / "METADATA").write_text("Metadata-Version: 2.1\\nName: alpha\\nVersion: 1\\n")
if os.environ.get("PIP_FAILS"):
    sys.exit("ERROR: [Errno 28] No space left on device")
(site / "alpha.py").write_text("")
(info / "RECORD").write_text("alpha.py,,\\nalpha-1.dist-info/METADATA,,\\nalpha-1.dist-info/RECORD,,\\n")
(site / "_pytest").mkdir(exist_ok=True)
(site / "_pytest" / "__init__.py").write_text("")
(site / "pytest.py").write_text("import sys; print('pytest', *sys.argv[1:])")
"""


class Machine:
    """A checkout and a PATH with nothing on it but TOOLS and the interpreters given."""

    def __init__(self, folder: Path):
        self.root, self.bin = folder / "checkout", folder / "bin"
        for name in FILES:
            (self.root / name).parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(ROOT / name, self.root / name)
        (self.root / "pip_main.py").write_text(PIP)
        self.bin.mkdir()
        for tool in TOOLS:
            (self.bin / tool).symlink_to(str(shutil.which(tool)))

    def has(self, name: str, script: str) -> None:
        (self.bin / name).write_text(script)
        (self.bin / name).chmod(0o755)

    def make(self, *arguments: str, **variables: str) -> tuple[int, str, list[str]]:
        """Exit code, output, and what stands on stderr besides make's own line."""
        environment = {"PATH": str(self.bin), "HOME": str(self.root), **variables}
        done = subprocess.run(["make", *arguments], cwd=self.root, env=environment, capture_output=True, encoding="utf-8", check=False)
        return done.returncode, done.stdout, [line for line in done.stderr.splitlines() if not line.startswith("make: ***")]

    def lines(self, log: str) -> list[str]:
        path = self.root / log
        return path.read_text().splitlines() if path.exists() else []

    @property
    def site(self) -> Path:
        return next((self.root / ".venv" / "lib").glob("python*/site-packages"))


@pytest.fixture
def machine(tmp_path: Path) -> Machine:
    return Machine(tmp_path)


@pytest.fixture
def working(machine: Machine) -> Machine:
    machine.has("python3", WORKING)
    return machine


RAN = "pytest benches/ --benchmark-only"


@pytest.mark.slow
def test_a_fresh_machine_gets_the_pinned_packages_once(working: Machine) -> None:
    for _ in range(2):
        code, output, errors = working.make("bench")
        assert (code, errors) == (0, [])
        assert RAN in output
    assert len(working.lines("made.log")) == 1
    assert [line.split("--constraint")[1] for line in working.lines("pip.log")] == [" constraints.txt --requirement requirements-dev.txt"]


@pytest.mark.parametrize("target", ["bench", "test"])
def test_no_python(machine: Machine, target: str) -> None:
    code, _, errors = machine.make(target)
    assert code == 2
    assert errors == [
        "error: no python3 on the PATH: install Python 3.11 or later (apt-get install python3 python3-venv), "
        "or name one: make PYTHON=/path/to/python3.12"
    ]


def test_an_old_python(machine: Machine) -> None:
    machine.has("python3", OLD)
    code, _, errors = machine.make("bench")
    assert code == 2
    assert errors == [
        "error: python3 is Python 3.10.12, but 3.11 or later is needed: install it (apt-get install python3.11 python3.11-venv), "
        "or name one: make PYTHON=/path/to/python3.12"
    ]


@pytest.mark.slow
def test_an_old_python3_beside_a_newer_one(machine: Machine) -> None:
    machine.has("python3", OLD)
    machine.has("python3.12", WORKING)
    code, output, errors = machine.make("bench")
    assert (code, errors) == (0, [])
    assert RAN in output


@pytest.mark.parametrize("name", ["python9", "/nowhere/python3"])
def test_a_named_python_that_is_not_there(working: Machine, name: str) -> None:
    code, _, errors = working.make("bench", f"PYTHON={name}")
    assert code == 2
    wanted = f"error: PYTHON={name} cannot be run: Python 3.11 or later is needed; name one: make PYTHON=/path/to/python3.12"
    assert errors == [wanted]


def test_a_named_python_that_is_too_old(working: Machine) -> None:
    working.has("python3.10", OLD)
    code, _, errors = working.make("bench", "PYTHON=python3.10")
    assert code == 2
    assert errors[0].startswith("error: python3.10 is Python 3.10.12, but 3.11 or later is needed")


def test_no_venv_module(machine: Machine) -> None:
    machine.has("python3", NO_ENSUREPIP)
    code, _, errors = machine.make("test")
    minor = f"{sys.version_info.major}.{sys.version_info.minor}"
    assert code == 2
    assert errors == [
        f"error: python3 has no venv module: install it (apt-get install python{minor}-venv), "
        "or name another Python: make PYTHON=/path/to/python3.12"
    ]
    assert not (machine.root / ".venv").exists()


@pytest.mark.slow
def test_pip_fails_and_the_next_make_repairs_what_it_left(working: Machine) -> None:
    code, _, errors = working.make("bench", PIP_FAILS="1")
    assert code == 2
    assert errors[0] == "ERROR: [Errno 28] No space left on device"
    assert errors[1].startswith("error: pip could not install the packages (it says why above): look at the network and the disk (")
    assert len(errors) == 2
    code, output, errors = working.make("bench")
    assert (code, errors) == (0, [])
    assert "note: .venv is made again (incomplete: alpha)" in output
    assert RAN in output
    assert len(working.lines("made.log")) == 2


@pytest.mark.slow
def test_a_venv_without_its_python_is_made_again(working: Machine) -> None:
    assert working.make("bench")[0] == 0
    for link in (working.root / ".venv" / "bin").glob("python*"):
        link.unlink()
        link.symlink_to("/nowhere/python3.11")
    code, output, errors = working.make("bench")
    assert (code, errors) == (0, [])
    assert "note: .venv is made again (its Python is gone)" in output
    assert RAN in output


@pytest.mark.slow
def test_a_venv_whose_python_became_another_is_made_again(working: Machine) -> None:
    assert working.make("bench")[0] == 0
    working.site.parent.rename(working.site.parent.with_name("python3.5"))
    code, output, _ = working.make("bench")
    assert code == 0
    assert "note: .venv is made again (it has no packages for its Python)" in output


@pytest.mark.slow
def test_a_moved_checkout_goes_on(working: Machine) -> None:
    assert working.make("bench")[0] == 0
    working.root = working.root.rename(working.root.with_name("moved"))
    code, output, errors = working.make("bench")
    assert (code, errors) == (0, [])
    assert RAN in output
    makefile = (ROOT / "Makefile").read_text(encoding="utf-8")
    assert {part.split()[0] for part in makefile.split("$(BIN)/")[1:]} == {"python"}, "scripts beside it hold the path they were made at"


@pytest.mark.slow
def test_new_pins_are_installed_into_the_venv_that_is_there(working: Machine) -> None:
    assert working.make("bench")[0] == 0
    later = (working.root / ".venv" / ".ready").stat().st_mtime + 10
    os.utime(working.root / "constraints.txt", (later, later))
    assert working.make("bench")[0] == 0
    assert (len(working.lines("made.log")), len(working.lines("pip.log"))) == (1, 2)


@pytest.mark.slow
def test_a_venv_made_by_hand_is_kept(working: Machine) -> None:
    assert working.make("bench")[0] == 0
    (working.root / ".venv" / ".ready").unlink()
    (working.site / "mine.py").write_text("")
    code, _, errors = working.make("bench")
    assert (code, errors) == (0, [])
    assert (working.site / "mine.py").exists()
    assert len(working.lines("made.log")) == 1


@pytest.mark.slow
def test_a_link_to_another_checkouts_venv_is_never_emptied(working: Machine) -> None:
    assert working.make("bench", PIP_FAILS="1")[0] == 2
    theirs = (working.root / ".venv").rename(working.root.parent / "theirs")
    (working.root / ".venv").symlink_to(theirs)
    assert working.make("bench")[0] == 0
    assert (theirs / "pyvenv.cfg").exists()
    assert not (working.root / ".venv").is_symlink()
