"""The agents of a fleet as actors of Ray, one a GPU. Only this module imports Ray: call ray_variables.set_variables before."""

from __future__ import annotations

import logging
import os
import socket
import sys
import time
from collections.abc import Mapping, Sequence
from typing import Any, NoReturn
from urllib.parse import urlsplit

import psutil
import ray
from ray.exceptions import GetTimeoutError, RayError
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from benches.devices import visible
from benches.devices.node_gpus import GpuChoiceError, NodeGpu, choose, listed_gpus, simulated_gpus
from benches.fleet.agent import Agent, open_agent
from benches.fleet.driver import AgentLost, HeadLost
from benches.fleet.messages import Batch, Ending, Opened, Order, Refused, Slot
from benches.fleet.ray_variables import LOCAL
from benches.fleet.shipping import EXCLUDES
from kernels import interpreter
from kernels.guard import ROOT
from kernels.imports import VARIABLE as IMPORT_VARIABLE
from kernels.op import Point

CLIENT = "ray://"
EXCHANGE_S = 5.0  # for which an agent waits for a row, before it answers without any
HEAD_EVERY_S, HEAD_TRIES, HEAD_ANSWER_S = 2.0, 4, 3.0  # Ray ends a driver a minute after it lost its head
ANSWER_S = 15.0  # for a head to accept a connection
STORE_BYTES = 200_000_000  # of a local cluster's object store: batches of rows
THREADS = "OMP_NUM_THREADS"


class Actor:
    """An agent in a process of Ray's on the machine of its GPU."""

    def __init__(self) -> None:
        as_a_shell_starts_it()
        self._agent: Agent | None = None

    def open(self, order: Order, gpu: NodeGpu | None) -> Opened | Refused:
        """gpu: a simulated one; None: that which Ray keeps for this process."""
        interpreter.choose(order.workers.kind)
        try:
            found = open_agent(order, gpu or kept_gpu(listed_gpus(), os.environ))
        except GpuChoiceError as e:
            return Refused(str(e))
        if isinstance(found, Refused):
            return found
        self._agent = found
        return found.opened

    def exchange(self, points: Sequence[Point]) -> Batch:
        assert self._agent is not None
        return self._agent.exchange(points, EXCHANGE_S)

    def finish(self, interrupted: bool, delete: bool) -> Ending:
        assert self._agent is not None
        return self._agent.finish(interrupted, delete)


def as_a_shell_starts_it() -> None:
    """Makes a process of Ray's start its worker as pytest would: without the thread count that Ray sets where none was chosen, and without
    loading Ray's own main program in it."""
    try:
        chosen = THREADS in psutil.Process(os.getppid()).environ()
    except psutil.Error:
        chosen = True
    if not chosen:
        os.environ.pop(THREADS, None)
    vars(sys.modules["__main__"]).pop("__file__", None)


def kept_gpu(gpus: Sequence[NodeGpu], environ: Mapping[str, str]) -> NodeGpu:
    """Returns the GPU that Ray keeps for a process, which CUDA_VISIBLE_DEVICES names, with its index among all of the machine. Raises
    GpuChoiceError."""
    text = environ.get(visible.VARIABLE, "")
    found = visible.shown(gpus, text)
    if not found:
        raise GpuChoiceError(f"Ray keeps GPU {text!r} for the process, and NVML lists none such: see `python -m benches doctor` there")
    return choose(found[0].uuid, found)[0]


class RayAgents:
    """Implements Agents. With `connect` as a context manager."""

    def __init__(self, address: str, order: Order):
        self._address = address
        self._order, self._class = ray.put(order), ray.remote(Actor)  # each once: making a class of actors takes 0.2 s
        self._kind = order.workers.kind
        self._actors: dict[int, Any] = {}
        self._head = head_of(address)
        self._head_s, self._misses, self.head_lost = 0.0, 0, False

    def open(self, number: int, slot: Slot) -> Any:
        gpus = 1 if self._kind == "cuda" else 0
        where = NodeAffinitySchedulingStrategy(slot.node, soft=False)
        # Three calls at once: one that waits for a row, one that ends the agent, and one more.
        actor = self._class.options(num_cpus=0, num_gpus=gpus, max_concurrency=3, scheduling_strategy=where).remote()
        self._actors[number] = actor
        return actor.open.remote(self._order, slot.gpu)

    def exchange(self, number: int, points: Sequence[Point]) -> Any:
        return self._actors[number].exchange.remote(list(points))

    def finish(self, number: int, interrupted: bool, delete: bool) -> Any:
        return self._actors[number].finish.remote(interrupted, delete)

    def kill(self, number: int) -> None:
        actor = self._actors.pop(number, None)
        if actor is not None:
            ray.kill(actor)

    def wait(self, calls: Sequence[Any], timeout_s: float) -> list[Any]:
        self._look_at_head()
        ended, _ = ray.wait(list(calls), num_returns=len(calls), timeout=timeout_s)
        return ended

    def result(self, call: Any) -> Any:
        try:
            return ray.get(call, timeout=60.0)
        except GetTimeoutError:
            raise AgentLost("its answer did not arrive within 60 s") from None
        except RayError as e:
            raise AgentLost(first_line(e)) from None

    def is_up(self, slot: Slot) -> bool:
        return any(node["Alive"] and node["NodeID"] == slot.node for node in ray.nodes())

    def _look_at_head(self) -> None:
        """Raises HeadLost where the head has not answered several times: Ray itself ends this process only later, and without a word on
        how to continue."""
        now = time.monotonic()
        if self._head is None or now - self._head_s < HEAD_EVERY_S:
            return
        self._head_s = now
        self._misses = 0 if answers(self._head) else self._misses + 1
        if self._misses >= HEAD_TRIES:
            self.head_lost = True
            raise HeadLost(f"the head of the cluster ({':'.join(map(str, self._head))}) no longer answers")


