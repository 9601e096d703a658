"""What the verdict has to reach on simulated fleets, and the two tables of it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import numpy as np

from studies.fleets.score import Found, Health, by_kind
from studies.fleets.simulate import EVERYTHING
from studies.fleets.worlds import ACCUSED, PLANTED

Healths = Mapping[str, Sequence[Health]]
Founds = Mapping[str, Sequence[Found]]


def missed(healthy: Healths, planted: Founds) -> list[str]:
    """What is not reached, a line each: more healthy GPUs accused than ACCUSED a fleet, or fewer slow ones found than a world asks for."""
    lines = [
        f"{world}: {accused:.2f} healthy GPUs accused a fleet"
        for world, scores in healthy.items()
        if (accused := float(np.mean([one.accused for one in scores]))) > ACCUSED
    ]
    for world, scores in planted.items():
        least, share = PLANTED[world].least, share_found(scores)
        if least is not None and share < least:
            lines.append(f"{world}: {share:.1%} of the slow ones found, of {least:.0%}")
    return lines


def share_found(scores: Sequence[Found]) -> float:
    """Returns the fraction of the slow GPUs that was found."""
    return sum(one.found for one in scores) / sum(one.planted for one in scores)


def health_table(healthy: Healths) -> list[str]:
    """Returns the lines of a Markdown table: how many GPUs are accused, or watched, in fleets of healthy ones."""
    lines = [
        "| healthy fleets | fleets | accused a fleet | most in one | `watch` a fleet | found in 95%, printed |",
        "|---|---:|---:|---:|---:|---:|",
    ]
    for world, scores in healthy.items():
        accused = [one.accused for one in scores]
        printed = float(np.median([one.detectable for one in scores]))
        watched = float(np.mean([one.watched for one in scores]))
        lines.append(f"| {world} | {len(scores)} | {np.mean(accused):.2f} | {max(accused)} | {watched:.2f} | {printed:.1%} |")
    return lines


def found_table(planted: Founds) -> list[str]:
    """Returns the lines of a Markdown table: how many of the slow GPUs are found, and named by what they are slow in."""
    lines = [
        "| slow GPUs | slow in | slower by | found | of | named rightly | healthy accused a fleet |",
        "|---|---|---:|---:|---:|---:|---:|",
    ]
    for world, scores in planted.items():
        for kind, some in by_kind(scores).items():
            found, planted_here = sum(one.found for one in some), sum(one.planted for one in some)
            named = f"{sum(one.named for one in some) / found:.1%}" if found else "–"
            by, accused = float(np.median([one.by for one in some])), float(np.mean([one.accused for one in some]))
            told = kind if kind == EVERYTHING else f"{kind} only"
            lines.append(f"| {world} | {told} | {by:.1%} | {found / planted_here:.1%} | {planted_here:,} | {named} | {accused:.2f} |")
    return lines
