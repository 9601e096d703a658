"""A GPU's constants from its runs: precision by precision, then what batches, the L2 and streams have of their own."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from kernels.calibrated import Calibration, Contractions, TileFit
from kernels.cost_model import parts_s
from kernels.gpus import Gpu
from kernels.parts import Contraction, Stream
from reports.calibrate.fit import Array, Problem, cross_validated, identify
from reports.calibrate.gpu import Contracted, Streamed, batch_problem, stream_problem, tile_problem
from reports.calibrate.observations import Observation, Runs, groups_of, rows_of, seconds_of
from reports.calibrate.quality import Quality, by_regime
from reports.calibrate.result import Fitted, provenance

CLEARLY = 0.9  # of an error: less is no better


def calibrate_gpu(runs: Runs, gpu: Gpu, present: Calibration) -> tuple[Calibration, list[Fitted], list[Quality]]:
    """The constants that the runs tell, the others as they are; each fit; and how good the predictions are, by family and regime."""
    fits: list[Fitted] = []
    matmul: list[TileFit] = []
    single = [o for o in runs.observations if o.single is not None]
    for alone in _by_precision(present):
        (precision,) = alone.precisions
        rows = [o for o in single if _is_contraction(o, batched=False) and o.point.precision == precision]
        if not rows or precision not in gpu.peak_flops_per_s:
            matmul.append(alone)
            continue
        done, better = _better([(_tile_fit(rows, precision, fit, present, gpu), fit) for fit in _splitting_or_not(alone)])
        fits.append(done)
        matmul.append(better.model_copy(update={**done.found.constants, **provenance(done, runs.source)}))
    found = present.model_copy(update={"matmul": tuple(matmul)})
    batched = [o for o in single if _is_contraction(o, batched=True) and o.point.precision in gpu.peak_flops_per_s]
    most = max({o.point.precision for o in batched}, key=lambda p: sum(o.point.precision == p for o in batched), default="")
    tile_of_most = found.matmul_for(most)
    if tile_of_most is not None:
        rows = [o for o in batched if o.point.precision == most]
        done = _fit(batch_problem(f"batched {most}", _contracted(rows), most, tile_of_most, present.batched, gpu), rows)
        fits.append(done)
        update = {**done.found.constants, **provenance(done, runs.source)}
        found = found.model_copy(update={"batched": found.batched.model_copy(update=update)})
    streams = [o for o in single if isinstance(o.single, Stream) and (o.single.bytes or o.single.flops)]
    if streams:
        done = _fit(stream_problem("streams", _streamed(streams), present.stream, found.batched, gpu), streams)
        fits.append(done)
        update = {**done.found.constants, **provenance(done, runs.source)}
        found = found.model_copy(update={"stream": found.stream.model_copy(update=update)})
    several = [o for o in runs.observations if o.single is None]
    return found, fits, [*(q for done in fits for q in done.quality), *judge_gpu(several, gpu, found)]


def _by_precision(present: Calibration) -> list[TileFit]:
    """Each precision's own copy of the fit it is predicted by."""
    return [fit.model_copy(update={"precisions": (precision,)}) for fit in present.matmul for precision in fit.precisions]


def _splitting_or_not(present: TileFit) -> tuple[TileFit, TileFit]:
    """As it is, and the other way: whether a library splits k shows in how well the rows fit."""
    return present, present.model_copy(update={"splits_k": not present.splits_k})


def _tile_fit(rows: Sequence[Observation], precision: str, fit: TileFit, present: Calibration, gpu: Gpu) -> Fitted:
    return _fit(tile_problem(f"matmul {precision}", _contracted(rows), precision, fit, present.batched, gpu), rows)


def _better(both: Sequence[tuple[Fitted, TileFit]]) -> tuple[Fitted, TileFit]:
    """The other way only where it is clearly better: rows without a choice of splits fit alike."""
    (as_is, _), (other, _) = both
    return both[1] if other.quality[0].mape < CLEARLY * as_is.quality[0].mape else both[0]


def _is_contraction(observation: Observation, batched: bool) -> bool:
    part = observation.single
    return isinstance(part, Contraction) and part.batched == batched


def _fit(problem: Problem, rows: Sequence[Observation]) -> Fitted:
    found = identify(problem)
    predicted = cross_validated(problem, found.fitted)
    held_out = predicted is not None
    shown = predicted if predicted is not None else problem.predict(found.constants, problem.every)
    return Fitted(
        problem.name, found, len(rows), tuple(by_regime(problem.name, [rows_of(o) for o in rows], shown, problem.measured, held_out))
    )


def judge_gpu(observations: Sequence[Observation], gpu: Gpu, model: Calibration) -> list[Quality]:
    """Predictions of points that no fit has seen, by op and precision, each in its regimes."""
    hot = np.array([o.hot for o in observations], bool)
    predicted, _ = parts_s([(o.point, o.parts) for o in observations], gpu, model, gpu.sm_count, hot)
    known = [(o, seconds) for o, seconds in zip(observations, predicted, strict=True) if np.isfinite(seconds) and seconds > 0]
    families: dict[str, list[tuple[Observation, float]]] = {}
    for o, seconds in known:
        families.setdefault(f"{o.point.op} {o.point.precision}", []).append((o, seconds))
    found: list[Quality] = []
    for name, members in families.items():
        rows = [o for o, _ in members]
        found += by_regime(name, [rows_of(o) for o in rows], np.array([s for _, s in members]), seconds_of(rows), held_out=True)
    return found


def _contracted(rows: Sequence[Observation]) -> Contracted:
    parts = [o.single for o in rows]
    columns = [_column(parts, name) for name in ("batch", "m", "n", "k", "element_bytes", "bytes")]
    return Contracted(Contractions(*columns), np.array([o.hot for o in rows], bool), seconds_of(rows), groups_of(rows))


def _streamed(rows: Sequence[Observation]) -> Streamed:
    parts = [o.single for o in rows]
    return Streamed(
        _column(parts, "bytes"), _column(parts, "flops"), np.array([o.hot for o in rows], bool), seconds_of(rows), groups_of(rows)
    )


def _column(parts: Sequence[object], name: str) -> Array:
    return np.array([getattr(part, name) for part in parts], float)