def head_of(address: str) -> tuple[str, int] | None:
    """Returns where the head of the cluster listens, as this process reaches it; None where that is not known."""
    text = address.removeprefix(CLIENT) if address.startswith(CLIENT) else ray.get_runtime_context().gcs_address
    host, _, port = text.rpartition(":")
    return (host.strip("[]"), int(port)) if host and port.isdigit() else None


def answers(place: tuple[str, int]) -> bool:
    """Whether somebody accepts a connection there."""
    try:
        socket.create_connection(place, HEAD_ANSWER_S).close()
    except OSError:
        return False
    return True


def first_line(error: RayError) -> str:
    """Returns what Ray says of a lost actor, in a line."""
    if isinstance(error, ray.exceptions.RayTaskError):
        return str(error.cause).strip().splitlines()[0] if str(error.cause).strip() else type(error.cause).__name__
    lines = [line.strip() for line in str(error).splitlines() if line.strip()]
    if lines and "creation task" in lines[0]:  # a package that the node lacks, say: the traceback's last line names it
        return f"its process could not start: {lines[-1]}"
    telling = [line for line in lines if "died" in line or "unavailable" in line.lower() or "node" in line.lower()]
    return (telling or lines or [type(error).__name__])[0]


def ours(environ: Mapping[str, str]) -> dict[str, str]:
    """Returns the suite's own variables, which the agents get too; files to import travel by another way."""
    return {name: value for name, value in environ.items() if name.startswith("MICROBENCH_") and name != IMPORT_VARIABLE}


def refuse_silence(address: str, environ: Mapping[str, str] = os.environ) -> None:
    """Raises ConnectionError where an address names a host and a port and nothing answers there: Ray would try for minutes."""
    where = environ.get("RAY_ADDRESS", "") if address == "auto" else address
    try:
        found = urlsplit(where if "://" in where else f"//{where}")
        host, port = found.hostname, found.port
    except ValueError:  # Ray has words for it
        return
    if not host or not port:
        return
    try:
        socket.create_connection((host, port), ANSWER_S).close()
    except OSError as e:
        raise ConnectionError(f"nothing answers at {host}:{port}: {e.strerror or e}") from None


def connect(address: str) -> None:
    """Joins a cluster, or starts one of this machine for `local`. Raises ConnectionError and what Ray raises."""
    refuse_silence(address)
    common: dict[str, Any] = {
        "runtime_env": {"working_dir": str(ROOT), "excludes": list(EXCLUDES), "env_vars": ours(os.environ)},
        "log_to_driver": False,
        "logging_level": logging.ERROR,
        "configure_logging": True,
    }
    if address == LOCAL:
        ray.init(LOCAL, include_dashboard=False, object_store_memory=STORE_BYTES, **common)
    else:
        ray.init(address, **common)


def disconnect() -> None:
    """Leaves the cluster; a local one ends."""
    ray.shutdown()


def end_without_head(code: int) -> NoReturn:
    """Ends this process. Ray's own end would wait a minute for the head and then abort."""
    for stream in (sys.stdout, sys.stderr):
        stream.flush()
    os._exit(code)


def slots(kind: str, most: int | None, environ: Mapping[str, str] = os.environ) -> list[Slot]:
    """Returns a slot for each GPU of the cluster's machines, at most so many; a machine without any has none. Simulated GPUs: so many a
    machine as MICROBENCH_SIMULATED_GPUS says, counted on from machine to machine. Raises GpuChoiceError."""
    nodes = sorted((node for node in ray.nodes() if node["Alive"]), key=lambda node: (node["NodeManagerHostname"], node["NodeManagerPort"]))
    if kind == "cuda":
        counts = [(node, int(node["Resources"].get("GPU", 0))) for node in nodes]
        found = [Slot(node["NodeID"], node["NodeManagerHostname"]) for node, count in counts for _ in range(count)]
    else:
        measuring = [node for node in nodes if node["Resources"].get("CPU")]
        boards = simulated_gpus(environ, len(measuring))
        each = len(boards) // max(len(measuring), 1)
        places = [(node, boards[each * i : each * (i + 1)]) for i, node in enumerate(measuring)]
        found = [Slot(node["NodeID"], node["NodeManagerHostname"], gpu) for node, gpus in places for gpu in gpus]
    return found[:most]
