#!/bin/sh
# Makes or mends a virtual environment with the pinned packages: sh .ci/make-venv.sh VENV [PYTHON]; `make` calls it.
# What keeps it from that is one line, after the message of the program that failed if there is one. POSIX sh, since Python may be missing.
set -u
venv=$1
ran=$venv/bin/python

fail() {
    echo "error: $*" >&2
    exit 1
}

version() {  # nothing where it cannot be run
    "$1" -c 'import sys; print("%d.%d.%d" % tuple(sys.version_info[:3]))' 2>/dev/null
}

recent() {
    "$1" -c 'import sys; sys.exit(sys.version_info < (3, 11))' 2>/dev/null
}

# Why the environment cannot be used; nothing where it can. pip writes a package's RECORD last, so one without it was interrupted.
damage() {
    version "$ran" >/dev/null || { echo "its Python is gone"; return; }
    "$ran" - 2>/dev/null <<'END' || echo "its packages cannot be read"
import importlib.metadata, importlib.util, os, sysconfig
site = sysconfig.get_path("purelib")
def incomplete(package):
    record = package.read_text("RECORD")
    paths = [line.rsplit(",", 2)[0].strip('"') for line in (record or "").splitlines() if "__pycache__" not in line]
    return not paths or not all(os.path.exists(os.path.join(site, path)) for path in paths)
packages = [package for package in importlib.metadata.distributions(path=[site]) if os.path.isdir(str(getattr(package, "_path", site)))]
names = sorted(str(package.metadata["Name"]) for package in packages if incomplete(package))
if not importlib.util.find_spec("pip"):
    print("it has no packages for its Python")
elif names:
    print("incomplete: " + ", ".join(names))
END
}

if [ -L "$ran" ] || [ -e "$venv/pyvenv.cfg" ]; then
    why=$(damage)
    if [ -n "$why" ]; then
        echo "note: $venv is made again ($why)"
        rm -rf "$venv"
    elif ! recent "$ran"; then
        fail "$venv is of Python $(version "$ran"), but 3.11 or later is needed: remove it (rm -rf $venv) and run make again"
    fi
elif [ -L "$venv" ] && [ ! -e "$venv" ]; then
    rm "$venv"
fi

if [ ! -x "$ran" ]; then
    named=${2-}
    if [ -n "$named" ]; then set -- "$named"; else set -- python3 python3.11 python3.12 python3.13 python3.14 python; fi
    python=
    old=
    for candidate in "$@"; do
        found=$(version "$candidate") || continue
        if recent "$candidate"; then python=$candidate; break; fi
        old=${old:-"$candidate is Python $found"}
    done
    if [ -z "$python" ]; then
        name_it="name one: make PYTHON=/path/to/python3.12"
        [ -n "$old" ] && fail "$old, but 3.11 or later is needed: install it (apt-get install python3.11 python3.11-venv), or $name_it"
        [ -n "$named" ] && fail "PYTHON=$named cannot be run: Python 3.11 or later is needed; $name_it"
        fail "no python3 on the PATH: install Python 3.11 or later (apt-get install python3 python3-venv), or $name_it"
    fi
    minor=$(version "$python" | cut -d. -f1,2)
    "$python" -c 'import ensurepip, venv' 2>/dev/null ||
        fail "$python has no venv module: install it (apt-get install python$minor-venv), or name another Python: make PYTHON=/path/to/python3.12"
    "$python" -m venv "$venv" || fail "$venv could not be made ($python says why above): $(df -Pk . | awk 'END {printf "%.1f GB", $4 / 1e6}') are free here"
fi

rm -f "$venv/.ready"
"$ran" -m pip install --quiet --disable-pip-version-check --constraint constraints.txt --requirement requirements-dev.txt ||
    fail "pip could not install the packages (it says why above): look at the network and the disk ($(df -Pk . | awk 'END {printf "%.1f GB", $4 / 1e6}') free here), then run make again"
touch "$venv/.ready"
