"""Which GPUs of a survey are slow. Pure: rows in, verdict out. docs/fleet.md has the rule, and how often it errs."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import pandas as pd
from numpy.typing import NDArray

from benches.row import FAILED, TIMED
from kernels.listed import first_of
from reports.survey.families import ALL, FAMILIES
from reports.survey.healthy import LEAST_GPUS, Healthy, healthy
from reports.survey.thresholds import Thresholds
from reports.verdict.robust import MAD_EFFICIENCY, TO_SIGMA, Array, medians, moderated

Index = NDArray[np.int64]
FINE, WATCH, SLOW, UNUSABLE = "fine", "watch", "slow", "unusable"
STATES = (SLOW, UNUSABLE, WATCH, FINE)  # from the worst
KIND = ("model", "driver", "cuda_runtime", "torch", "triton")  # GPUs that differ in one of these are judged apart
LEAST_SHARE = 0.5  # of a group's GPUs that timed a point, for it to count; of the points that a GPU timed, for it to be judged
MEDIAN_VARIANCE = np.pi / 2  # of a median over that of a mean of as many normal values
MOST_PRIOR = 50.0  # points that the other GPUs' scatter may weigh at most
Z95 = 1.96
FOUND = 0.96  # for 95% of slow GPUs to be found: the limit is an estimate too, and slow GPUs move it
QUANTILES = {"q05": 0.05, "q25": 0.25, "q50": 0.5, "q75": 0.75, "q95": 0.95}
MOST_RATIO = 100.0  # that is printed as one from which a GPU is slow, or found
NAMED = 4  # in a sentence


@dataclass(frozen=True)
class Judged:
    """A survey's verdict. Ratios are of times to the fleet's median: 1.03 is 3% slower.

    gpus: a line a GPU:
        `gpu` (UUID), `group`, `state` (of STATES);
        `slower` (over all points), its 95% interval `slower_low` to `slower_high`, and `slower <family>` of each family;
        `p` of a healthy GPU to be as slow, over all points and families together;
        `families` in which it is slow, or watched; of one that is so over all points, also those in which it is at least half as slow;
        `worst`, the largest of the ratios for which it is;
        `points` that count, `noisy`, `throttled` and `failed` ones (failed: most others time them);
        `reason` of one that could not be judged.
    points: a line a group and point that counts: `group`, `point`, `family`, `gpus`, `median_s`, `spread`, QUANTILES and `most` as ratios,
        and `slowest`, the UUID of that GPU.
    spreads: a line a group and family, and one for ALL: `group`, `family`, `points`, `gpus`, `spread` of the healthy (a scale of the slow
        side, of log times), QUANTILES and `most`, `limit` (the ratio from which a GPU is slow), `detectable` (the one found in 95% of
        cases); NaN where no slowness is.
    groups: a line a group: `group`, `gpus`, `points`, and KIND as far as it is known.
    suspect: why not to trust the verdict, a line each.
    """

    gpus: pd.DataFrame
    points: pd.DataFrame
    spreads: pd.DataFrame
    groups: pd.DataFrame
    suspect: tuple[str, ...] = ()

    @property
    def accused(self) -> pd.DataFrame:
        """The slow GPUs and those that fail what others do, the worst first."""
        found = self.gpus[(self.gpus["state"] == SLOW) | (self.gpus["failed"] > 0)]
        return found.sort_values(["failed", "worst"], ascending=False)

    @property
    def exit_code(self) -> int:
        """1 where a GPU is slow, or fails points that most others time, which outweighs 3, a suspect survey; else 0."""
        return 1 if len(self.accused) else 3 if self.suspect else 0


@dataclass(frozen=True)
class Level:
    """How much slower each GPU is over some points: log ratio, its standard error, and points; NaN where it timed none."""

    value: Array
    error: Array
    points: NDArray[np.int64]


@dataclass(frozen=True)
class Tested:
    """A family, or all points, of a group. `p`: of a healthy GPU; NaN where it is not judged. `least`, `limit`, `detectable`: log ratios.
    accused, watched: the probabilities below which a GPU is slow, or watched."""

    level: Level
    spread: Healthy
    p: Array
    least: float
    accused: float
    watched: float

    @property
    def limit(self) -> float:
        return max(self.spread.above(self.accused), self.least)

    @property
    def detectable(self) -> float:
        """The slowness at which a GPU lies beyond the limit with probability FOUND, wherever it lay among the healthy. A slow one is no
        longer among those that the spread is estimated from."""
        others = self.spread._replace(n=max(self.spread.n - 1, 2))
        return max(others.above(self.accused), self.least) - others.above(FOUND)


def judge(rows: pd.DataFrame, thresholds: Thresholds, boards: pd.DataFrame | None = None) -> Judged:
    """Returns the verdict on a survey.

    rows: a line a GPU and point: `gpu`, `model`, `point`, `family`, `status`, `median_s`. boards: a line a GPU, with KIND's columns, and
    `status` and `reason` of survey.json; None: GPUs differ by model only, and each has rows.
    """
    known = _known(rows, boards)
    kind = [name for name in KIND if name in known]
    numbers = known.groupby(kind, dropna=False, sort=False).ngroup().to_numpy()
    shares = thresholds.accused_share(len(known)), thresholds.watched_share(len(known))
    parts = [_judge_group(number, rows, known[numbers == number], thresholds, shares) for number in range(numbers.max(initial=-1) + 1)]
    gpus, points, spreads = (pd.concat([part[i] for part in parts], ignore_index=True) for i in range(3))
    groups = (
        known.assign(group=numbers).groupby("group").agg(**{name: (name, "first") for name in kind}, gpus=("gpu", "size")).reset_index()
    )
    groups = groups.assign(points=groups["group"].map(points["group"].value_counts()).fillna(0).astype(int))
    gpus = _lost(known[["gpu"]].merge(gpus, on="gpu", how="left", validate="1:1"), boards)
    return Judged(gpus, points, spreads, groups, tuple(_suspect(gpus, groups)))


def _lost(gpus: pd.DataFrame, boards: pd.DataFrame | None) -> pd.DataFrame:
    """With the reason of a GPU that could not be judged since it was lost, as survey.json gives it."""
    if boards is None or "status" not in boards:
        return gpus
    lost = (boards["status"] == "lost").to_numpy() & (gpus["state"] == UNUSABLE).to_numpy()
    return gpus.assign(reason=gpus["reason"].where(~lost, "lost: " + boards["reason"].fillna("reason not known").reset_index(drop=True)))


def _known(rows: pd.DataFrame, boards: pd.DataFrame | None) -> pd.DataFrame:
    """A line a GPU, with what tells its group. What is not known of a GPU, such as one that was lost, is taken for what most of its model
    have."""
    if boards is None:
        boards = rows[["gpu", "model"]].drop_duplicates("gpu")
    kind = [name for name in KIND if name in boards]
    known = boards[["gpu", *kind]].astype(object).reset_index(drop=True)
    for name in kind[1:]:
        usual = {model: next(iter(some[name].value_counts().index), None) for model, some in known.groupby("model", sort=False)}
        known[name] = known[name].where(known[name].notna(), known["model"].map(usual))
    return known


def _judge_group(
    number: int, rows: pd.DataFrame, known: pd.DataFrame, thresholds: Thresholds, shares: tuple[float, float]
) -> tuple[pd.DataFrame, pd.DataFrame, pd.DataFrame]:
    """The part of `gpus`, `points` and `spreads` for one group; rows: of every group."""
    names = known["gpu"].to_numpy(object)
    line = pd.Index(names).get_indexer(rows["gpu"].astype(object))
    here = rows[line >= 0]
    line = line[line >= 0]
    column, points = pd.factorize(here["point"].astype(object))
    status = here["status"].astype(object).to_numpy()
    timed = np.isin(status, TIMED) & (here["median_s"].to_numpy(float) > 0)
    log_s = np.full((len(names), len(points)), np.nan)
    log_s[line[timed], column[timed]] = np.log(here["median_s"].to_numpy(float)[timed])
    family = np.full(len(points), "", dtype=object)
    family[column] = here["family"].astype(object).to_numpy()
    counts = counting(log_s)
    relative = log_s[:, counts] - medians(log_s[:, counts].T)
    tested = tests(relative, family[counts], thresholds, shares)
    gpus = states(names, relative, tested).assign(group=number)
    for name in ("noisy", "throttled"):
        gpus[name] = np.bincount(line[status == name], minlength=len(names))
    gpus["failed"] = _failures(line, column, status, timed, len(names))
    gpus = _explained(gpus, np.bincount(line, minlength=len(names)), int(counts.sum()))
    return gpus, _points(number, points[counts], family[counts], log_s[:, counts], relative, names), _spreads(number, tested)


def counting(log_s: Array) -> NDArray[np.bool_]:
    """Which points enough GPUs timed to be compared by: at least LEAST_GPUS, and half of those that timed anything."""
    timed = ~np.isnan(log_s)
    gpus = int(np.count_nonzero(timed.any(axis=1)))
    return timed.sum(axis=0) >= max(LEAST_GPUS, LEAST_SHARE * gpus)


def tests(relative: Array, family: NDArray[np.object_], thresholds: Thresholds, shares: tuple[float, float]) -> dict[str, Tested]:
    """Tests all points together and each family. relative: [GPUs, points], log times over the fleet's medians, NaN where not timed. shares:
    the probabilities with which a healthy GPU may be slow, or watched; each test has an equal part of both."""
    present = [name for name in FAMILIES if (family == name).any()]
    members = {ALL: np.ones(len(family), bool)} | {name: family == name for name in present}
    accused, watched = (share / len(members) for share in shares)
    found = {}
    for name, some in members.items():
        one = _tested(levels(relative[:, some]), int(some.sum()), float(np.log1p(thresholds.of(name))), accused, watched)
        if one is not None:
            found[name] = one
    return found


def levels(relative: Array) -> Level:
    """The median over points of each GPU. Its error is by the scatter of the GPU's own points about it, moderated over the GPUs."""
    points = np.count_nonzero(~np.isnan(relative), axis=1)
    value = medians(relative) if relative.shape[1] else np.full(len(relative), np.nan)
    scatter = (TO_SIGMA * medians(np.abs(relative - value[:, None]))) ** 2 if relative.shape[1] else value
    error = np.full(len(value), np.nan)
    several = points > 1
    if several.any():
        variance, _ = moderated(scatter[several], MAD_EFFICIENCY * (points[several] - 1.0), MOST_PRIOR)
        error[several] = np.sqrt(variance * np.where(points[several] > 2, MEDIAN_VARIANCE, 1.0) / points[several])
    return Level(value, error, points)


