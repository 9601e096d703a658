"""Bytes of a parameter, and what would change in another scheme: fp32 throughout against mixed precision."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

from kernels.napkin.memory import optimizer_values
from kernels.parameter_copies import SCHEMES, Scheme
from reports.napkin import evaluate
from reports.napkin.asked import Question
from reports.napkin.steps import Group, Step
from reports.units import compact


def bytes_a_parameter(question: Question) -> Step:
    """Bytes of one parameter in the question's scheme, copy by copy."""
    each = question.each
    weights, gradients, *optimizer = _copies(question.scheme, question.optimizer)
    return Step("a parameter", f"weights {weights}, gradients {gradients}, optimizer {'+'.join(optimizer) or '0'}", each.total, "B")


def _copies(scheme: Scheme, optimizer: str) -> list[str]:
    """Bytes of each copy of a parameter: weights, gradients, then master and optimizer state where there are any."""
    kept = [scheme.master] * bool(scheme.master)
    return [compact(bytes_) for bytes_ in (scheme.weights, scheme.gradients, *kept, *optimizer_values(optimizer, scheme))]


def _by_scheme(question: Question) -> Iterator[tuple[str, str, Question]]:
    """The question asked again in every scheme, with the bytes that a parameter takes in it."""
    for name, scheme in SCHEMES.items():
        again = replace(question, scheme=scheme)
        yield name, f"{'+'.join(_copies(scheme, question.optimizer))} = {compact(again.each.total)} B a parameter", again


def largest_by_scheme(question: Question) -> Group:
    """Parameters of the largest model that fits, in every scheme."""
    steps = [
        Step(name, how, evaluate.largest(again, question.gpus, question.split.zero), "parameters")
        for name, how, again in _by_scheme(question)
    ]
    return Group("The same in each scheme: weights+gradients+(master+)optimizer state", steps)


def memory_by_scheme(question: Question, parameters: float) -> Group:
    """Bytes on a GPU in every scheme."""
    steps = [
        Step(name, how, evaluate.memory(again, parameters, question.gpus, question.split.zero).memory.total, "B")
        for name, how, again in _by_scheme(question)
    ]
    return Group("Memory of a GPU in each scheme: weights+gradients+(master+)optimizer state", steps)
