"""Answers about time: how long, how many GPUs, how many tokens, what MFU, and what that costs."""

from __future__ import annotations

from math import ceil

from kernels.cost_model import MFU_PEAK_FLOPS_PER_S
from kernels.napkin.setup import Batch
from kernels.napkin.training import SECONDS_A_DAY, SECONDS_AN_HOUR, StepTime, gradient_traffic, replica_bandwidth, unevenness
from reports.napkin import evaluate
from reports.napkin.advice import fits
from reports.napkin.asked import Question
from reports.napkin.measured import Measured
from reports.napkin.schemes import memory_by_scheme
from reports.napkin.shared_steps import flops_a_token, model, named, number_of_days, of_gpus
from reports.napkin.shared_steps import memory as memory_steps
from reports.napkin.steps import Answer, Group, Step
from reports.units import compact


def training_time(question: Question) -> Answer:
    """Days by 6 · N · tokens, below them what attention and communication add."""
    ideal, attended = evaluate.ideal_days(question, question.gpus), evaluate.attended_days(question, question.gpus)
    groups = [*_before(question), _ideal(question)]
    subject = evaluate.subject_of(question)
    beneath = []
    if attended > ideal:
        squares = "half squares" if question.recipe.causal else "full squares"
        beneath = [f"{number_of_days(attended)} with attention ({squares}), {100 * (attended / ideal - 1):.1f}% more"]
        groups.append(_attention(question, attended))
    tokens_ = compact(evaluate.tokens(question))
    asked = f"How long does {named(subject)} take on {tokens_} tokens, on {of_gpus(question)} at {_origin(question)}?"
    results = {"days": ideal, "days_with_attention": attended, **_rates(question, attended)}
    groups.append(_throughput(question, attended))
    return _with_memory(question, asked, number_of_days(ideal), groups, results, beneath)


def _before(question: Question) -> list[Group]:
    """The groups that the answer rests on: the run that was measured, and the model."""
    measured = question.timing.measured if question.timing else None
    sized = model(evaluate.subject_of(question))
    return [*([_measured(measured)] if measured else []), *([sized] if sized else [])]


def _origin(question: Question) -> str:
    timing = evaluate.timing_of(question)
    if timing.hfu is not None:
        return f"HFU {compact(timing.hfu)}"
    kind = "" if timing.measured is None else "simulated " if timing.measured.simulated else "measured "
    return f"{kind}MFU {compact(evaluate.mfu(question))}"


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
    found = Step("MFU", f"over {compact(MFU_PEAK_FLOPS_PER_S)} FLOP/s", run.mfu)
    return Group(
        f"{'Simulated' if run.simulated else 'Measured'} MFU: {run.impl} {run.precision}, {run.tokens:,} tokens, {run.device}, {run.run}",
        [*layers, total, found],
    )


def _speed(question: Question) -> list[Step]:
    """Model FLOP/s of one GPU, and how an HFU and an MFU belong together."""
    timing, peak = evaluate.timing_of(question), question.peak_flops_per_s
    found, hardware = evaluate.mfu(question), evaluate.hfu(question)
    flops = evaluate.per_token(question)
    steps = []
    if timing.hfu is not None and flops.again:
        how = f"HFU {compact(timing.hfu)} × {compact(flops.model)} model FLOPs / {compact(flops.hardware)} hardware FLOPs a token"
        steps.append(Step("MFU", how, found))
    elif flops.again:
        how = f"MFU {compact(found)} × {compact(flops.hardware)} hardware FLOPs / {compact(flops.model)} model FLOPs a token"
        steps.append(Step("HFU", how, hardware))
    one = evaluate.achieved_flops_per_s(question)
    return [*steps, Step("one GPU", f"peak {compact(peak)} FLOP/s × MFU {compact(found)}", one, "FLOP/s")]


def _ideal(question: Question) -> Group:
    tokens_, subject = evaluate.tokens(question), evaluate.subject_of(question)
    flops = evaluate.per_token(question, attention=False)
    total = flops.model * tokens_
    every = evaluate.achieved_flops_per_s(question) * question.gpus
    days = evaluate.ideal_days(question, question.gpus)
    seconds = days * SECONDS_A_DAY
    how = f"6 × {compact(subject.counted)} parameters × {compact(tokens_)} tokens"
    if question.adapter:
        how = f"{compact(flops.model)} a token (below) × {compact(tokens_)} tokens"
    return Group(
        "Training time",
        [
            Step("FLOPs", how, total, "FLOP"),
            *_speed(question),
            Step("all GPUs", f"that × {question.gpus:,.0f} GPUs", every, "FLOP/s"),
            Step("time", f"{compact(total)} FLOP / {compact(every)} FLOP/s", seconds, "s"),
            Step("in days", f"{compact(seconds)} s / {SECONDS_A_DAY:,} s a day", days, "days"),
        ],
    )


