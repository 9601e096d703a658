"""The distribution of healthy GPUs, estimated from a fleet in which some are slow. Pure.

Healthy GPUs are not normally distributed: silicon and cooling give skewed spreads with heavy tails. So each side of the mode has a scale
of its own, both sides have the tails of a Student's t, and all of it is estimated from the fleet itself. Such a two-piece t is that of
Fernandez and Steel, "On Bayesian modeling of fat tails and skewness", JASA 93, 1998. Where a few GPUs spread more than the others, the
ends are further out than a t that fits the rest; GPUs that are slow for a cause stand on the slow side only, so that the fast side shows
how far out healthy ones come. The rule with the constants below was tuned on simulated fleets (studies/fleets), since the spread of a
real fleet has not been measured yet.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from scipy.special import digamma, gammaln, stdtr, stdtrit

from reports.verdict.robust import TO_SIGMA, Array

FLOOR = 5e-4  # least scale that is believed: medians have steps
BEGIN = 2.5  # scales of the fast side from the median, within which the first estimate looks
SKEW, TAIL = 0.2, 0.08  # what is expected of the logarithm of a skew (standard deviation) and of 1/degrees of freedom (mean)
LEAST_TAIL, MOST_TAIL = 0.002, 0.6  # 1/degrees of freedom: nearly normal; so heavy that the variance is infinite, nearly a Cauchy's
MOST_SKEW = 1.5
BEGIN_TAIL = 0.05  # where the search begins
ENOUGH = {"ftol": 1e-7}  # of the log-likelihood: far less than what one GPU contributes
FREEDOM = 0.6  # of n - 1: what a scale is worth that was estimated with a skew and a tail
LEAST_GPUS = 3  # of two, nothing tells which is slow
GROUP, LEAST_GROUP = 0.02, 2  # share of the fleet, and GPUs, that are a group rather than the end of a tail
FAR_FAST = 2  # fast GPUs that are further out than is likely, from which they show a heavier tail: one may have another cause
MARGIN = 1.5  # times how far out the fastest is: at 1, one healthy GPU a fleet would lie beyond on average, where both sides are alike
GROUP_ALPHA = 10.0  # times alpha, where a group is looked for: what is near it is not taken in


class Healthy(NamedTuple):
    """Two halves of a Student's t with `tail` = 1/degrees of freedom, of different scales, which meet at `mode`; from `n` GPUs."""

    mode: float
    fast: float  # scale below the mode
    slow: float  # above it
    tail: float
    n: int

    def beyond(self, value: Array | float) -> Array:
        """Returns the probability that a further healthy GPU lies above a value, given how uncertain a distribution from `n` GPUs is."""
        z = (np.asarray(value, float) - self.mode) / self._wider
        above = 2 * self.slow * stdtr(self._freedom, -np.maximum(z, 0) / self.slow)
        below = 2 * self.fast * stdtr(self._freedom, np.minimum(z, 0) / self.fast)
        return np.where(z >= 0, above, self.fast + self.slow - below) / (self.fast + self.slow)

    def above(self, probability: float) -> float:
        """Returns the value above which a further healthy GPU lies with this probability."""
        share = probability * (self.fast + self.slow)
        if share <= self.slow:
            return float(self.mode - self._wider * self.slow * stdtrit(self._freedom, share / 2 / self.slow))
        return float(self.mode + self._wider * self.fast * stdtrit(self._freedom, (self.fast + self.slow - share) / 2 / self.fast))

    @property
    def _freedom(self) -> float:
        return 1 / (self.tail + 1 / (FREEDOM * (self.n - 1)))

    @property
    def _wider(self) -> float:
        return float(np.sqrt(1 + 1 / self.n))


