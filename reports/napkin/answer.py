"""The answer to a question in steps: each a formula with its numbers, and the value that comes out."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from kernels.cost_model import MFU_PEAK_FLOPS_PER_S
from kernels.napkin.memory import Memory, factor_of_layer
from kernels.napkin.setup import Batch, Recompute, Shape, Split
from kernels.napkin.training import SECONDS_A_DAY, StepTime, gradient_traffic, micro_batches, replica_bandwidth, training_flops
from reports.napkin import evaluate
from reports.napkin.measured import Measured
from reports.napkin.question import Question, Training
from reports.napkin.schemes import bytes_a_parameter, largest_by_scheme, memory_by_scheme
from reports.napkin.steps import Group, Step
from reports.units import billions, compact


@dataclass(frozen=True)
class Answer:
    """`headline` answers what was asked; `remarks` say what else a reader must know."""

    question: Question
    asked: str
    headline: str
    groups: Sequence[Group]
    remarks: Sequence[str]


def answer(question: Question) -> Answer:
    """Every step from the question's values to its answer."""
    return _training_time(question, question.training) if question.training else _largest_model(question)


def _training_time(question: Question, training: Training) -> Answer:
    groups = [_measured(training.measured)] if training.measured else []
    groups.append(_ideal(question, training))
    one = evaluate.step(question, training, question.gpus)
    if one and training.batch:
        groups.append(_communication(question, training, training.batch, one))
    held = evaluate.memory(question, training.parameters, question.gpus, question.split.zero)
    groups += [_memory(question, training, held), memory_by_scheme(question, training)]
    mfu = f"{_origin(training)}MFU {compact(training.mfu)}"
    asked = (
        f"How long do {compact(training.parameters)} parameters take on {compact(training.tokens)} tokens, "
        f"on {question.gpus:,} {question.gpu.name} at {mfu}?"
    )
    headline = _days(evaluate.ideal_days(training, question.gpus))
    return Answer(question, asked, headline, groups, [*_time_remarks(question, training), *_memory_remarks(question, training, held)])


def _origin(training: Training) -> str:
    if training.measured is None:
        return ""
    return "simulated " if training.measured.simulated else "measured "


def _days(days: float) -> str:
    """Four digits, as 143.9 days; years beside many."""
    return f"{compact(days)} days" + (f" ({compact(days / 365.25, 3)} years)" if days > 1000 else "")


def _measured(run: Measured) -> Group:
    layers = [
        Step(
            layer.name,
            f"{layer.count} × {compact(layer.flops)} FLOP / {compact(layer.seconds * 1e6)} µs, {layer.status}",
            layer.flops / layer.seconds,
            "FLOP/s",
        )
        for layer in run.layers
    ]
    total = Step("all layers", f"{compact(run.flops)} FLOP / {compact(run.seconds)} s", run.flops / run.seconds, "FLOP/s")
    mfu = Step("MFU", f"over {compact(MFU_PEAK_FLOPS_PER_S)} FLOP/s", run.mfu)
    return Group(
        f"{'Simulated' if run.simulated else 'Measured'} MFU: {run.impl} {run.precision}, {run.tokens:,} tokens, {run.device}, {run.run}",
        [*layers, total, mfu],
    )


def _ideal(question: Question, training: Training) -> Group:
    flops = training_flops(training.parameters, training.tokens)
    one = evaluate.achieved_flops_per_s(training)
    every = one * question.gpus
    days = evaluate.ideal_days(training, question.gpus)
    seconds = days * SECONDS_A_DAY
    return Group(
        "Training time",
        [
            Step("FLOPs", f"6 × {compact(training.parameters)} parameters × {compact(training.tokens)} tokens", flops, "FLOP"),
            Step("one GPU", f"peak {compact(training.peak_flops_per_s)} FLOP/s × MFU {compact(training.mfu)}", one, "FLOP/s"),
            Step("all GPUs", f"{compact(one)} FLOP/s × {question.gpus:,} GPUs", every, "FLOP/s"),
            Step("time", f"{compact(flops)} FLOP / {compact(every)} FLOP/s", seconds, "s"),
            Step("in days", f"{compact(seconds)} s / {SECONDS_A_DAY:,} s a day", days, "days"),
        ],
    )