def _tested(level: Level, points: int, least: float, accused: float, watched: float) -> Tested | None:
    """None where fewer than LEAST_GPUS timed half of the points."""
    judged = level.points >= max(LEAST_SHARE * points, 1)
    if np.count_nonzero(judged) < LEAST_GPUS:
        return None
    spread = healthy(level.value[judged], accused)
    p = np.full(len(judged), np.nan)
    away = (level.value - spread.mode) / np.sqrt(1 + _extra(level.error, judged) / spread.slow**2)
    p[judged] = spread.beyond(spread.mode + away[judged])
    return Tested(level, spread, p, least, accused, watched)


def _extra(error: Array, judged: NDArray[np.bool_]) -> Array:
    """By how much the variance of each GPU's level exceeds the usual one, which the spread of the levels holds already."""
    if np.isnan(error[judged]).all():
        return np.zeros(len(error))
    return np.nan_to_num(np.maximum(error**2 - np.nanmedian(error[judged]) ** 2, 0.0))


def states(names: NDArray[np.object_], relative: Array, tested: Mapping[str, Tested]) -> pd.DataFrame:
    """State, ratios and families of each GPU; the state of one that was not judged is UNUSABLE."""
    count = len(names)
    over_all = levels(relative)
    half = Z95 * np.nan_to_num(over_all.error)
    table = pd.DataFrame(
        {
            "gpu": names,
            "state": np.full(count, UNUSABLE, dtype=object),
            "slower": np.exp(over_all.value),
            "slower_low": np.exp(over_all.value - half),
            "slower_high": np.exp(over_all.value + half),
            **{f"slower {name}": np.exp(tested[name].level.value) if name in tested else np.full(count, np.nan) for name in FAMILIES},
            "points": over_all.points,
        }
    )
    p, worst = np.full(count, np.nan), np.full(count, np.nan)
    slow, watch = ({name: np.zeros(count, bool) for name in tested} for _ in range(2))
    for name, one in tested.items():
        matters = one.level.value > one.least
        slow[name] = (one.p <= one.accused) & matters
        watch[name] = (one.p <= one.accused) | ((one.p <= one.watched) & matters)
        p = np.fmin(p, np.minimum(one.p * len(tested), 1.0))
    is_slow, is_watched = (np.any([*one.values()], axis=0) if one else np.zeros(count, bool) for one in (slow, watch))
    table.loc[~np.isnan(p), "state"] = np.where(is_slow, SLOW, np.where(is_watched, WATCH, FINE))[~np.isnan(p)]
    of_state = {name: np.where(is_slow, slow[name], watch[name]) for name in tested}
    for name in tested:
        if name != ALL:
            of_state[name] |= of_state[ALL] & (tested[name].level.value >= tested[ALL].level.value / 2)
    for name, one in tested.items():
        worst = np.where(of_state[name], np.fmax(worst, np.exp(one.level.value)), worst)
    families = [tuple(name for name in FAMILIES if name in tested and of_state[name][i]) for i in range(count)]
    return table.assign(p=p, worst=worst, families=pd.Series(families, dtype=object))


