"""How much slower each GPU of a survey is than the others, by point and by family, for the page. It judges none. Pure."""

from __future__ import annotations

import warnings
from dataclasses import dataclass

import numpy as np
import pandas as pd

from reports.survey.families import FAMILIES
from reports.verdict.robust import Array, medians

QUANTILES = (0.05, 0.25, 0.5, 0.75, 0.95)
SLOWER = "slower_"  # begins the column of a family


@dataclass(frozen=True)
class Wide:
    """logs: of each GPU's time over the median of its group, [GPUs, points], NaN where there is no time. A point has one state of caches."""

    gpus: list[str]
    points: list[str]
    families: list[str]  # of the points
    logs: Array
    median_s: Array  # of the points, over all GPUs


def wide(rows: pd.DataFrame, groups: pd.Series) -> Wide:
    """rows: of SurveyRun. groups: what each GPU is compared with, by UUID: those of the same value; the index gives the order of GPUs."""
    timed = rows[rows["median_s"].notna()]
    names = timed["point"].astype(str) + np.where(timed["cache"].astype(object) == "hot", " (hot)", "")
    codes, points = pd.factorize(names)
    places = groups.index.get_indexer(timed["gpu"].astype(str))
    logs = np.full((len(groups), len(points)), np.nan)
    logs[places, codes] = np.log(timed["median_s"])
    first = pd.Series(range(len(codes))).groupby(codes).first().to_numpy() if len(codes) else np.array([], int)
    families = timed["family"].astype(str).to_numpy()[first].tolist()
    seconds = np.exp(medians(logs.T)) if len(points) else np.array([])
    for group in groups.unique():
        here = (groups == group).to_numpy()
        logs[here] -= medians(logs[here].T)[None, :] if len(points) else 0.0
    return Wide([str(gpu) for gpu in groups.index], list(map(str, points)), families, logs, seconds)


def by_gpu(found: Wide) -> pd.DataFrame:
    """Returns a line a GPU: `slower`, the median over its points of its time over the group's, `slower_<family>` and `timed` points."""
    columns: dict[str, Array] = {"slower": _ratios(found.logs)}
    for family in present(found):
        columns[SLOWER + family] = _ratios(found.logs[:, [one == family for one in found.families]])
    return pd.DataFrame({**columns, "timed": np.count_nonzero(~np.isnan(found.logs), axis=1)}, index=found.gpus)


def present(found: Wide) -> list[str]:
    """The families of the survey's points."""
    return [family for family in FAMILIES if family in found.families]


def _ratios(logs: Array) -> Array:
    return np.exp(medians(logs)) if logs.shape[1] else np.full(len(logs), np.nan)


def by_point(found: Wide) -> pd.DataFrame:
    """Returns a line a point: `point`, `family`, `gpus` that timed it, `median_s`, the QUANTILES of the GPUs' ratios as `q05` …, the
    `slowest` GPU (its place in `gpus`) and its `ratio`."""
    timed = np.count_nonzero(~np.isnan(found.logs), axis=0)
    ratios = np.exp(found.logs)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", RuntimeWarning)  # a point that no GPU timed is not among them
        quantiles = np.nanquantile(ratios, QUANTILES, axis=0) if ratios.size else np.empty((len(QUANTILES), len(found.points)))
    slowest = np.argmax(np.nan_to_num(ratios, nan=-1.0), axis=0) if ratios.size else np.array([], int)
    return pd.DataFrame(
        {
            **{"point": found.points, "family": found.families, "gpus": timed, "median_s": found.median_s},
            **{f"q{round(100 * q):02}": quantiles[i] for i, q in enumerate(QUANTILES)},
            **{"slowest": slowest, "ratio": ratios[slowest, np.arange(len(slowest))] if ratios.size else np.array([])},
        }
    )
