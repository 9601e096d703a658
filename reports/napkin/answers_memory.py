"""Answers about memory: the largest model, a GPU's bytes term by term, a checkpoint."""

from __future__ import annotations

from dataclasses import fields

from kernels.napkin.memory import optimizer_values
from reports.napkin import evaluate
from reports.napkin.advice import fits
from reports.napkin.asked import Question
from reports.napkin.schemes import bytes_a_parameter, largest_by_scheme, memory_by_scheme
from reports.napkin.shared_steps import layer_bytes, model, named, of_gpus
from reports.napkin.shared_steps import memory as memory_steps
from reports.napkin.steps import Answer, Group, Step
from reports.units import billions, compact


def largest_model(question: Question) -> Answer:
    """Parameters whose state, and with a batch whose activations, fill the GPUs."""
    split, gpus = question.split, question.gpus
    largest = evaluate.largest(question, gpus, split.zero)
    one = evaluate.free_bytes(question)
    every = one * gpus
    on_all = evaluate.state(question, 1.0, gpus, split.zero).total * gpus
    sharers, holders = split.sharers(gpus), split.holders(gpus)
    copies = f"{compact(holders)} holders of the same weights under ZeRO {split.zero}"
    if holders == 1 or (split.zero == 3 and sharers == holders):
        copies = "one copy of everything"
    has = f"{compact(question.memory_bytes)} B by {question.memory} − {compact(question.reserve)} reserved"
    steps = [
        bytes_a_parameter(question),
        Step("of a GPU", has, one, "B"),
        Step("of all GPUs", f"{gpus:,.0f} × {compact(one)} B", every, "B"),
        Step("a parameter takes", f"on all GPUs, {copies}", on_all, "B"),
    ]
    remarks = []
    asked = f"What is the largest model whose state fits on {of_gpus(question)}?"
    if question.batch is None:
        steps.append(Step("parameters", f"{compact(every)} B / {compact(on_all)} B", largest, "parameters"))
        remarks.append(
            "Activations are not counted" + (f", but for the {compact(question.reserve)} B reserved." if question.reserve else ".")
        )
    else:
        asked = f"What is the largest model that trains on {of_gpus(question)}, activations of its micro-batches counted?"
        shape = evaluate.shape_of_size(largest)
        steps.append(Step("state alone", f"{compact(every)} B / {compact(on_all)} B", every / on_all, "parameters"))
        kept = evaluate.memory(question, largest, gpus, split.zero, shape).memory
        steps.append(Step("with activations", f"{compact(kept.total - kept.state)} B of a GPU besides the state", largest, "parameters"))
        remarks.append(
            f"Activations are those of a GPT block: {shape.layers} layers of {shape.d_model:,}, {shape.heads} heads, "
            "d_model about 128 × layers; logits are not counted, since the vocabulary is not known."
        )
    if not largest:
        remarks.append("Not even a model of one layer fits: its activations alone take more than a GPU has.")
    groups = [Group("Largest model", steps), largest_by_scheme(question)]
    headline = f"{compact(largest)} parameters ({billions(largest)})"
    return Answer(question, asked, headline, groups, remarks, {"parameters": largest})


def memory(question: Question) -> Answer:
    """Bytes of a GPU by term."""
    subject = evaluate.subject_of(question)
    held = evaluate.memory(question, subject.total, question.gpus, question.split.zero)
    found = held.memory
    sized = model(subject)
    groups = [*([sized] if sized else []), memory_steps(question, subject.total, held), memory_by_scheme(question, subject.total)]
    asked = f"How much memory of a GPU does {named(subject)} take while it trains on {of_gpus(question)}?"
    results = {"bytes": found.total, "state_bytes": found.state, "layer_bytes": layer_bytes(question)}
    results |= {f"{part.name}_bytes": getattr(found, part.name) for part in fields(found)}
    return Answer(question, asked, f"{compact(found.total)} B of a GPU", groups, fits(question, held), results)


def checkpoint(question: Question) -> Answer:
    """Bytes of weights and optimizer state, and the time to write them once."""
    subject, scheme = evaluate.subject_of(question), question.scheme
    state = sum(optimizer_values(question.optimizer, scheme))
    each = (scheme.master or scheme.weights) + state
    trained = evaluate.trained_parameters(question)
    size, speed = each * trained, question.write_bytes_per_s or 1.0
    what = "the adapter's parameters" if question.adapter else "parameters"
    wide = "fp32 master copy" if scheme.master else "weights"
    steps = [
        Step("a parameter", f"{wide} {compact(scheme.master or scheme.weights)} + optimizer {compact(state)}", each, "B"),
        Step("checkpoint", f"{compact(trained)} {what} × {compact(each)} B", size, "B"),
        Step("written in", f"{compact(size)} B / {compact(speed)} B/s", size / speed, "s"),
        Step("weights alone", f"{compact(subject.total)} × 2 B, as they are published", 2 * subject.total, "B"),
    ]
    asked = f"How large is a checkpoint of {named(subject)}, and how long does it take to write at {compact(speed)} B/s?"
    remarks = ["Gradients are not saved, nor weights that the master copy makes again."]
    sized = model(subject)
    results = {"bytes": size, "seconds": size / speed}
    groups = [*([sized] if sized else []), Group("Checkpoint", steps)]
    return Answer(question, asked, f"{compact(size)} B, written in {compact(size / speed)} s", groups, remarks, results)
