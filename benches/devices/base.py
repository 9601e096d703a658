"""What measuring needs of a device. Setting up, launching and timing are three things: workloads are set up, a device times them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any, Literal, Protocol

from benches.row import Conditions
from kernels.op import Platform, Point


class TooLittleMemory(Exception):
    """The device could not hold the point."""


@dataclass(frozen=True)
class Verdict:
    """The gate's answer. `worst` is the largest error over its tolerance, infinite where an element is NaN or missing."""

    worst: float
    problem: str | None = None  # what is wrong and where, for a reader; None if the result is right

    @property
    def ok(self) -> bool:
        return self.problem is None


class Workload(Protocol):
    """A point bound to its memory, ready to launch."""

    config: str | None
    peak_memory_bytes: int | None  # measured, where the device can tell

    def check(self) -> Verdict:
        """Fills the output with NaN, runs once and compares with the fp64 reference."""

    def launch(self) -> Any:
        """Enqueues the work once; does not wait for it."""


@dataclass(frozen=True)
class Settings:
    """When to stop sampling. Seconds are of the host's clock, of the simulated host's on a simulated device."""

    warmup_s: float
    half_width: float  # of the median's 99% interval, relative: narrower is converged
    max_s: float
    max_samples: int = 1000
    min_samples: int = 30
    long_s: float = 0.1  # calls longer than this need only `long_samples`
    long_samples: int = 8
    max_call_s: float = 60.0  # a call predicted to take longer is skipped


class Device(Protocol):
    """A place to measure on."""

    @property
    def kind(self) -> Literal["cuda", "cpu", "simulated"]: ...

    @property
    def timer(self) -> str: ...

    @property
    def cache(self) -> Literal["cold", "hot"]:
        """What the caches hold when a sample starts: something else, or the operands of the call before."""

    @property
    def regime(self) -> str:
        """ "sustained": after warm-up, back to back."""

    settings: Settings

    def platform(self, impl: str) -> Platform:
        """Where an implementation would run."""

    def prepare(self, point: Point, seed: int) -> Workload:
        """Allocates, fills and builds. Raises TooLittleMemory, or whatever the implementation raises."""

    def predict_s(self, point: Point) -> float | None:
        """Expected seconds a call, where the device has ceilings to predict from."""

    def time_once(self, workload: Any) -> float | None:
        """Seconds of one launch, or None where the sample is void for a cause that is no property of the kernel."""

    def now_s(self) -> float:
        """The clock that Settings counts in."""

    def conditions(self) -> Conditions:
        """Clocks, power, temperature and throttling, as far as the device tells."""

    def describe(self) -> dict[str, Any]:
        """For environment.json: device_kind, device_name, device_uuid, driver, gpu, ceilings."""