def healthy(values: Array, alpha: float) -> Healthy:
    """Returns the distribution of the healthy among the values, of which at least three are needed. alpha: how unlikely a value must be to
    be none of them.

    A tail that thins out is of the healthy, and is taken in to its end. Where that is a choice, a group of more than GROUP that stands
    apart is slow: a hot row of racks is not how healthy GPUs are spread. Tails reach as far as the fast side shows.
    """
    ordered = np.sort(values)
    middle, quarter = np.quantile(ordered, (0.5, 0.25))
    near = BEGIN * max(TO_SIGMA * (middle - quarter), FLOOR)
    begin = _within(ordered, middle - near, max(middle + near, ordered[len(ordered) // 2]))
    apart, taken = _grown(ordered, begin, GROUP_ALPHA * alpha)
    stands_apart = np.count_nonzero(ordered > apart.above(alpha)) > max(GROUP * len(ordered), LEAST_GROUP)
    return _as_far_as_fast(apart if stands_apart else _grown(ordered, taken, alpha)[0], ordered, alpha)


def _as_far_as_fast(found: Healthy, ordered: Array, alpha: float) -> Healthy:
    """Returns the distribution with tails so heavy that the slow side's limit lies at least MARGIN times as far out, in scales of its side,
    as the fastest GPU; unchanged where fewer than FAR_FAST stand beyond the fast side's limit, or a group of more than GROUP."""
    beyond = np.count_nonzero(ordered < -_mirrored(found).above(alpha))
    if not FAR_FAST <= beyond <= GROUP * len(ordered):
        return found
    from scipy.optimize import brentq  # half a second that a night without a fleet need not wait for

    least = found.mode + MARGIN * found.slow / found.fast * (found.mode - ordered[0])

    def short(tail: float) -> float:
        return least - found._replace(tail=tail).above(alpha)

    if short(found.tail) <= 0:
        return found
    return found._replace(tail=MOST_TAIL if short(MOST_TAIL) >= 0 else float(brentq(short, found.tail, MOST_TAIL)))


def _grown(ordered: Array, taken: slice, alpha: float) -> tuple[Healthy, slice]:
    """Takes in what the estimate from the values taken so far does not call unlikely, on either side, until nothing is added. Returns the
    last estimate and what it is from."""
    found = None
    while True:
        found = estimate(ordered[taken], found)
        likely = _within(ordered, -_mirrored(found).above(alpha), found.above(alpha))
        wider = slice(min(taken.start, likely.start), max(taken.stop, likely.stop))
        if wider == taken:
            return found, taken
        taken = wider


def _within(ordered: Array, low: float, high: float) -> slice:
    return slice(int(np.searchsorted(ordered, low, "left")), int(np.searchsorted(ordered, high, "right")))


def _mirrored(found: Healthy) -> Healthy:
    return Healthy(-found.mode, found.slow, found.fast, found.tail, found.n)


def estimate(values: Array, near: Healthy | None = None) -> Healthy:
    """Returns the likeliest distribution of values that are all healthy, given what is expected of skews and tails. near: an estimate from
    most of the values, to begin with."""
    from scipy.optimize import minimize  # as `brentq` above

    n = len(values)
    middle, quarter = np.quantile(values, (0.5, 0.25))
    scale = max(TO_SIGMA * float(middle - quarter), FLOOR)
    start = np.array([0.0, 0.0, 0.0, np.log(BEGIN_TAIL)])
    if near is not None:
        logs = np.log([near.fast / scale, near.slow / scale])
        start = np.array([(near.mode - middle) / scale, logs.mean(), (logs[1] - logs[0]) / 2, np.log(near.tail)])
    limits = [(-5.0, 5.0), (-5.0, 6.0), (-MOST_SKEW, MOST_SKEW), (np.log(LEAST_TAIL), np.log(MOST_TAIL))]
    start = np.clip(start, *np.transpose(limits))
    mode, log_scale, skew, log_tail = minimize(
        _unlikely, start, ((values - middle) / scale,), "L-BFGS-B", jac=True, bounds=limits, options=ENOUGH
    ).x
    fast, slow = (max(float(scale * np.exp(log_scale + sign * skew)), FLOOR) for sign in (-1, 1))
    return Healthy(float(middle + scale * mode), fast, slow, float(np.exp(log_tail)), n)


def _unlikely(parameters: Array, z: Array) -> tuple[float, Array]:
    """Minus the logarithm of the posterior density, and its gradient, by mode, log scale, skew (half the log ratio of the scales) and log
    tail."""
    mode, log_scale, skew, log_tail = parameters
    n, tail = len(z), float(np.exp(log_tail))
    freedom = 1 / tail
    fast, slow = np.exp(log_scale - skew), np.exp(log_scale + skew)
    away = z - mode
    positive = away > 0
    scale = np.where(positive, slow, fast)
    u = away / scale
    logs, squares = np.log1p(tail * u * u), u * u / (1 + tail * u * u)
    constant = gammaln((freedom + 1) / 2) - gammaln(freedom / 2) - 0.5 * np.log(freedom * np.pi) + np.log(2 / (fast + slow))
    log_likelihood = n * constant - (freedom + 1) / 2 * logs.sum()
    pull = (freedom + 1) * tail * squares  # of each value on the logarithm of its scale
    to_mode = np.sum((freedom + 1) * tail * u / (1 + tail * u * u) / scale)
    to_scale = pull.sum() - n
    to_skew = np.where(positive, pull, -pull).sum() - n * (slow - fast) / (fast + slow)
    of_constant = 0.5 * (digamma((freedom + 1) / 2) - digamma(freedom / 2) - tail)
    to_tail = -n * of_constant * freedom + logs.sum() / 2 * freedom - (freedom + 1) / 2 * tail * squares.sum()
    value = -log_likelihood + (skew / SKEW) ** 2 / 2 + tail / TAIL
    return value, np.array([-to_mode, -to_scale, -to_skew + skew / SKEW**2, -to_tail + tail / TAIL])
