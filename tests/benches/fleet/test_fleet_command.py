"""What `python -m benches fleet` refuses, each in a line, and what travels to the machines."""

from __future__ import annotations

import socket
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benches.__main__ import main
from benches.devices.node_gpus import GpuChoiceError, NodeGpu
from benches.fleet import fleet_command
from benches.fleet.fleet_file import NAME, FleetFile, read_fleet, write_fleet
from benches.fleet.ray_variables import set_variables
from benches.fleet.shipping import EXCLUDES, own_folder, ship, unpack
from benches.run import environment
from kernels.imports import Imported, ImportProblem

FILE = FleetFile(run_id="r", mode="survey", device_kind="simulated", node_dir="/tmp/x", seed=1, settings={}, point_timeout_s=9.0)


def refused(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> str:
    """The only line that is printed."""
    assert main(["fleet", *map(str, arguments)]) == 2
    said = capsys.readouterr()
    assert (said.out, said.err.count("\n")) == ("", 1)
    return said.err.strip()


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        ([], "error: name a sweep: `python -m benches list` shows them"),
        (["smoke", "--max-gpus", "0"], "error: --max-gpus 0: give 1 or more"),
        (["smoke", "--point-timeout", "0"], "error: --point-timeout 0: give more than 0 seconds"),
        (["smoke", "--point-timeout", "nan"], "error: --point-timeout nan: give more than 0 seconds"),
        (["smoke", "--retry-failed"], "it is for a run that is resumed: name that with --resume"),
        (["smokes"], "did you mean"),
        (["smoke", "--resume", "nowhere"], "error: --resume nowhere: holds no fleet.json, which `fleet` writes; a run of pytest continues"),
        (["smoke", "--resume", "nowhere", "--mode", "shard", "--seed", "0"], "error: --mode, --seed with --resume: the run keeps what it"),
        (["smoke", "--import", "absent.py", "--device", "simulated"], "absent.py:1: there is no such file to import"),
    ],
)
def test_a_mistake_is_a_line(arguments: list[str], says: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert says in refused(capsys, *arguments)


def test_without_ray_a_line_says_what_to_install(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.setattr(fleet_command, "find_spec", lambda name: None)
    said = refused(capsys, "smoke", "--device", "simulated")
    assert said == "error: ray is not installed: pip install 'ray>=2.60' on this machine and on every node"


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("address", ["auto", "127.0.0.1:1"])
def test_an_address_without_a_cluster_is_a_line(address: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    from benches.fleet import ray_agents

    def no(address: str) -> None:
        raise ConnectionError("Could not find any running Ray instance.\nPlease specify one.")

    monkeypatch.setattr(ray_agents, "connect", no)
    said = refused(capsys, "smoke", "--device", "simulated", "--address", address)
    assert said.startswith(f"error: --address {address}: no cluster to join (Could not find any running Ray instance.)")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("scheme", ["", "ray://"])
def test_an_address_where_nothing_answers_is_a_line_before_ray_tries_for_minutes(
    scheme: str, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    asked = list[object]()
    monkeypatch.setattr("ray.init", lambda *given, **options: asked.append(given))
    with socket.socket() as closed:
        closed.bind(("127.0.0.1", 0))  # and does not listen
        address = f"{scheme}127.0.0.1:{closed.getsockname()[1]}"
        said = refused(capsys, "smoke", "--device", "simulated", "--address", address)
    assert asked == []
    assert said.startswith(f"error: --address {address}: no cluster to join (nothing answers at 127.0.0.1:")


@pytest.mark.slow
@pytest.mark.ray
@pytest.mark.parametrize("address", ["local", "auto", "head", "head:99999", "ray://head", "[::1"])
def test_an_address_without_a_place_is_left_to_ray(address: str, monkeypatch: pytest.MonkeyPatch) -> None:
    from benches.fleet import ray_agents

    tried = list[object]()
    monkeypatch.setattr(ray_agents.socket, "create_connection", lambda *place: tried.append(place))
    ray_agents.refuse_silence(address, {})
    assert tried == []


def test_a_run_of_another_commit_is_not_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_fleet(tmp_path, FILE.model_copy(update={"commit": "abc", "dirty": environment.dirty()}))
    said = refused(capsys, "--resume", tmp_path)
    assert said.startswith(f"error: {tmp_path} cannot be resumed, since this changed: commit: abc → ")


def test_a_run_with_another_import_is_not_continued(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    now = {"commit": environment.commit()[0], "dirty": environment.dirty()}
    (tmp_path / "sweep.yaml").write_text(
        "name: s\nsweeps:\n  - {op: matmul, impl: torch, precision: bf16, dims: {m: 1, n: 1, k: 1}}\n", encoding="utf-8"
    )
    write_fleet(tmp_path, FILE.model_copy(update=now | {"imports": [{"spec": "o.py", "path": "/o.py", "sha256": "ab" * 32}]}))
    said = refused(capsys, "--resume", tmp_path)
    assert said.endswith("since this changed: --import /o.py: abababababababab → not imported")


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("{", "EOF"),
        ("[]", "Input should be"),
        ('{"schema_version": 2}', "a newer version of this suite wrote"),
        ("{}", "run_id: Field required"),
    ],
)
def test_a_fleet_file_that_cannot_be_read_is_a_line(text: str, says: str, tmp_path: Path) -> None:
    (tmp_path / NAME).write_text(text, encoding="utf-8")
    with pytest.raises(ValueError, match=says) as raised:
        read_fleet(tmp_path)
    assert "\n" not in str(raised.value)


def test_a_fleet_file_is_read_as_it_was_written(tmp_path: Path) -> None:
    write_fleet(tmp_path, FILE)
    assert read_fleet(tmp_path) == FILE


@pytest.fixture
def imported(tmp_path: Path) -> Imported:
    """A file that was loaded here with one beside it."""
    folder = tmp_path / "mine"
    folder.mkdir()
    for name, text in (("own.py", "x = 1\n"), ("beside.py", "y = 2\n")):
        (folder / name).write_text(text, encoding="utf-8")
    paths = tuple(str(folder / name) for name in ("beside.py", "own.py"))
    return Imported("own.py", str(folder / "own.py"), "microbench_import.own", "c0ffee" * 10, paths)


@pytest.mark.parametrize("changed", [False, True])
def test_a_file_travels_with_those_beside_it_and_is_known_by_its_hash(
    changed: bool, imported: Imported, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def loaded(given: list[str]) -> tuple[Imported, ...]:
        found = Path(given[0])
        assert (found.read_text(), (found.parent / "beside.py").read_text()) == ("x = 1\n", "y = 2\n")
        return (replace(imported, path=str(found), sha256="other" if changed else imported.sha256),)

    monkeypatch.setattr("benches.fleet.shipping.load_imports", loaded)
    shipped = ship(imported)
    assert [name for name, _ in shipped.files] == ["beside.py", "own.py"]
    if changed:
        with pytest.raises(ImportProblem, match=r"own\.py:1: .* is another version than where the run began"):
            unpack([shipped], tmp_path / "there")
    else:
        assert unpack([shipped], tmp_path / "there") == (str(tmp_path / "there" / "c0ffeec0ffeec0ff" / "own.py"),)


def test_a_module_is_installed_on_every_machine(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    module = Imported("pkg.own", "/somewhere/pkg/own.py", "pkg.own", "ab", ("/somewhere/pkg/own.py",))
    monkeypatch.setattr("benches.fleet.shipping.load_imports", lambda given: (replace(module, path="/elsewhere/own.py"),))
    assert ship(module).files == ()
    assert unpack([ship(module)], tmp_path) == ("pkg.own",)


def test_the_folder_of_a_machine(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SCRATCH_OF_TEST", str(tmp_path))
    folder = own_folder("$SCRATCH_OF_TEST/a/b")
    assert (folder, folder.stat().st_mode & 0o777) == (tmp_path / "a" / "b", 0o700)
    monkeypatch.setattr("os.getuid", lambda: 10**6)
    with pytest.raises(PermissionError, match="another user"):
        own_folder("$SCRATCH_OF_TEST/a/b")


def test_what_stays_here() -> None:
    assert {"/.git", "/.venv", "/runs"} <= set(EXCLUDES)


GPUS = [NodeGpu(i, f"GPU-{i}aa", "NVIDIA H100 80GB HBM3", i // 2) for i in range(4)]


@pytest.mark.slow
@pytest.mark.ray
def test_an_agent_measures_on_the_gpu_that_ray_keeps_for_it() -> None:
    from benches.fleet.ray_agents import kept_gpu

    assert kept_gpu(GPUS, {"CUDA_VISIBLE_DEVICES": "2"}) == GPUS[2]  # its index is that of the machine
    assert kept_gpu(GPUS, {"CUDA_VISIBLE_DEVICES": "GPU-3aa"}) == GPUS[3]
    with pytest.raises(GpuChoiceError, match="Ray keeps GPU '7' for the process, and NVML lists none such"):
        kept_gpu(GPUS, {"CUDA_VISIBLE_DEVICES": "7"})
    with pytest.raises(GpuChoiceError, match="MIG slices"):
        kept_gpu([replace(GPUS[0], mig=True)], {"CUDA_VISIBLE_DEVICES": "0"})


NODES: list[dict[str, Any]] = [
    {"Alive": True, "NodeID": "b", "NodeManagerHostname": "h2", "NodeManagerPort": 1, "Resources": {"CPU": 4.0, "GPU": 2.0}},
    {"Alive": True, "NodeID": "a", "NodeManagerHostname": "h1", "NodeManagerPort": 9, "Resources": {"CPU": 4.0, "GPU": 1.0}},
    {"Alive": False, "NodeID": "c", "NodeManagerHostname": "h3", "NodeManagerPort": 1, "Resources": {"CPU": 4.0, "GPU": 8.0}},
    {"Alive": True, "NodeID": "head", "NodeManagerHostname": "h0", "NodeManagerPort": 1, "Resources": {}},
]


@pytest.mark.slow
@pytest.mark.ray
def test_a_slot_for_each_gpu_of_the_cluster(monkeypatch: pytest.MonkeyPatch) -> None:
    from benches.fleet import ray_agents

    monkeypatch.setattr(ray_agents, "ray", SimpleNamespace(nodes=lambda: NODES))
    assert [slot.node for slot in ray_agents.slots("cuda", None)] == ["a", "b", "b"]
    assert [slot.node for slot in ray_agents.slots("cuda", 2)] == ["a", "b"]
    simulated = ray_agents.slots("simulated", None, {"MICROBENCH_SIMULATED_GPUS": "3"})
    assert [(slot.node, slot.gpu.index) for slot in simulated if slot.gpu] == [("a", 0), ("a", 1), ("a", 2), ("b", 3), ("b", 4), ("b", 5)]


@pytest.mark.slow
@pytest.mark.ray
def test_what_ray_says_of_a_lost_actor_is_a_line() -> None:
    from ray.exceptions import RayActorError, RayTaskError

    from benches.fleet.ray_agents import first_line

    text = "The actor died unexpectedly before finishing this task.\n\tclass_name: Actor\n\tactor_id: 12"
    assert first_line(RayActorError(error_msg=text)) == "The actor died unexpectedly before finishing this task."
    assert first_line(RayTaskError("exchange", "Traceback …", ValueError("too\nlong"))) == "too"
    text = "The actor died because of an error raised in its creation task, ray::Actor.__init__()\n  File …\nImportError: no torch\n"
    assert first_line(RayActorError(error_msg=text)) == "its process could not start: ImportError: no torch"


@pytest.mark.parametrize("address", ["local", "auto"])
def test_a_cluster_of_this_machine_alone_is_closed_to_others(address: str) -> None:
    found: dict[str, str] = {}
    set_variables(address, found)
    assert found.pop("RAY_USAGE_STATS_ENABLED") == "0"
    token = found.pop("RAY_AUTH_TOKEN", "")
    closed = {"RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0", "RAY_AUTH_MODE": "token"}
    assert (found, len(token)) == ((closed, 64) if address == "local" else ({}, 0))
