"""Whether GPUs that are measured side by side disturb one another: each measures its sentinels alone, then all do at the same time.

They share power, cooling, the host's processors and its links. What they lose beside others is reported, and corrects no time.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path
from statistics import median

from benches.run.isolation import SENTINELS, Measurer
from benches.run.sentinels import DRIFT, ROUNDS, SAMPLES_S, WARM_S, Reading, points, read_parts
from benches.timing.failure import first_words

PREPARING_S = 0.3  # for the operands of a sentinel: a guess, on which nothing but the announced duration depends


@dataclass(frozen=True)
class Beside:
    """How long a sentinel took beside others, over its time alone: `ratio` is the median over the GPUs, `most` the largest, of `gpu`."""

    name: str
    ratio: float
    most: float
    gpu: str
    gpus: int

    def __str__(self) -> str:
        which = f" ({_change(self.most)} {self.gpu})" if self.gpus > 1 and self.gpu else ""
        return f"{self.name} {_change(self.ratio)}{which}"


def measure_alone_and_together(measurers: Sequence[Measurer]) -> None:
    """Lets each measure its sentinels while the others rest, then all at once. A worker that cannot costs no point. Raises what ends the
    wait, such as Ctrl-C, once the workers have stopped."""
    with ThreadPoolExecutor(len(measurers)) as executor:
        try:
            for measurer in measurers:
                executor.submit(measurer.read_sentinels, 0).result()
            for future in [executor.submit(measurer.read_sentinels, len(measurers) - 1) for measurer in measurers]:
                future.result()
        except BaseException as e:
            for measurer in measurers:
                measurer.interrupt(SENTINELS, first_words(e))
            raise


def duration_s(gpus: int) -> float:
    """Returns about how many seconds the comparison takes."""
    a_round = len(points("cuda")) * (WARM_S + SAMPLES_S + PREPARING_S)
    return a_round * (gpus * (ROUNDS - 1) + ROUNDS)


def ratios(readings: Iterable[Reading]) -> dict[str, float]:
    """Returns the time of each sentinel of one GPU beside others over its time alone; without those that lack either."""
    alone: dict[str, list[float]] = {}
    beside: dict[str, list[float]] = {}
    for reading in readings:
        if reading.others is not None:
            (beside if reading.others else alone).setdefault(reading.name, []).append(reading.median_s)
    return {name: median(beside[name]) / median(times) for name, times in alone.items() if name in beside and min(times) > 0}


def compared(found: Mapping[str, Mapping[str, float]]) -> list[Beside]:
    """Returns each sentinel over all GPUs. found: what `ratios` returns, by the name of the GPU."""
    names = dict.fromkeys(name for of_gpu in found.values() for name in of_gpu)
    return [_over_gpus(name, {gpu: of_gpu[name] for gpu, of_gpu in found.items() if name in of_gpu}) for name in names]


def _over_gpus(name: str, found: Mapping[str, float]) -> Beside:
    gpu = max(found, key=lambda one: found[one])
    return Beside(name, median(found.values()), found[gpu], gpu, len(found))


def disturbing(found: Iterable[Beside], limit: float = DRIFT) -> list[Beside]:
    """Returns the sentinels that some GPU takes longer for than `limit`, relative, beside the others."""
    return [one for one in found if one.most - 1 > limit]


def sentence(found: Sequence[Beside]) -> str:
    """Returns the answer for a reader; empty where nothing was compared."""
    if not found:
        return ""
    answer = "disturb" if disturbing(found) else "do not disturb"
    which = " (and of the most disturbed GPU)" if found[0].gpus > 1 else ""
    return f"GPUs side by side {answer} one another; change of time while the others work{which}: {', '.join(map(str, found))}"


def read_ratios(run_dirs: Iterable[Path]) -> dict[str, dict[str, float]]:
    """Returns the ratios of each GPU that has any, by its part of a run directory, or the directory's name where it has its own."""
    return {
        part or run_dir.name: found for run_dir in run_dirs for part, readings in read_parts(run_dir).items() if (found := ratios(readings))
    }


def _change(ratio: float) -> str:
    return f"{ratio - 1:+z.1%}"