def _attention(question: Question, days: float) -> Group:
    flops = evaluate.per_token(question)
    ideal = evaluate.ideal_days(question, question.gpus)
    more = Step("in days", f"{compact(ideal)} days × ({compact(flops.model)} / {compact(flops.products)} FLOPs)", days, "days")
    return Group("The same with attention: FLOPs a token", [*flops_a_token(question), more])


def _rates(question: Question, days: float) -> dict[str, float]:
    tokens_ = evaluate.tokens(question)
    return {
        "gpu_hours": days * 24 * question.gpus,
        "tokens_per_s_gpu": tokens_ / (days * SECONDS_A_DAY * question.gpus),
        "flops": evaluate.per_token(question, attention=False).model * tokens_,
        "flops_with_attention": evaluate.per_token(question).model * tokens_,
        "forward_flops": evaluate.per_token(question).model * tokens_ / 3,
        "flops_per_s_gpu": evaluate.achieved_flops_per_s(question),
        "mfu": evaluate.mfu(question),
        "hfu": evaluate.hfu(question),
        "parameters": evaluate.subject_of(question).total,
    }


def _throughput(question: Question, days: float) -> Group:
    rates = _rates(question, days)
    hours = Step("GPU-hours", f"{compact(days)} days × 24 × {question.gpus:,.0f} GPUs", rates["gpu_hours"], "GPU-hours")
    speed = f"{compact(evaluate.tokens(question))} tokens / ({compact(rates['gpu_hours'])} GPU-hours × {SECONDS_AN_HOUR:,} s)"
    return Group("As papers print it", [hours, Step("a GPU", speed, rates["tokens_per_s_gpu"], "tokens/s")])


def _with_memory(
    question: Question, asked: str, headline: str, groups: list[Group], results: dict[str, float], beneath: list[str]
) -> Answer:
    """An answer with communication, memory and what they mean, as every question about a training run's time has."""
    subject, batch = evaluate.subject_of(question), evaluate.batch_of(question, question.gpus)
    one = evaluate.step(question, question.gpus)
    if one and batch:
        groups.append(_communication(question, batch, one))
        results["days_with_communication"] = evaluate.days(question, question.gpus) or 0.0
    held = evaluate.memory(question, subject.total, question.gpus, question.split.zero)
    groups += [memory_steps(question, subject.total, held), memory_by_scheme(question, subject.total)]
    results["memory_bytes"] = held.memory.total
    return Answer(question, asked, headline, groups, [*_remarks(question), *fits(question, held)], results, tuple(beneath))


def _communication(question: Question, batch: Batch, one: StepTime) -> Group:
    split, timing, a = question.split, evaluate.timing_of(question), question.architecture
    rounds = evaluate.rounds(question, question.gpus)
    holders = split.holders(question.gpus)
    trained, whole = evaluate.trained_parameters(question), evaluate.subject_of(question).total
    sent = gradient_traffic(trained, whole, question.each, split, holders, rounds)
    links = replica_bandwidth(split, holders, timing.links)
    steps = evaluate.optimizer_steps(question)
    days = evaluate.days(question, question.gpus) or 0.0
    ideal = evaluate.attended_days(question, question.gpus)
    hidden = f", {compact(one.hidden_s)} s hidden" if one.hidden_s else ""
    uneven = unevenness(a, split)
    slow = f" × {compact(uneven)}, the stage with most layers" if uneven > 1 else ""
    divided = f"{split.tensor} tensor × {split.pipeline} pipeline" + f" × {split.context} context" * (split.context > 1)
    bubble = f"({split.pipeline} − 1) / {compact(rounds)}"
    if split.virtual > 1:
        bubble = f"({split.pipeline} − 1) / ({split.virtual} × {compact(rounds)})"
    bubble = {"1f1b": bubble, "zb_h1": f"a third of {bubble}", "zb_h2": "none (ZB-H2)"}[split.schedule]
    found = evaluate.mfu(question)
    optional = [
        Step("context", f"keys and values among {split.context} GPUs", one.context_s, "s") if split.context > 1 else None,
        Step("experts", f"tokens to experts on {split.expert} GPUs and back", one.expert_s, "s") if split.expert > 1 else None,
    ]
    return Group(
        "The same with communication, if the GPUs reach that MFU while they compute",
        [
            Step("replicas", f"{question.gpus:,.0f} GPUs / ({divided})", question.replicas),
            Step("steps", f"{compact(evaluate.tokens(question))} tokens / ({batch.sequences:,.0f} × {batch.sequence:,.0f} tokens)", steps),
            Step(
                "micro-batches",
                f"{batch.sequences:,.0f} sequences / ({compact(question.replicas)} replicas × {batch.micro})",
                rounds,
                "a step",
            ),
            Step("compute", f"FLOPs of a step, attention's too, / all GPUs{slow}", one.compute_s, "s"),
            Step("tensor", f"all-reduces of activations among {split.tensor} GPUs", one.tensor_s, "s"),
            *(step for step in optional if step),
            Step("pipeline", f"activations handed on, {split.pipeline} stage{'s' * (split.pipeline > 1)}", one.pipeline_s, "s"),
            Step("bubble", f"{bubble} of the times above", one.bubble_s, "s"),
            Step("traffic", f"sent by a GPU to others with its weights, ZeRO {split.zero}", sent, "B"),
            Step("its time", f"{compact(sent)} B / {compact(links)} B/s{hidden}", one.data_s, "s"),
            Step("one step", "the sum of the times", one.total_s, "s"),
            Step("in days", f"{compact(steps)} steps × {compact(one.total_s)} s / {SECONDS_A_DAY:,}", days, "days"),
            Step("MFU then", f"{compact(found)} × {compact(ideal)} days / {compact(days)} days", found * ideal / days),
        ],
    )


