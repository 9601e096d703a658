"""`python -m benches fleet` on a Ray cluster of several nodes on this machine, with simulated GPUs: what fails, and what is there then."""

from __future__ import annotations

import json
import os
import shlex
import signal
import subprocess
import sys
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import count as count_from
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import psutil
import pytest

from benches.__main__ import main
from benches.fleet.fleet_file import read_fleet
from benches.fleet.ray_variables import set_variables
from benches.run.journal import NAME as JOURNAL
from benches.run.order import DEFAULT_SEED, shuffled
from benches.run.survey_file import NAME as SURVEY
from benches.run.survey_file import read_survey
from kernels import imports
from kernels.guard import ROOT
from kernels.registry import registered, restore

pytestmark = [pytest.mark.slow, pytest.mark.ray]
SWEEP = "name: six\nsweeps:\n  - {op: matmul, impl: torch, precision: bf16, dims: {m: {range: [1, 6, 1]}, n: 512, k: 512}}\n"
POINTS = [f"matmul-torch-bf16-{m}x512x512" for m in range(1, 7)]
HANGING = shuffled(POINTS, DEFAULT_SEED)[2]  # every GPU has rows before it
HANG = f"hang:{HANGING}"
STORE = 80_000_000  # the least that Ray takes
THREADS = {"OMP_NUM_THREADS": "1"}  # of every node


# A file of --import, which leaves a mark where it is loaded on a node. The other file that it needs lies beside it.
IMPORTED = """
import contextlib, os
from pathlib import Path
from beside_it import MARK
from microbench_api import implementation

@implementation("matmul", name="mine")
def build(point, inputs):
    return lambda: inputs.out.fill_(1)

with contextlib.suppress(KeyError, OSError):
    Path(os.environ["FLEET_SPOOL"], MARK).touch()
"""


class Nodes:
    """A cluster whose head has no GPUs."""

    def __init__(self, folder: Path) -> None:
        from ray.cluster_utils import Cluster

        quiet = {"prestart_worker_first_driver": False, "enable_worker_prestart": False}
        quick = {"health_check_initial_delay_ms": 1000, "health_check_period_ms": 500, "health_check_failure_threshold": 4}
        self.folder, self.names = folder, count_from(1)
        head = {"num_cpus": 0, "include_dashboard": False, "object_store_memory": STORE, "_system_config": quiet | quick}
        self.cluster = Cluster(initialize_head=True, head_node_args=head)
        self.address: str = self.cluster.address

    def add(self, spool: str | None = None, **variables: str) -> Any:
        """A node with simulated GPUs."""
        given = {"FLEET_SPOOL": spool or str(self.folder), **THREADS, **variables}
        # As on a machine of its own: in a shared folder each node unpacks the repository anew while the agents of others import it.
        own = Path(os.environ["RAY_TMPDIR"], str(next(self.names)))
        return self.cluster.add_node(num_cpus=1, object_store_memory=STORE, env_vars=given, temp_dir=str(own))

    def remove(self, node: Any) -> None:
        """Kills a node. Returns once the cluster knows."""
        self.cluster.remove_node(node, allow_graceful=False)
        deadline = time.monotonic() + 60
        while self.alive(node) and time.monotonic() < deadline:
            time.sleep(0.1)

    def alive(self, node: Any) -> bool:
        socket = node.plasma_store_socket_name
        return any(one["Alive"] and one["ObjectStoreSocketName"] == socket for one in self.cluster.global_state.node_table())


@contextmanager
def cluster(spool: Path) -> Iterator[Nodes]:
    """A cluster with one node that measures."""
    set_variables("auto")
    # A short path, as names of sockets have to be, whatever TMPDIR is; not /tmp/ray, where the address of a cluster in use may stand.
    with TemporaryDirectory(prefix="ray-", dir="/tmp", ignore_cleanup_errors=True) as folder, pytest.MonkeyPatch.context() as patch:
        patch.setenv("RAY_TMPDIR", folder)
        found = Nodes(spool)
        found.add()
        yield found
        found.cluster.shutdown()