def _communication(question: Question, training: Training, batch: Batch, one: StepTime) -> Group:
    split, replicas = question.split, question.replicas
    rounds = micro_batches(batch, replicas)
    sent = gradient_traffic(training.parameters, question.each, split, replicas, rounds)
    links = replica_bandwidth(split, replicas, training.links)
    steps = evaluate.optimizer_steps(training)
    days = evaluate.days(question, training, question.gpus) or 0.0
    ideal = evaluate.ideal_days(training, question.gpus)
    hidden = f", {compact(one.hidden_s)} s hidden" if one.hidden_s else ""
    again = ", forward done twice" if training.recompute == "full" else ""
    return Group(
        "The same with communication, if the GPUs reach that MFU while they compute",
        [
            Step("replicas", f"{question.gpus:,} GPUs / ({split.tensor} tensor × {split.pipeline} pipeline)", replicas),
            Step("steps", f"{compact(training.tokens)} tokens / ({batch.sequences:,} × {batch.sequence:,} tokens)", steps),
            Step("micro-batches", f"{batch.sequences:,} sequences / ({compact(replicas)} replicas × {batch.micro})", rounds, "a step"),
            Step("compute", f"FLOPs of a step / all GPUs{again}", one.compute_s, "s"),
            Step("tensor", f"all-reduces of activations among {split.tensor} GPUs", one.tensor_s, "s"),
            Step("pipeline", f"activations handed on, {split.pipeline} stage{'s' * (split.pipeline > 1)}", one.pipeline_s, "s"),
            Step("bubble", f"({split.pipeline} − 1) / {compact(rounds)} of the three above", one.bubble_s, "s"),
            Step("traffic", f"sent by a GPU to other replicas, ZeRO {split.zero}", sent, "B"),
            Step("its time", f"{compact(sent)} B / {compact(links)} B/s{hidden}", one.data_s, "s"),
            Step("one step", "the sum of the five times", one.total_s, "s"),
            Step("in days", f"{compact(steps)} steps × {compact(one.total_s)} s / {SECONDS_A_DAY:,}", days, "days"),
            Step("MFU then", f"{compact(training.mfu)} × {compact(ideal)} days / {compact(days)} days", training.mfu * ideal / days),
        ],
    )


def _memory(question: Question, training: Training, held: Memory) -> Group:
    split, replicas, shape, batch = question.split, question.replicas, training.shape, training.batch
    share = training.parameters / split.replica_gpus
    steps = [
        bytes_a_parameter(question),
        Step(
            "on a GPU",
            f"{compact(training.parameters)} parameters / ({split.tensor} tensor × {split.pipeline} pipeline)",
            share,
            "parameters",
        ),
        *(
            Step(name, f"{compact(share)} × {compact(each)} B{_over(replicas, split.zero >= stage)}", bytes_, "B")
            for name, each, bytes_, stage in (
                ("weights", question.each.weights, held.weights, 3),
                ("gradients", question.each.gradients, held.gradients, 2),
                ("optimizer", question.each.optimizer, held.optimizer, 1),
            )
        ),
    ]
    if shape and batch:
        factor = factor_of_layer(shape, batch, training.recompute, split.tensor, split.tensor if split.sequence else 1)
        size = batch.sequence * batch.micro * shape.hidden
        in_flight = held.activations / (size * factor)
        steps += [
            Step("layer factor", _factor_in_words(shape, batch, split, training.recompute), factor),
            Step(
                "activations",
                f"{batch.sequence:,} × {batch.micro} × {shape.hidden:,} × {compact(factor)} B × {compact(in_flight)} layers",
                held.activations,
                "B",
            ),
        ]
    return Group(
        f"Memory of a GPU, ZeRO stage {split.zero}",
        [
            *steps,
            Step("together", "the sum", held.total, "B"),
            Step(
                "it has",
                f"{compact(question.gpu.memory_bytes)} B − {compact(question.reserve)} reserved",
                evaluate.free_bytes(question),
                "B",
            ),
        ],
    )