def _remarks(question: Question) -> list[str]:
    days = evaluate.days(question, question.gpus)
    batch, run = evaluate.batch_of(question, question.gpus), evaluate.timing_of(question).measured
    remarks = []
    if days:
        remarks.append(f"With attention and communication, if the GPUs reach that MFU while they compute: {number_of_days(days)}.")
    if batch is None:
        remarks.append("Attention scores, norms and the optimizer's own arithmetic are not in the 6 FLOPs a parameter and token.")
        remarks.append("Communication is not counted: the question has no batch.")
    elif question.architecture is None:
        remarks.append("Attention is not counted: that needs an architecture.")
    if evaluate.hfu(question) > 1:
        remarks.append(f"Impossible: with recomputation, the GPUs would have to reach an HFU of {compact(evaluate.hfu(question))}.")
    if run:
        remarks.append("The MFU is that of the forward matmuls alone; the backward ones, attention and all else are taken to run as well.")
        if run.simulated:
            remarks.append("The run was SIMULATED: its times come from a model of a GPU, so this MFU was not measured.")
        loose = [layer.name for layer in run.layers if layer.status != "ok"]
        if loose:
            remarks.append(f"Less sure than the rest: {', '.join(loose)} (see their status).")
    if batch and question.replicas * batch.micro > batch.sequences:
        remarks.append("There are more replicas than micro-batches in a step: some GPUs idle, and additional GPUs would not help.")
    return remarks


def gpus(question: Question) -> Answer:
    """GPUs that finish in the days given: whole replicas of them."""
    needed = evaluate.gpus_needed(question)
    size = question.split.replica_gpus
    whole = ceil(needed / size) * size
    days = evaluate.timing_of(question).days or 0.0
    flops = evaluate.per_token(question).model * evaluate.tokens(question)
    one = evaluate.achieved_flops_per_s(question)
    steps = [
        *flops_a_token(question),
        Step("FLOPs", f"those × {compact(evaluate.tokens(question))} tokens", flops, "FLOP"),
        *_speed(question),
        Step("GPUs", f"{compact(flops)} FLOP / ({compact(one)} FLOP/s × {compact(days)} days × {SECONDS_A_DAY:,} s)", needed),
        Step("whole ones", f"{size} of them make a replica", whole, "GPUs"),
    ]
    asked = f"How many {question.gpu.name} train {named(evaluate.subject_of(question))} on {compact(evaluate.tokens(question))} tokens "
    asked += f"in {compact(days)} days at {_origin(question)}?"
    results = {"gpus": float(whole), "gpus_exact": needed, "gpu_hours": evaluate.gpu_hours(question)}
    return Answer(question, asked, f"{whole:,} GPUs", [*_before(question), Group("GPUs", steps)], _only_compute(question), results)


