"""pyproject.toml, the requirements files and constraints.txt agree."""

from __future__ import annotations

import importlib.metadata
import re
import tomllib

import pytest
from packaging.requirements import Requirement

from kernels.guard import ROOT
from tests.source_files import MAY_IMPORT, imported, sources


def names(requirements: list[str]) -> set[str]:
    return {re.match(r"[\w.-]+", line)[0].lower().replace("_", "-") for line in requirements}  # type: ignore[index]


def listed(name: str) -> list[str]:
    """The lines of a requirements file that name a package or another file."""
    lines = (line.strip() for line in (ROOT / name).read_text(encoding="utf-8").splitlines())
    return [line for line in lines if line and not line.startswith("#")]


def test_requirements_pyproject_and_constraints_agree() -> None:
    """With the same bounds and markers; pyproject is where they are decided."""
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    extras = project["optional-dependencies"]
    dependencies, dev = project["dependencies"], extras["dev"] + extras["fleet"]
    of_the_node = [line for line in dependencies if names([line]) <= {"torch", "triton"}]
    assert listed("requirements.txt") == [line for line in dependencies if line not in of_the_node]
    assert listed("requirements-dev.txt") == ["-r requirements.txt", *of_the_node, *dev]
    pinned = [Requirement(line) for line in listed("constraints.txt")]
    assert all(str(pin.specifier).startswith("==") for pin in pinned)
    versions = {name: str(pin.specifier).removeprefix("==") for pin in pinned for name in names([pin.name])}
    for need in map(Requirement, dependencies + dev):
        assert need.specifier.contains(versions[min(names([need.name]))]), f"constraints.txt pins {need.name} below {need.specifier}"


def test_a_gpu_node_keeps_its_torch_and_triton() -> None:
    """pip is asked for neither, and for nothing that needs one of them; so it cannot replace them."""
    asked, seen = names(listed("requirements.txt")), set()
    while asked:
        name = asked.pop()
        seen.add(name)
        needs = [Requirement(line) for line in importlib.metadata.requires(name) or ()]
        asked |= names([need.name for need in needs if need.marker is None or need.marker.evaluate({"extra": ""})]) - seen
    assert not seen & {"torch", "triton"}
    assert "numpy" in seen


@pytest.mark.slow
def test_every_runtime_dependency_is_used() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text(encoding="utf-8"))["project"]
    module = {
        "pytest-benchmark": "pytest_benchmark",
        "pyyaml": "yaml",
        "nvidia-ml-py": "pynvml",
        "pyarrow": "pandas",
    }  # pandas reads Parquet by it
    everything = set().union(*(imported(p) for folder in MAY_IMPORT for p in sources(folder)))
    unused = {name for name in names(project["dependencies"]) if module.get(name, name.replace("-", "_")) not in everything}
    assert unused <= {"pytest-benchmark"}  # used through its fixture