@pytest.fixture(scope="module")
def nodes(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Nodes]:
    """One for all tests, as each node takes three seconds of CPU time."""
    with cluster(tmp_path_factory.mktemp("spool")) as found:
        yield found


@pytest.fixture
def own_nodes(tmp_path: Path) -> Iterator[Nodes]:
    """For a test that ends its cluster."""
    (spool := tmp_path / "spool").mkdir()
    with cluster(spool) as found:
        yield found


@pytest.fixture
def run_dir(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The place of a run; one simulated GPU a node."""
    monkeypatch.setenv("MICROBENCH_SIMULATED_GPUS", "1")
    (tmp_path / "six.yaml").write_text(SWEEP, encoding="utf-8")
    return tmp_path / "run"


def arguments(nodes: Nodes, run_dir: Path, *more: str) -> list[str]:
    begin = ["--out", str(run_dir), "--device", "simulated", "--node-dir", "$FLEET_SPOOL/rows", str(run_dir.parent / "six.yaml")]
    return ["fleet", "--address", nodes.address, *(more if "--resume" in more else [*begin, *more])]


def rows_of(run_dir: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for path in sorted(run_dir.rglob(JOURNAL)) for line in path.read_text(encoding="utf-8").splitlines()]


def once_each(run_dir: Path, gpus: int) -> None:
    """Each point and GPU is once in a survey."""
    rows = rows_of(run_dir)
    assert Counter(row["point"] for row in rows) == dict.fromkeys(POINTS, gpus)
    assert len({(row["point"], row["device_uuid"]) for row in rows}) == len(rows)


def when(condition: Callable[[], bool], act: Callable[[], object]) -> threading.Thread:
    """Acts as soon as a condition holds, beside the test."""

    def wait() -> None:
        deadline = time.monotonic() + 120
        while not condition() and time.monotonic() < deadline:
            time.sleep(0.05)
        act()

    thread = threading.Thread(target=wait, daemon=True)
    thread.start()
    return thread


def count(run_dir: Path) -> int:
    return len(rows_of(run_dir)) if run_dir.exists() else 0


def actors(nodes: Nodes) -> list[psutil.Process]:
    """The processes that measure on these nodes: other clusters of this machine have some of the same name."""
    own = {"FLEET_SPOOL": str(nodes.folder)}.items()
    named = [process for process in psutil.process_iter(["cmdline", "environ"]) if "ray::Actor" in " ".join(process.info["cmdline"] or ())]
    return [process for process in named if own <= (process.info["environ"] or {}).items()]


def test_a_node_that_dies_is_lost_and_another_one_continues(nodes: Nodes, run_dir: Path, capsys: pytest.CaptureFixture[str]) -> None:
    bad = nodes.add(MICROBENCH_FAULTS=HANG)
    removed = when(lambda: count(run_dir) >= 7, lambda: nodes.remove(bad))
    assert main(arguments(nodes, run_dir)) == 1
    removed.join()
    said = capsys.readouterr().out
    assert "left out: " in said
    assert f"--resume {shlex.quote(str(run_dir))}" in said
    assert sorted(gpu.status for gpu in read_survey(run_dir).gpus) == ["finished", "lost"]
    assert all(gpu.reason for gpu in read_survey(run_dir).gpus if gpu.status == "lost")
    assert count(run_dir) < 12
    again = nodes.add()
    assert main(arguments(nodes, run_dir, "--resume", str(run_dir))) == 0
    once_each(run_dir, 2)
    assert {gpu.status for gpu in read_survey(run_dir).gpus} == {"finished"}
    nodes.remove(again)


def test_gpus_that_are_unlike_or_have_no_disk_share_nothing(nodes: Nodes, run_dir: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """And an agent whose process is killed is started again. The files of --import come along."""
    monkeypatch.setattr(imports, "_loaded", {})
    monkeypatch.setattr(sys, "path", list(sys.path))
    registry = registered()
    (run_dir.parent / "mine.py").write_text(IMPORTED, encoding="utf-8")
    (run_dir.parent / "beside_it.py").write_text('MARK = "loaded"', encoding="utf-8")
    monkeypatch.setenv("MICROBENCH_FAULTS", HANG)
    added = [nodes.add(), nodes.add(MICROBENCH_SIMULATED_DRIVER="999.1"), nodes.add(spool="/dev/full")]
    killed = when(lambda: count(run_dir) >= 2, lambda: actors(nodes)[0].kill())  # noqa: PLW0108 - they are not there yet
    try:
        imported = ("--import", str(run_dir.parent / "mine.py"))
        assert main(arguments(nodes, run_dir, "--mode", "shard", "--point-timeout", "8", *imported)) == 1
    finally:
        restore(registry)
    killed.join()
    assert (nodes.folder / "loaded").exists()
    assert {row["point"]: row["status"] for row in rows_of(run_dir)} == dict.fromkeys(POINTS, "ok") | {HANGING: "timeout"}
    assert len(rows_of(run_dir)) == len(POINTS)
    reasons = sorted(one.reason for one in read_fleet(run_dir).left_out)
    assert len(reasons) == 2
    assert "cannot be written" in reasons[0]
    assert reasons[1] == "unlike the GPUs that share the points: driver: None → 999.1"
    for node in added:
        nodes.remove(node)


# `python -m benches`, which hears Ctrl-C also where this process was started to ignore it, as shells start what runs in the background.
HEARING_CTRL_C = """
import runpy, signal
if __name__ == "__main__":
    signal.signal(signal.SIGINT, signal.default_int_handler)
    runpy.run_module("benches", run_name="__main__", alter_sys=True)
"""


def start(nodes: Nodes, run_dir: Path) -> subprocess.Popen[str]:
    command = [sys.executable, "-c", HEARING_CTRL_C, *arguments(nodes, run_dir)]
    environment = {**os.environ, "MICROBENCH_FAULTS": HANG}
    return subprocess.Popen(command, cwd=ROOT, env=environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, encoding="utf-8")


def until_rows(run_dir: Path, least: int) -> None:
    deadline = time.monotonic() + 120
    while count(run_dir) < least and time.monotonic() < deadline:
        time.sleep(0.05)
    assert count(run_dir) >= least


@pytest.mark.parametrize("how", [signal.SIGKILL, signal.SIGINT])
def test_a_driver_that_ends_loses_nothing(how: signal.Signals, nodes: Nodes, run_dir: Path) -> None:
    driver = start(nodes, run_dir)
    until_rows(run_dir, 1)
    driver.send_signal(how)
    said, _ = driver.communicate(timeout=120)
    if how == signal.SIGINT:
        assert driver.returncode == 3, said
        assert f"fleet --resume {shlex.quote(str(run_dir))}" in said
        assert [gpu.status for gpu in read_survey(run_dir).gpus] == ["interrupted"]
    assert main(arguments(nodes, run_dir, "--resume", str(run_dir))) == 0
    once_each(run_dir, 1)


def test_a_lost_head_ends_the_driver_which_another_cluster_continues(own_nodes: Nodes, run_dir: Path) -> None:
    driver = start(own_nodes, run_dir)
    until_rows(run_dir, 1)
    own_nodes.cluster.head_node.kill_gcs_server(check_alive=False)
    said, _ = driver.communicate(timeout=120)
    assert driver.returncode == 3, said
    assert "no longer answers" in said
    assert (run_dir / SURVEY).exists()
    command = [sys.executable, "-m", "benches", "fleet", "--address", "local", "--resume", str(run_dir)]
    environment = {**os.environ, **THREADS}  # as on the nodes of the first cluster
    resumed = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False, timeout=120)
    assert resumed.returncode == 0, resumed.stdout + resumed.stderr
    once_each(run_dir, 1)
