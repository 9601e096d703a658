"""How an answer changes with 10% more and 10% less of each assumption."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, replace

from kernels.napkin.inference import decode
from reports.napkin import evaluate
from reports.napkin.asked import Question

STEP = 0.1
LEAST = 5e-4  # a smaller change is none


@dataclass(frozen=True)
class Sensitivity:
    """Relative changes of the answer where an assumption is 10% less, and 10% more."""

    key: str
    less: float
    more: float

    @property
    def largest(self) -> float:
        return max(abs(self.less), abs(self.more))


def _time(question: Question) -> float:
    return evaluate.days(question, question.gpus) or evaluate.attended_days(question, question.gpus)


def _held(question: Question) -> float:
    total = evaluate.subject_of(question).total
    return evaluate.memory(question, total, question.gpus, question.split.zero).memory.total


def _tokens_per_s(question: Question) -> float:
    serving = question.serving
    if serving is None:
        return 0.0
    one = decode(evaluate.served(question), serving.prompt + serving.generated / 2, serving.batch)
    return serving.batch / one.seconds


def _written(question: Question) -> float:
    return evaluate.trained_parameters(question) / (question.write_bytes_per_s or 1.0)


def _utilization(question: Question) -> float:
    speed = question.run.tokens_per_s if question.run else 0.0
    return speed / question.gpus * evaluate.per_token(question).model / question.peak_flops_per_s


def _spent(question: Question) -> float:
    price = question.price
    return evaluate.gpu_hours(question) * ((price.usd_per_gpu_hour or price.watts or 1.0) if price else 1.0)


# What is looked at for each kind of question, and its name.
MEASURES: Mapping[str, tuple[str, Callable[[Question], float]]] = {
    "training_time": ("days with attention and communication", _time),
    "largest_model": ("parameters", lambda question: evaluate.largest(question, question.gpus, question.split.zero)),
    "memory": ("bytes of a GPU", _held),
    "gpus": ("GPUs", evaluate.gpus_needed),
    "tokens": ("tokens", evaluate.tokens),
    "mfu": ("MFU", _utilization),
    "inference": ("tokens/s", _tokens_per_s),
    "checkpoint": ("seconds", _written),
    "cost": ("cost", _spent),
}


def sensitivities(question: Question) -> tuple[Sensitivity, ...]:
    """Assumptions that change the answer, the strongest first."""
    measure = MEASURES[question.ask][1]
    base = measure(question)
    if not base:
        return ()
    found = []
    for key, changed in _knobs(question).items():
        less, more = (measure(changed(factor)) / base - 1 for factor in (1 - STEP, 1 + STEP))
        found.append(Sensitivity(key, less, more))
    return tuple(sorted((one for one in found if one.largest > LEAST), key=lambda one: -one.largest))


def _knobs(question: Question) -> dict[str, Callable[[float], Question]]:
    """By key, the question with that assumption times a factor. Numbers that must be integers are scaled as they are."""
    q, gpu = question, question.gpu
    knobs: dict[str, Callable[[float], Question]] = {
        "gpus": lambda f: replace(q, gpus=q.gpus * f),
        "peak": lambda f: replace(q, peak_flops_per_s=q.peak_flops_per_s * f),
        "memory": lambda f: replace(q, gpu=gpu.model_copy(update={"memory_bytes": gpu.memory_bytes * f}), memory="datasheet"),
        "gpu's bandwidth": lambda f: replace(q, gpu=gpu.model_copy(update={"bandwidth_bytes_per_s": gpu.bandwidth_bytes_per_s * f})),
    }
    if q.reserve:
        knobs["reserve"] = lambda f: replace(q, reserve=q.reserve * f)
    if subject := q.subject:
        knobs["model"] = lambda f: replace(
            q, subject=replace(subject, total=subject.total * f, active=subject.active * f, counted=subject.counted * f)
        )
    if batch := q.batch:
        knobs["batch.sequence"] = lambda f: replace(q, batch=replace(batch, sequence=batch.sequence * f))
        knobs["batch.sequences"] = lambda f: replace(q, batch=replace(batch, sequences=batch.sequences * f))
        knobs["batch.micro"] = lambda f: replace(q, batch=replace(batch, micro=batch.micro * f))
    if timing := q.timing:
        knobs |= {
            "tokens": lambda f: replace(q, timing=replace(timing, tokens=timing.tokens and timing.tokens * f)),
            "days": lambda f: replace(q, timing=replace(timing, days=timing.days and timing.days * f)),
            "mfu": lambda f: replace(q, timing=replace(timing, mfu=timing.mfu and timing.mfu * f)),
            "hfu": lambda f: replace(q, timing=replace(timing, hfu=timing.hfu and timing.hfu * f)),
            "links.node": lambda f: replace(q, timing=replace(timing, links=replace(timing.links, node=timing.links.node * f))),
            "links.network": lambda f: replace(q, timing=replace(timing, links=replace(timing.links, network=timing.links.network * f))),
            "overlap": lambda f: replace(q, timing=replace(timing, overlap=min(1.0, timing.overlap * f))),
        }
    if run := q.run:
        knobs["tokens_per_s"] = lambda f: replace(q, run=replace(run, tokens_per_s=run.tokens_per_s * f))
    if serving := q.serving:
        for key in ("prompt", "generated", "batch", "kv_bytes", "weight_bytes"):
            name = {"kv_bytes": "kv_precision", "weight_bytes": "weight_precision"}.get(key, key)
            knobs[name] = lambda f, key=key: replace(q, serving=replace(serving, **{key: getattr(serving, key) * f}))  # type: ignore[misc]
    if q.write_bytes_per_s:
        knobs["write_bytes_per_s"] = lambda f: replace(q, write_bytes_per_s=(q.write_bytes_per_s or 0.0) * f)
    if price := q.price:
        knobs["usd_per_gpu_hour" if price.usd_per_gpu_hour else "watts"] = lambda f: replace(
            q,
            price=replace(
                price,
                usd_per_gpu_hour=price.usd_per_gpu_hour and price.usd_per_gpu_hour * f,
                watts=price.watts and price.watts * f,
            ),
        )
    return knobs
