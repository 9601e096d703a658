"""A question's figures at any number of GPUs and any ZeRO stage: what the steps show at one, and the charts over many."""

from __future__ import annotations

from dataclasses import replace
from math import sqrt

from kernels.models.architecture import Architecture, plain_gpt
from kernels.napkin.inference import Served
from kernels.napkin.memory import (
    Fullest,
    Memory,
    Step,
    expert_state,
    fullest,
    largest_parameters,
    shared_state,
    state_on_gpu,
)
from kernels.napkin.setup import Batch
from kernels.napkin.training import (
    SECONDS_A_DAY,
    SECONDS_AN_HOUR,
    StepTime,
    TokenFlops,
    Traffic,
    micro_batches,
    step_time,
    token_flops,
    training_days,
)
from reports.napkin.asked import Question, Subject, Timing

ASPECT = 128  # d_model over layers of a model of which only the size is known (Kaplan et al. 2020, figure 5: it hardly matters)
HEAD = 128  # and its heads' size
EXACT = 1e-6  # to which the largest model with activations is found


def subject_of(question: Question) -> Subject:
    """The model of a question that has one."""
    if question.subject is None:
        raise AssertionError(f"{question.ask} has a model")
    return question.subject


def timing_of(question: Question) -> Timing:
    """The timing of a question that has one."""
    if question.timing is None:
        raise AssertionError(f"{question.ask} has a timing")
    return question.timing


def per_token(question: Question, attention: bool = True) -> TokenFlops:
    """FLOPs of a training step a token; without `attention` those of the weights alone."""
    subject, recipe = subject_of(question), question.recipe
    sequence = question.batch.sequence if question.batch and attention else 0.0
    adapter = question.adapter.parameters if question.adapter else 0.0
    frozen = question.adapter is not None
    return token_flops(subject.counted, adapter, frozen, subject.architecture, sequence, recipe.causal, recipe.recompute, recipe.attention)


def mfu(question: Question) -> float:
    """As given, or what an HFU leaves when recomputation is taken out."""
    timing = timing_of(question)
    if timing.mfu is not None:
        return timing.mfu
    flops = per_token(question)
    return (timing.hfu or 0.0) * flops.model / flops.hardware


def hfu(question: Question) -> float:
    """As given, or what an MFU becomes when recomputation counts."""
    timing = timing_of(question)
    if timing.hfu is not None:
        return timing.hfu
    flops = per_token(question)
    return mfu(question) * flops.hardware / flops.model


def achieved_flops_per_s(question: Question) -> float:
    """Model FLOPs of one GPU: peak · MFU."""
    return question.peak_flops_per_s * mfu(question)


def tokens(question: Question) -> float:
    """As given; of a question that asks for them, as many as the days allow."""
    timing = timing_of(question)
    if timing.tokens is not None:
        return timing.tokens
    return (timing.days or 0.0) * SECONDS_A_DAY * tokens_per_s(question, question.gpus)


def tokens_per_s(question: Question, gpus: float) -> float:
    """Tokens a second of all GPUs, attention counted where it is known."""
    return achieved_flops_per_s(question) * gpus / per_token(question).model


def ideal_days(question: Question, gpus: float) -> float:
    """With the MFU reached all the time, whatever the number of GPUs, and attention left out: 6 · N · tokens."""
    return training_days(per_token(question, attention=False).model * tokens(question), achieved_flops_per_s(question), gpus)


def attended_days(question: Question, gpus: float) -> float:
    """The same with attention, where architecture and sequence are known."""
    return training_days(per_token(question).model * tokens(question), achieved_flops_per_s(question), gpus)


def gpus_needed(question: Question) -> float:
    """GPUs that finish in the days given, as a fraction; attention counted where it is known."""
    days = timing_of(question).days or 1.0
    return per_token(question).model * tokens(question) / (achieved_flops_per_s(question) * days * SECONDS_A_DAY)


def trained_parameters(question: Question) -> float:
    """Parameters that have a gradient."""
    return question.adapter.parameters if question.adapter else subject_of(question).total


def batch_of(question: Question, gpus: float) -> Batch | None:
    """The batch; where a step's sequences are not given, one micro-batch a replica."""
    batch = question.batch
    if batch and not batch.sequences:
        return replace(batch, sequences=batch.micro * max(1.0, question.split.replicas(gpus)))
    return batch


