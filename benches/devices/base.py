"""What measuring needs of a device. Setting up, launching and timing are three things: workloads are set up, a device times them."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, Protocol

from benches.row import Cache, Mode
from kernels.gpus import Gpu
from kernels.loop_work import LoopWork
from kernels.op import Cost, Language, Point
from kernels.support import Platform

if TYPE_CHECKING:
    from benches.correctness import Verdict  # which imports torch

Regime = Literal["sustained", "boost"]
POWER_CAP = "power cap"  # a cause that Reading names: normal for long products on an H100


class TooLittleMemory(Exception):
    """The device could not hold the point."""


@dataclass(frozen=True)
class Method:
    """How one sample is taken."""

    mode: Mode  # see benches/timing/method.py
    launches: int = 1  # in a sample, which is their mean
    sets: int = 1  # of inputs and outputs, through which launches rotate
    flush: bool = False  # the cache is filled with something else before each sample


@dataclass(frozen=True)
class Reading:
    """What the device tells of itself at one moment; None where it does not."""

    sm_clock_hz: float | None = None
    memory_clock_hz: float | None = None
    power_w: float | None = None
    temperature_c: float | None = None
    reasons: tuple[str, ...] | None = None  # that hold the clock down just now
    slowed_s: Mapping[str, float] = field(default_factory=dict)  # by cause: seconds so far, ever growing; only differences mean something
    energy_j: float | None = None  # so far, ever growing


@dataclass(frozen=True)
class Sample:
    """One sample."""

    seconds: float  # of the device, a launch
    enqueue_s: float | None = None  # of the host, a launch
    void: str | None = None  # the cause for which it does not count; never its value
    reading: Reading | None = None  # taken while the device worked
    begin_s: float | None = None  # of the device, since it was opened: where samples follow one another, how much of the time it worked


class Workload(Protocol):
    """A point bound to its memory, ready to launch."""

    peak_memory_bytes: int | None  # measured, where the device can tell
    scratch_bytes: int | None  # the part of it that no tensor held, where that is known
    fresh_inputs: bool | None  # whether checks gave the kernel other values than it was built with; None: nothing was checked with tensors
    cost: Cost

    @property
    def config(self) -> str | None:
        """Of the kernel that runs, where the implementation chose one."""

    @property
    def config_origin(self) -> Literal["rule", "tuned"] | None:
        """Who chose the config, where the implementation records it."""

    @property
    def machine_code_hash(self) -> str | None:
        """Of the compiled kernels of the last launch, where they are known."""

    @property
    def loops(self) -> Sequence[LoopWork]:
        """Of the compiled kernels of the last launch, where their machine code can be read."""

    @property
    def rotatable(self) -> bool:
        """Whether more sets can be made cheaply."""

    @property
    def capturable(self) -> bool:
        """Whether a CUDA graph can hold launches; where not, capturing fails and must not be tried."""

    @property
    def sets(self) -> int: ...

    @property
    def touched(self) -> int:
        """How many of the sets have been launched since `rotate`."""

    @property
    def launches(self) -> int:
        """Since `rotate`; the launches captured into a graph count once."""

    @property
    def updates(self) -> bool:
        """Whether a launch changes what the next one finds: an optimizer's step."""

    @property
    def phases(self) -> Sequence[tuple[str, Callable[[], Any]]]:
        """What a launch does one after the other, by name; empty where it is one thing."""

    def rotate(self, sets: int) -> None:
        """Holds so many sets, each of values of its own, and starts at the first. Raises TooLittleMemory."""

    def launch(self) -> Any:
        """Enqueues the work once, on the next set; does not wait for it."""

    def refill(self) -> None:
        """Draws a set, which the next launch takes, and gives its operands other values in place."""

    def keep(self) -> None:
        """Copies at once what the drawn set returned."""

    def poison(self) -> None:
        """Fills every output with NaN, and puts back what launches have updated."""

    def verify(self) -> Verdict:
        """Compares what was kept since `refill`, or else what the last launch wrote, with the fp64 reference."""


@dataclass(frozen=True)
class Settings:
    """When to stop, and what is asked for. Seconds are of the host's clock, of the simulated host's on a simulated device."""

    warmup_s: float = 0.5  # at least
    warmup_max_s: float = 3.0  # if times have not become steady by then, the point is noisy
    half_width: float = 0.005  # of the median's interval, relative: narrower is converged; also how far its thirds may disagree
    max_s: float = 10.0  # of sampling, cooling not counted
    max_samples: int = 1000
    min_samples: int = 30
    min_span_s: float = 0.0  # over which at least `min_samples` are spread: short disturbances then reach few of them
    long_samples: int = 8  # of calls longer than 0.1 s
    max_call_s: float = 60.0  # a call predicted to take longer is skipped
    cache: Cache = "cold"
    regime: Regime = "sustained"  # back to back after warm-up; "boost": short bursts after idling
    energy: bool = False  # also run for 3 s to read the energy of a call


class Device(Protocol):
    """A place to measure on."""

    @property
    def kind(self) -> Literal["cuda", "cpu", "simulated"]: ...

    @property
    def timer(self) -> str: ...

    @property
    def gpu(self) -> Gpu | None:
        """Its data sheet, where one is known."""

    @property
    def l2_bytes(self) -> int | None:
        """None: no cache is controlled here, and every launch finds it as the one before left it (hot)."""

    settings: Settings

    def platform(self, language: Language) -> Platform:
        """Where an implementation in this language would run."""

    def disturbance(self) -> str | None:
        """Why what was timed since the last `prepare` cannot be trusted, though no sample shows it; or None."""

    def load(self, point: Point, seed: int) -> Workload:
        """Allocates, fills and builds. Raises TooLittleMemory, or whatever the implementation raises."""

    def predict_s(self, point: Point) -> float | None:
        """Expected seconds a call, where the device has ceilings to predict from."""

    def free_bytes(self) -> int | None: ...

    def prepare(self, workload: Any, method: Method) -> Method:
        """Makes the sets and the graph, and returns the method that works: events where the calls cannot be captured, the host's clock
        where no hold covers one. How many calls a sample of the host's clock takes is found here."""

    def take_samples(self, workload: Any, method: Method, count: int = 1, watch: bool = False) -> list[Sample]:
        """Up to `count` samples back to back, at least one; with `watch`, one of them carries a reading taken meanwhile."""

    def run_for(self, workload: Any, method: Method, seconds: float, launch_s: float) -> int:
        """Untimed launches back to back for about so long, at `launch_s` each; how many. Waits for them."""

    def phase(self, call: Callable[[], Any]) -> float:
        """Seconds of one phase of a launch, enqueued and waited for."""

    def floor_s(self, method: Method) -> float | None:
        """Seconds a launch of a kernel that does nothing, timed in the same way."""

    def read(self) -> Reading:
        """What it reports about this moment, quickly."""

    def counters(self, energy: bool = False) -> Reading:
        """What only grows, `slowed_s` and with `energy` also `energy_j`: milliseconds on a real board, so not while samples run."""

    def rest(self, seconds: float) -> None:
        """Idles."""

    def now_s(self) -> float:
        """The clock that Settings counts in."""

    def describe(self) -> dict[str, Any]:
        """For environment.json: device_kind, device_name, device_uuid, driver, gpu, ceilings; and on CUDA what else times depend on, and
        `notes`, which a run prints at its end."""
