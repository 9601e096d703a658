"""Whether it fits a GPU and, where it does not, which change makes it fit and what that costs in time."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, replace
from itertools import combinations

from kernels.napkin.memory import Fullest
from reports.napkin import evaluate
from reports.napkin.asked import Question
from reports.units import compact

SHOWN = 4  # changes that a remark names
DEGREES = (2, 4, 8)


@dataclass(frozen=True)
class Change:
    """A change of one key, in words as the question would write it, and the question with it."""

    key: str
    words: str
    question: Question


def fits(question: Question, held: Fullest) -> list[str]:
    """Remarks: by which figure of memory it fits, what is not counted, and what would make it fit."""
    remarks = [_verdict(question, held.memory.total)]
    if not held.moment:
        remarks.append("Activations are not counted: that needs an architecture and a batch.")
    elif question.architecture and not question.architecture.vocab:
        remarks.append("Logits are not counted: that needs the vocabulary.")
    if held.memory.total > evaluate.free_bytes(question):
        remarks.append(_advice(question))
    return remarks


def _verdict(question: Question, needed: float) -> str:
    """Which of datasheet and board is meant, and both where they differ in the answer."""
    sheet, board = question.gpu.memory_bytes - question.reserve, (question.gpu.board_memory_bytes or 0) - question.reserve
    free = evaluate.free_bytes(question)
    used = f"{compact(needed)} B of {compact(free)} B by the {question.memory}"
    verdict = f"It fits a GPU: {used}." if needed <= free else f"It does not fit a GPU: {used}."
    if question.gpu.board_memory_bytes and (needed <= sheet) != (needed <= board):
        other, room = ("board", board) if question.memory == "datasheet" else ("datasheet", sheet)
        verdict += f" By the {other}, which has {compact(room)} B, it {'fits' if needed <= room else 'does not fit'}."
    return verdict


def _advice(question: Question) -> str:
    single = [change for change in changes(question) if _fits(change.question)]
    found = single or [both for both in _pairs(question) if _fits(both.question)]
    if not found:
        return "No change of one or two of recompute, loss, zero, parallel and batch.micro makes it fit: use more GPUs."
    ranked = sorted(found, key=lambda change: _hours(change.question))
    return "It fits with " + "; or with ".join(f"{one.words} ({_cost(question, one.question)})" for one in ranked[:SHOWN]) + "."


def _fits(question: Question) -> bool:
    total = evaluate.subject_of(question).total
    return evaluate.memory(question, total, question.gpus, question.split.zero).memory.total <= evaluate.free_bytes(question)


def _hours(question: Question) -> float:
    """The cost that is compared: days with communication where the question has a time, else GPUs' FLOPs a token."""
    if question.timing is None:
        return evaluate.per_token(question).hardware
    return evaluate.days(question, question.gpus) or evaluate.attended_days(question, question.gpus)


def _cost(before: Question, after: Question) -> str:
    total = evaluate.subject_of(after).total
    needed = evaluate.memory(after, total, after.gpus, after.split.zero).memory.total
    longer = _hours(after) / _hours(before) - 1
    what = "time" if before.timing else "FLOPs"
    return f"{compact(needed, 3)} B, {100 * longer:+.1f}% {what}" if abs(longer) >= 5e-4 else f"{compact(needed, 3)} B, the same {what}"


def _pairs(question: Question) -> Iterator[Change]:
    first = list(changes(question))
    for one, other in combinations(first, 2):
        if one.key == other.key:
            continue
        again = next((change for change in changes(one.question) if change.words == other.words), None)
        if again:
            yield Change(f"{one.key} {again.key}", f"{one.words} and {again.words}", again.question)


def changes(question: Question) -> Iterator[Change]:
    """Changes of one key that take less memory. Recomputation is paid for at the same HFU."""
    split, recipe, a = question.split, question.recipe, question.architecture
    if a and question.batch:
        if recipe.attention == "plain":
            yield Change("attention", "attention: flash", replace(question, recipe=replace(recipe, attention="flash")))
        if recipe.recompute != "full":
            yield Change("recompute", "recompute: full", _recomputed(question))
        if recipe.loss == "whole" and a.vocab:
            yield Change("loss", "loss: fused", replace(question, recipe=replace(recipe, loss="fused")))
        if question.batch.micro > 1:
            yield Change("batch.micro", "batch.micro: 1", replace(question, batch=replace(question.batch, micro=1)))
    for stage in range(split.zero + 1, 4):
        if split.sharers(question.gpus) > 1:
            yield Change("zero", f"zero: {stage}", replace(question, split=replace(split, zero=stage)))
    if split.tensor > 1 and not split.sequence and question.batch:
        yield Change("parallel.sequence", "parallel.sequence: true", replace(question, split=replace(split, sequence=True)))
    for times in DEGREES:
        yield from _divided(question, times)


def _recomputed(question: Question) -> Question:
    """Full recomputation at the HFU that the GPUs reach now."""
    again = replace(question, recipe=replace(question.recipe, recompute="full"))
    if question.timing is None or question.timing.measured:
        return again
    return replace(again, timing=replace(question.timing, mfu=None, hfu=evaluate.hfu(question)))


def _divided(question: Question, times: int) -> Iterator[Change]:
    """More tensor, pipeline or context parallelism, where GPUs, heads, layers and sequence allow it."""
    split, a, batch = question.split, question.architecture, question.batch
    if a is None or question.gpus % (split.replica_gpus * times):
        return
    node = question.timing.links.gpus_per_node if question.timing else 8
    if a.heads % (split.tensor * times) == 0 and split.tensor * times <= node:
        wide = replace(split, tensor=split.tensor * times)
        yield Change("parallel.tensor", f"parallel.tensor: {wide.tensor}", replace(question, split=wide))
    if split.pipeline * times * split.virtual <= a.layers:
        deep = replace(split, pipeline=split.pipeline * times)
        yield Change("parallel.pipeline", f"parallel.pipeline: {deep.pipeline}", replace(question, split=deep))
    if batch and batch.sequence % (split.context * times) == 0 and batch.sequence >= 8192:
        long = replace(split, context=split.context * times)
        yield Change("parallel.context", f"parallel.context: {long.context}", replace(question, split=long))