def step(question: Question, gpus: float) -> StepTime | None:
    """One optimizer step; None without a batch."""
    batch = batch_of(question, gpus)
    if batch is None:
        return None
    timing, trained = timing_of(question), trained_parameters(question)
    return step_time(
        per_token(question).model,
        Traffic(trained, subject_of(question).total, question.each),
        question.architecture,
        batch,
        question.split,
        timing.links,
        gpus,
        achieved_flops_per_s(question),
        question.recipe.recompute,
        timing.overlap,
    )


def rounds(question: Question, gpus: float) -> float:
    """Micro-batches that a replica works through in a step; 1 without a batch."""
    batch = batch_of(question, gpus)
    return micro_batches(batch, question.split.replicas(gpus)) if batch else 1.0


def optimizer_steps(question: Question) -> float:
    """Steps that the tokens make; 0 without a batch."""
    batch = batch_of(question, question.gpus)
    return tokens(question) / batch.tokens if batch else 0.0


def days(question: Question, gpus: float) -> float | None:
    """With attention, pipeline bubbles and communication; None without a batch."""
    one, batch = step(question, gpus), batch_of(question, gpus)
    return tokens(question) / batch.tokens * one.total_s / SECONDS_A_DAY if one and batch else None


def gpu_hours(question: Question) -> float:
    """GPUs times hours, attention counted where it is known; the number of GPUs cancels out."""
    return per_token(question).model * tokens(question) / achieved_flops_per_s(question) / SECONDS_AN_HOUR


def step_of(question: Question, gpus: float, architecture: Architecture | None) -> Step | None:
    """The values that activations depend on; None where the architecture or the batch is not known."""
    batch, recipe = batch_of(question, gpus), question.recipe
    if architecture is None or batch is None:
        return None
    return Step(architecture, question.scheme, batch, recipe.recompute, recipe.attention, recipe.loss)


def state(question: Question, parameters: float, gpus: float, zero: int) -> Memory:
    """Bytes on a GPU of weights, gradients and optimizer, experts and adapters each in their way."""
    split = replace(question.split, zero=zero)
    sharers, a = split.sharers(gpus), question.architecture
    if question.adapter:
        frozen = state_on_gpu(parameters, Memory(question.adapter.frozen_bytes, 0.0, 0.0), split, sharers)
        return frozen + shared_state(question.adapter.parameters / split.share_gpus, question.each, zero, sharers)
    if a and a.experts and split.expert > 1:
        experts = parameters * a.expert_parameters / a.parameters
        return state_on_gpu(parameters - experts, question.each, split, sharers) + expert_state(experts, question.each, split, sharers)
    return state_on_gpu(parameters, question.each, split, sharers)


def memory(question: Question, parameters: float, gpus: float, zero: int, architecture: Architecture | None = None) -> Fullest:
    """Bytes on a GPU at a ZeRO stage; state alone where the architecture or the batch is not known."""
    split = replace(question.split, zero=zero)
    held = state(question, parameters, gpus, zero)
    made = step_of(question, gpus, architecture or question.architecture)
    if made is None:
        return Fullest(held, "", "")
    trainable = question.adapter.parameters / parameters if question.adapter else 1.0
    return fullest(held, made, split, gpus, trainable)


def free_bytes(question: Question) -> float:
    """Bytes that a GPU has for the model."""
    return question.memory_bytes - question.reserve


def shape_of_size(parameters: float) -> Architecture:
    """A GPT block's architecture for a model of which only the size is known: 12 · layers · d_model², d_model = 128 · layers."""
    layers = max(1, round((parameters / 12 / ASPECT**2) ** (1 / 3)))
    width = sqrt(parameters / 12 / layers)
    heads = max(1, round(width / HEAD))
    return plain_gpt(layers, heads * HEAD, heads)


def largest(question: Question, gpus: float, zero: int) -> float:
    """Parameters of the largest model that fits: its state and, where a batch is given, the activations of a model of that size."""
    split, free = replace(question.split, zero=zero), free_bytes(question)
    most = largest_parameters(free, question.each, split, split.sharers(gpus))
    if question.batch is None:
        return most
    least = 0.0
    while most > 1 and most - least > EXACT * most:
        middle = (least + most) / 2
        if memory(question, middle, gpus, zero, shape_of_size(middle)).memory.total <= free:
            least = middle
        else:
            most = middle
    return least


def served(question: Question) -> Served:
    """The model as it is served."""
    architecture, serving = question.architecture, question.serving
    if architecture is None or serving is None:
        raise AssertionError("inference has an architecture")
    return Served(
        architecture,
        serving.weight_bytes,
        serving.kv_bytes,
        question.gpus,
        question.peak_flops_per_s,
        question.gpu.bandwidth_bytes_per_s,
        free_bytes(question),
    )
