"""The fleets that the verdict is put before, and what it has to reach in them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from reports.survey.families import LAUNCH, MEMORY, TENSOR
from studies.fleets.simulate import EVERYTHING, World

UNEQUAL = {MEMORY: 0.001, TENSOR: 0.01, LAUNCH: 0.05}
HEALTHY: Mapping[str, World] = {
    "normal, spread 0.5%": World(spread=0.005),
    "normal, spread 2%": World(),
    "normal, spread 10%": World(spread=0.10),
    "Student's t with 4 degrees of freedom, 2%": World(tails=4.0),
    "skewed (lognormal, sigma 0.5), 2%": World(skew=0.5),
    "GPUs of a host alike (80% of the variance), 2%": World(of_hosts=0.8),
    "hosts alike and t with 4 degrees of freedom, 2%": World(of_hosts=0.5, tails=4.0),
    "memory 0.1%, tensor cores 1%, launch 5%": World(own=UNEQUAL),
    "1 row in 10 noisy, 1 in 10 missing, 0.5%": World(spread=0.005, noisy=0.1, missing=0.1),
    "1 GPU in 20 with three times the spread, 2%": World(wide=0.05),
    "1 GPU in 10 with twice the spread, 2%": World(wide=0.1, wider=2.0),
    "1 GPU in 50 with five times the spread, 2%": World(wide=0.02, wider=5.0),
    "1 host in 20 with three times the spread, 2%": World(wide=0.05, wide_hosts=True),
    "hosts alike (80%), 1 GPU in 20 with three times the spread, 2%": World(of_hosts=0.8, wide=0.05),
    "skewed, 1 GPU in 20 with three times the spread, 2%": World(skew=0.5, wide=0.05),
    "memory 0.1%, tensor cores 1%, launch 5%, each of 1 GPU in 20 three times": World(own=UNEQUAL, wide=0.05),
    "64 GPUs, normal, 2%": World(gpus=64),
    "8 GPUs, normal, 2%": World(gpus=8),
}
KINDS = (EVERYTHING, MEMORY, TENSOR, LAUNCH)


@dataclass(frozen=True)
class Planting:
    """Fleets with slow GPUs: `each` of every kind, `by` how much; None: by what the verdict prints. `least`: the share to be found."""

    world: World
    by: float | None
    kinds: tuple[str, ...] = KINDS
    each: int = 1
    least: float | None = 0.95


PLANTED: Mapping[str, Planting] = {
    "spread 0.5%, slow by 3%": Planting(World(spread=0.005), 0.03),
    "spread 0.5%, slow by what is printed": Planting(World(spread=0.005), None),
    "spread 2%, slow by what is printed": Planting(World(), None),
    "spread 10%, slow by what is printed": Planting(World(spread=0.10), None),
    "t with 4 degrees of freedom, 2%, slow by what is printed": Planting(World(tails=4.0), None, least=None),
    "1 GPU in 20 with three times the spread, 2%, slow by what is printed": Planting(World(wide=0.05), None),
    "memory 0.1%, tensor cores 1%, launch 5%, slow by what is printed": Planting(World(own=UNEQUAL), None),
    "1 GPU in 8, spread 0.5%, slow by 5%": Planting(World(spread=0.005), 0.05, (EVERYTHING,), 128),
    "64 GPUs, spread 0.5%, slow by what is printed": Planting(World(gpus=64, spread=0.005), None, least=None),
    "8 GPUs, spread 0.5%, slow by what is printed": Planting(World(gpus=8, spread=0.005), None, (EVERYTHING,), least=None),
}
ACCUSED = 1.0  # healthy GPUs a fleet, at most, on average