def _factor_in_words(shape: Shape, batch: Batch, split: Split, recompute: Recompute) -> str:
    """The formula of `factor_of_layer` with its numbers."""
    if recompute == "full":
        return "the layer's input alone"
    scores = f" + 5 × {shape.heads} × {batch.sequence:,} / {shape.hidden:,}" if recompute == "none" else ""
    whole = split.sequence or split.tensor == 1
    divided = f"{34 if whole else 24}{scores}"
    divided = f"({divided})" if scores and split.tensor > 1 else divided
    return ("" if whole else "10 + ") + divided + (f" / {split.tensor}" if split.tensor > 1 else "")


def _over(replicas: float, divided: bool) -> str:
    return f" / {compact(replicas)} replicas" if divided else ""


def _largest_model(question: Question) -> Answer:
    gpus, split, replicas = question.gpus, question.split, question.replicas
    largest = evaluate.largest(question, gpus, split.zero)
    one = evaluate.free_bytes(question)
    every = one * gpus
    on_all = every / largest
    copies = "one copy of everything" if split.zero == 3 or replicas == 1 else f"{compact(replicas)} replicas under ZeRO {split.zero}"
    steps = [
        bytes_a_parameter(question),
        Step("of a GPU", f"{compact(question.gpu.memory_bytes)} B − {compact(question.reserve)} reserved", one, "B"),
        Step("of all GPUs", f"{gpus:,} × {compact(one)} B", every, "B"),
        Step("a parameter takes", f"on all GPUs, {copies}", on_all, "B"),
        Step("parameters", f"{compact(every)} B / {compact(on_all)} B", largest, "parameters"),
    ]
    asked = f"What is the largest model whose state fits on {gpus:,} {question.gpu.name}?"
    headline = f"{compact(largest)} parameters ({billions(largest)})"
    not_counted = "Activations are not counted" + (f", but for the {compact(question.reserve)} B reserved." if question.reserve else ".")
    return Answer(question, asked, headline, [Group("Largest model", steps), largest_by_scheme(question)], [not_counted])


def _time_remarks(question: Question, training: Training) -> list[str]:
    days = evaluate.days(question, training, question.gpus)
    remarks = [f"With communication, if the GPUs reach that MFU while they compute: {_days(days)}."] if days else []
    remarks += ["Attention scores, norms and the optimizer's own arithmetic are not in the 6 FLOPs a parameter and token."]
    run, batch = training.measured, training.batch
    if run:
        remarks.append("The MFU is that of the forward matmuls alone; the backward ones, attention and all else are taken to run as well.")
        if run.simulated:
            remarks.append("The run was SIMULATED: its times come from a model of a GPU, so this MFU was not measured.")
        loose = [layer.name for layer in run.layers if layer.status != "ok"]
        if loose:
            remarks.append(f"Less sure than the rest: {', '.join(loose)} (see their status).")
    if batch is None:
        remarks.append("Communication is not counted: the question has no batch.")
    elif question.replicas * batch.micro > batch.sequences:
        remarks.append("There are more replicas than micro-batches in a step: some GPUs idle, and more would gain nothing.")
    return remarks


def _memory_remarks(question: Question, training: Training, held: Memory) -> list[str]:
    free = evaluate.free_bytes(question)
    used = f"{compact(held.total)} B of {compact(free)} B"
    advice = "try a higher ZeRO stage, more tensor or pipeline parallelism, or recomputation"
    fits = f"It fits a GPU: {used}." if held.total <= free else f"It does not fit a GPU: {used}; {advice}."
    counted = [] if training.shape and training.batch else ["Activations are not counted: that needs an architecture and a batch."]
    return [fits, *counted]
