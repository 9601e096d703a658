"""How long sampling a point will take, from its predicted time: what the sampler's constants add up to. Pure.

Seconds are those of the device's clock and host as the simulated device has them, so that a simulated run shows how far off this is.
"""

from __future__ import annotations

import math
from functools import lru_cache
from statistics import NormalDist

from benches.devices.base import Method, Settings
from benches.devices.streamed import HOLD_S, flush_bytes
from benches.devices.virtual import NULL_S, Behaviour
from benches.timing.interval import Z
from benches.timing.measure import PHASE_ROUNDS
from benches.timing.method import LONG_S, choose
from benches.timing.sampler import GROWTH
from benches.timing.warmup import CHUNK_S, CHUNK_SAMPLES, CHUNK_SAMPLES_S, ONE_SAMPLE_S, WINDOW
from kernels.gpus import Gpu
from kernels.op import Cost

DEVICE = Behaviour()  # whose noise says how many samples it takes
SETUP_CALLS = 4  # besides one a set and the estimate: those that load kernels, and those that show whether a hold covers one
ESTIMATE_CALLS = 3  # of a long call, one
GRAPH_CALLS = 6  # replays that size a graph, and a few of the floor's


def sampling_s(call_s: float, cost: Cost, gpu: Gpu, settings: Settings, phases: int = 0) -> float:
    """Seconds from the first launch to the last sample of a point whose call is predicted to take `call_s`.

    phases: of a call that has several, each timed on its own afterwards.
    """
    call_s = max(call_s, NULL_S)
    method = choose(call_s, cost, gpu.l2_bytes, gpu.memory_bytes, True, settings.cache, whole=phases > 0)
    sample_s = _sample_s(call_s, method, gpu)
    samples = _samples(sample_s, settings)
    return _setup_s(call_s, method) + _warm_up_s(call_s, sample_s, settings) + samples * sample_s + _phases_s(call_s, phases)


@lru_cache
def expected_samples(settings: Settings) -> int:
    """Samples until the median's interval is narrow enough: the first of the looks at 30, 46, 70 … at which normal noise like the simulated
    device's is. Some points take a look more or less.
    """
    spread = NormalDist(sigma=DEVICE.noise)
    # Of the indicator x ≤ median of an AR(1) series: its autocorrelation at lag k is 2/π · asin(ρ^k).
    inflation = 1 + 4 / math.pi * sum(math.asin(DEVICE.rho**lag) for lag in range(1, 60))
    count = settings.min_samples
    while count < settings.max_samples:
        reach = min(Z * math.sqrt(inflation / count) / 2, 0.5 - 0.5 / count)  # of ranks around the median, a share of all
        if spread.inv_cdf(0.5 + reach) <= settings.half_width:
            break
        count = min(settings.max_samples, int(count * GROWTH) + 1)
    return count


def _sample_s(call_s: float, method: Method, gpu: Gpu) -> float:
    if method.mode == "wall":
        return method.launches * max(call_s, DEVICE.host_launch_s)
    return method.launches * call_s + (flush_bytes(gpu.l2_bytes) / gpu.bandwidth_bytes_per_s if method.flush else 0.0)


def _samples(sample_s: float, settings: Settings) -> int:
    if sample_s > LONG_S:
        return settings.long_samples
    return max(settings.long_samples, min(expected_samples(settings), round(settings.max_s / sample_s)))


def _setup_s(call_s: float, method: Method) -> float:
    """The first estimate, each set's first launch, and a graph's recording."""
    single_s = max(call_s, DEVICE.host_launch_s)
    singles = SETUP_CALLS + method.sets + (1 if call_s > LONG_S else ESTIMATE_CALLS)
    graph_s = (
        2 * method.launches * DEVICE.host_launch_s + GRAPH_CALLS * (HOLD_S + method.launches * call_s) if method.mode == "graph" else 0.0
    )
    return singles * single_s + graph_s


def _warm_up_s(call_s: float, sample_s: float, settings: Settings) -> float:
    """Chunks until WINDOW of them can be compared; of calls that are a chunk each, only as long as warming up takes at least."""
    samples_s = sample_s if call_s > ONE_SAMPLE_S else max(CHUNK_SAMPLES * sample_s, CHUNK_SAMPLES_S)
    chunk_s = samples_s + (CHUNK_S if call_s < CHUNK_S else 0.0)
    least = math.ceil(settings.warmup_s / chunk_s)
    return chunk_s * (least if call_s > LONG_S else max(WINDOW, least))


def _phases_s(call_s: float, phases: int) -> float:
    """Once more than the rounds that count; the phases add up to the call."""
    return (PHASE_ROUNDS + 1) * max(call_s, phases * DEVICE.host_launch_s) if phases else 0.0
