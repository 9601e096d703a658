"""A question's figures at any number of GPUs and any ZeRO stage: what the steps show at one, and the charts over many."""

from __future__ import annotations

from dataclasses import replace

from kernels.napkin.memory import Memory, activations_on_gpu, largest_parameters, state_on_gpu
from kernels.napkin.training import SECONDS_A_DAY, StepTime, micro_batches, step_time, training_days, training_flops
from reports.napkin.question import Question, Training


def achieved_flops_per_s(training: Training) -> float:
    """Of one GPU: peak · MFU."""
    return training.peak_flops_per_s * training.mfu


def ideal_days(training: Training, gpus: float) -> float:
    """With the MFU reached all the time, whatever the number of GPUs."""
    return training_days(training_flops(training.parameters, training.tokens), achieved_flops_per_s(training), gpus)


def step(question: Question, training: Training, gpus: float) -> StepTime | None:
    """One optimizer step; None without a batch."""
    if training.batch is None:
        return None
    return step_time(
        training.parameters,
        question.each,
        training.shape,
        training.batch,
        question.split,
        training.links,
        gpus,
        achieved_flops_per_s(training),
        training.recompute,
        training.overlap,
    )


def optimizer_steps(training: Training) -> float:
    """Steps that the tokens make; 0 without a batch."""
    return training.tokens / training.batch.tokens if training.batch else 0.0


def days(question: Question, training: Training, gpus: float) -> float | None:
    """With pipeline bubbles and communication; None without a batch."""
    one = step(question, training, gpus)
    return optimizer_steps(training) * one.total_s / SECONDS_A_DAY if one else None


def memory(question: Question, parameters: float, gpus: float, zero: int) -> Memory:
    """Bytes on a GPU at a ZeRO stage. Activations are 0 where the shape or the batch is not known."""
    split = replace(question.split, zero=zero)
    state = state_on_gpu(parameters, question.each, split, split.replicas(gpus))
    training = question.training
    if training is None or training.shape is None or training.batch is None:
        return state
    rounds = micro_batches(training.batch, split.replicas(gpus))
    return replace(state, activations=activations_on_gpu(training.shape, training.batch, split, rounds, training.recompute))


def free_bytes(question: Question) -> float:
    """What a GPU has for the model's state."""
    return question.gpu.memory_bytes - question.reserve


def largest(question: Question, gpus: float, zero: int) -> float:
    """Parameters of the largest model whose state fits. Activations depend on its shape, so only the reserve stands for them."""
    split = replace(question.split, zero=zero)
    return largest_parameters(free_bytes(question), question.each, split, split.replicas(gpus))