def _failures(line: Index, column: Index, status: NDArray[np.object_], timed: NDArray[np.bool_], gpus: int) -> Index:
    """How many points each GPU fails that most of the GPUs that have a row of them time."""
    points = int(column.max(initial=-1)) + 1
    rows, good = np.bincount(column, minlength=points), np.bincount(column[timed], minlength=points)
    others_do = good > rows / 2
    failed = np.isin(status, FAILED) & others_do[column]
    return np.bincount(line[failed], minlength=gpus)


def _explained(gpus: pd.DataFrame, rows: Index, points: int) -> pd.DataFrame:
    """With `reason`, why a GPU could not be judged; None for the others. rows: of each GPU."""
    lines = zip(gpus["state"], rows, gpus["points"], strict=True)
    reasons = [_why(int(have), int(used), points) if state == UNUSABLE else None for state, have, used in lines]
    return gpus.assign(reason=pd.Series(reasons, gpus.index, dtype=object))


def _why(rows: int, used: int, points: int) -> str:
    if not rows:
        return "it has no rows"
    if not points:
        return f"no point was timed by {LEAST_GPUS} GPUs of its kind"
    return f"{used} of {points} points were timed"


def _quantiles(values: Array, axis: int) -> dict[str, Array]:
    """QUANTILES and `most`, as ratios of times; values are logarithms, NaN where not timed."""
    found = np.exp(np.nanquantile(values, [*QUANTILES.values(), 1.0], axis=axis))
    return dict(zip((*QUANTILES, "most"), found, strict=True))


