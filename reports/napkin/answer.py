"""The answer to a question in steps: each a formula with its numbers, and the value that comes out."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from reports.napkin.answers_memory import checkpoint, largest_model, memory
from reports.napkin.answers_serving import inference
from reports.napkin.answers_time import cost, gpus, mfu, tokens, training_time
from reports.napkin.asked import Question
from reports.napkin.sensitivity import sensitivities
from reports.napkin.steps import Answer

ANSWERS: dict[str, Callable[[Question], Answer]] = {
    "training_time": training_time,
    "largest_model": largest_model,
    "memory": memory,
    "gpus": gpus,
    "tokens": tokens,
    "mfu": mfu,
    "inference": inference,
    "checkpoint": checkpoint,
    "cost": cost,
}


def answer(question: Question) -> Answer:
    """Every step from the question's values to its answer."""
    return replace(ANSWERS[question.ask](question), sensitivity=sensitivities(question))
