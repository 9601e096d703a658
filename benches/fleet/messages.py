"""What a fleet's driver and its agents send one another: plain data."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, NamedTuple

from benches.devices.node_gpus import NodeGpu
from benches.fleet.shipping import Shipped
from benches.run.run import Request
from benches.run.survey_file import SurveyGpu
from benches.run.workers import Workers


@dataclass(frozen=True)
class Order:
    """What every agent of a run is given."""

    run_id: str
    request: Request
    workers: Workers
    shipped: tuple[Shipped, ...]  # other people's files
    node_dir: str  # a folder of each machine, in which variables are expanded there


@dataclass(frozen=True)
class Opened:
    """An agent that may be given points. held: points of which its machine has rows of an earlier part of the run."""

    gpu: SurveyGpu
    environment: dict[str, Any]
    held: tuple[str, ...] = ()
    notes: tuple[str, ...] = ()


@dataclass(frozen=True)
class Refused:
    """A GPU that cannot be measured, and why; without a GPU, none was found."""

    reason: str
    gpu: SurveyGpu | None = None


class Sent(NamedTuple):
    """A row that is on the disk of its machine. line: as a journal holds it. error: the file of an error's whole
    message, and the message."""

    point: str
    status: str
    cause: str | None
    line: bytes
    error: tuple[str, str] | None = None


class Batch(NamedTuple):
    """The rows since the last batch; and why the agent measures no more, where it does not."""

    rows: list[Sent]
    ended: str | None = None


class Ending(NamedTuple):
    """The last rows of an agent, the readings of its sentinels, and what its board reported then, as environment.json has it."""

    rows: list[Sent]
    sentinels: bytes = b""
    board: dict[str, Any] | None = None


class Slot(NamedTuple):
    """Where an agent is to be: a node of the cluster, and of simulated GPUs the one that it has. host: the node's name or address."""

    node: str
    host: str
    gpu: NodeGpu | None = None