def _points(number: int, points: Sequence[Any], family: Array, log_s: Array, relative: Array, names: Array) -> pd.DataFrame:
    columns = ["group", "point", "family", "gpus", "median_s", "spread", *QUANTILES, "most", "slowest"]
    if not len(points):
        return pd.DataFrame(columns=columns)
    return pd.DataFrame(
        {
            "group": number,
            "point": np.asarray(points, object),
            "family": family,
            "gpus": np.count_nonzero(~np.isnan(relative), axis=0),
            "median_s": np.exp(medians(log_s.T)),
            "spread": TO_SIGMA * medians(np.abs(relative).T),
            **_quantiles(relative, 0),
            "slowest": names[np.nanargmax(relative, axis=0)],
        },
        columns=columns,
    )


def _spreads(number: int, tested: Mapping[str, Tested]) -> pd.DataFrame:
    columns = ["group", "family", "points", "gpus", "spread", *QUANTILES, "most", "limit", "detectable"]
    lines = [
        {
            "group": number,
            "family": name,
            "points": int(one.level.points.max()),
            "gpus": int(np.count_nonzero(~np.isnan(one.p))),
            "spread": one.spread.slow,
            **{key: float(value) for key, value in _quantiles(one.level.value[~np.isnan(one.p)], 0).items()},
            "limit": _ratio(one.limit),
            "detectable": _ratio(one.detectable),
        }
        for name, one in tested.items()
    ]
    return pd.DataFrame(lines, columns=columns)