def tokens(question: Question) -> Answer:
    """Tokens that the GPUs train on in the days given."""
    speed, found = evaluate.tokens_per_s(question, question.gpus), evaluate.tokens(question)
    days = evaluate.timing_of(question).days or 0.0
    every = evaluate.achieved_flops_per_s(question) * question.gpus
    steps = [
        *flops_a_token(question),
        *_speed(question),
        Step("all GPUs", f"{compact(every)} FLOP/s / {compact(evaluate.per_token(question).model)} FLOPs a token", speed, "tokens/s"),
        Step("tokens", f"{compact(speed)} tokens/s × {compact(days)} days × {SECONDS_A_DAY:,} s", found, "tokens"),
    ]
    asked = f"How many tokens does {named(evaluate.subject_of(question))} see in {compact(days)} days on {of_gpus(question)} "
    asked += f"at {_origin(question)}?"
    results = {"tokens": found, "tokens_per_s": speed, "tokens_per_s_gpu": speed / question.gpus}
    headline = f"{compact(found)} tokens"
    return Answer(question, asked, headline, [*_before(question), Group("Tokens", steps)], _only_compute(question), results)


def _only_compute(question: Question) -> list[str]:
    counted = (
        "Attention is counted." if evaluate.per_token(question).attention else "Attention is not counted: that needs a model and a batch."
    )
    return [counted, "Communication is included in the MFU if that was measured on whole runs."]


def cost(question: Question) -> Answer:
    """Dollars and energy of the GPU-hours, attention counted where it is known."""
    price, hours = question.price, evaluate.gpu_hours(question)
    if price is None:
        raise AssertionError("a question about cost has a price")
    days = evaluate.attended_days(question, question.gpus)
    steps = [
        *flops_a_token(question),
        *_speed(question),
        Step("in days", f"{compact(evaluate.tokens(question))} tokens on {question.gpus:,.0f} GPUs", days, "days"),
        Step("GPU-hours", f"{compact(days)} days × 24 × {question.gpus:,.0f} GPUs", hours, "GPU-hours"),
    ]
    results = {}
    parts = []
    if price.usd_per_gpu_hour:
        results["usd"] = hours * price.usd_per_gpu_hour
        steps.append(Step("dollars", f"{compact(hours)} GPU-hours × {compact(price.usd_per_gpu_hour)} $", results["usd"], "$"))
        parts.append(f"{compact(results['usd'])} $")
    if price.watts:
        joules = hours * SECONDS_AN_HOUR * price.watts
        results |= {"joules": joules, "kwh": joules / 3.6e6}
        steps.append(Step("energy", f"{compact(hours)} GPU-hours × {compact(price.watts)} W", joules, "J"))
        steps.append(Step("in kWh", "/ 3.6e6 J", results["kwh"], "kWh"))
        parts.append(f"{compact(results['kwh'])} kWh")
    asked = f"What does it cost to train {named(evaluate.subject_of(question))} on {compact(evaluate.tokens(question))} tokens, "
    asked += f"on {of_gpus(question)} at {_origin(question)}?"
    groups = [*_before(question), Group("Cost", steps)]
    results |= {"gpu_hours": hours, "days": days}
    return Answer(question, asked, " and ".join(parts), groups, _only_compute(question), results)


def mfu(question: Question) -> Answer:
    """MFU and HFU of a run that was made."""
    run = question.run
    if run is None:
        raise AssertionError("a question about an MFU has a run")
    flops, peak = evaluate.per_token(question), question.peak_flops_per_s
    one = run.tokens_per_s / question.gpus
    found, hardware = one * flops.model / peak, one * flops.hardware / peak
    weights = one * flops.products / peak
    steps = [
        *flops_a_token(question),
        Step("tokens", run.how, run.tokens_per_s, "tokens/s"),
        Step("a GPU", f"that / {question.gpus:,.0f} GPUs", one, "tokens/s"),
        Step("model FLOPs", f"{compact(one)} tokens/s × {compact(flops.model)} FLOPs a token", one * flops.model, "FLOP/s"),
        Step("MFU", f"over the peak of {compact(peak)} FLOP/s", found),
    ]
    if flops.attention:
        steps.append(Step("by 6·N", "without attention", weights))
    steps.append(Step("HFU", f"{compact(one)} tokens/s × {compact(flops.hardware)} FLOPs over the peak", hardware))
    subject = evaluate.subject_of(question)
    sized = model(subject)
    asked = f"What MFU does {named(subject)} reach at {compact(run.tokens_per_s)} tokens/s on {of_gpus(question)}?"
    remarks = [] if flops.attention else ["Attention is not counted: that needs a model and batch.sequence."]
    if hardware > 1:
        remarks.append("Impossible: more than the peak. Look at peak, gpus, and whether the tokens are those of all GPUs.")
    results = {"mfu": found, "hfu": hardware, "mfu_without_attention": weights, "flops_per_s_gpu": one * flops.model}
    headline = f"MFU {100 * found:.1f}%, HFU {100 * hardware:.1f}%"
    return Answer(question, asked, headline, [*([sized] if sized else []), Group("Utilization", steps)], remarks, results)