def _ratio(log_ratio: float) -> float:
    """NaN beyond MOST_RATIO: so few GPUs find nothing."""
    return float(np.exp(log_ratio)) if log_ratio < np.log(MOST_RATIO) else np.nan


def _suspect(gpus: pd.DataFrame, groups: pd.DataFrame) -> list[str]:
    """Why the verdict is not to be trusted, as far as the rows and boards show."""
    lines = []
    for _, models in groups.groupby("model", dropna=False, sort=False) if "model" in groups else ():
        lines += [_mixed(name, models) for name in KIND[1:] if name in models and len(models[name].unique()) > 1]
    unjudged = gpus[gpus["state"] == UNUSABLE]
    small = groups[groups["gpus"] < LEAST_GPUS]
    for group in small.to_dict("records"):
        which = "a GPU that is the only one of its kind" if group["gpus"] == 1 else f"which of {group['gpus']} GPUs is slow"
        lines.append(f"{which} cannot be judged: a verdict needs {LEAST_GPUS} of a kind ({kind_words(group)})")
    rest = unjudged[~unjudged["group"].isin(small["group"])]
    if len(rest):
        reasons = rest["reason"].value_counts()
        lines.append(
            f"{len(rest):,} of {len(gpus):,} GPUs could not be judged: "
            + "; ".join(f"{why} ({count:,})" if len(reasons) > 1 else str(why) for why, count in list(reasons.items())[:NAMED])
        )
    for name in ("noisy", "throttled"):
        most = gpus[gpus[name] > gpus["points"] / 2]
        if len(gpus) and len(most) > len(gpus) / 2:
            lines.append(f"most points of {len(most):,} of {len(gpus):,} GPUs are {name}")
    return lines


def _mixed(name: str, models: pd.DataFrame) -> str:
    counts = models.groupby(name, sort=False, dropna=False)["gpus"].sum().sort_values(ascending=False)
    told = first_of([f"{value} ({count:,} GPU{'s' if count > 1 else ''})" for value, count in counts.items()], NAMED)
    return f"{name} differs among GPUs of one model: {told}; each is judged among its own"


def kind_words(group: Mapping[Any, Any]) -> str:
    """What the GPUs of a group have in common, as far as it is known. group: a line of Judged.groups."""
    known = {name: value for name in KIND if (value := group.get(name)) is not None and not pd.isna(value)}
    return ", ".join(str(value) if name == KIND[0] else f"{name.replace('_', ' ')} {value}" for name, value in known.items())


def doubted(judged: Judged, reasons: Sequence[str]) -> Judged:
    """The verdict with further reasons not to trust it, which come first."""
    return replace(judged, suspect=(*reasons, *judged.suspect))
