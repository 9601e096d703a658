"""Groups of steps that several kinds of answers share: the model, its FLOPs, a GPU's memory, what fits."""

from __future__ import annotations

from kernels.napkin.memory import Fullest, Memory, activations_of_layer
from kernels.napkin.training import FLOPS_A_PARAMETER, FROZEN_FLOPS
from reports.napkin import evaluate
from reports.napkin.asked import Question, Subject
from reports.napkin.schemes import bytes_a_parameter
from reports.napkin.steps import Group, Step
from reports.units import compact


def number_of_days(days: float) -> str:
    """Four digits, as 143.9 days; years beside many."""
    return f"{compact(days)} days" + (f" ({compact(days / 365.25, 3)} years)" if days > 1000 else "")


def named(subject: Subject) -> str:
    """A model as a sentence names it."""
    return f"{subject.name} ({compact(subject.total)} parameters)" if subject.name else f"a model of {compact(subject.total)} parameters"


def of_gpus(question: Question) -> str:
    return f"{question.gpus:,.0f} {question.gpu.name}"


def model(subject: Subject) -> Group | None:
    """Parameters total, active and without embeddings, where the architecture says them."""
    a = subject.architecture
    if a is None or not a.vocab:
        return None
    steps = [Step("total", "as given" if subject.total != a.parameters else _parts(subject), subject.total, "parameters")]
    if a.experts:
        experts = f"without the {a.experts - a.active_experts} of {a.experts} experts that a token does not pass"
        steps.append(Step("active", experts, subject.active, "parameters"))
    head = "its head is the embedding" if a.tied else "its head too"
    steps += [
        Step("non-embedding", f"without the table of {a.vocab:,} words, {head}", a.non_embedding_parameters, "parameters"),
        Step("multiplied", "by a token: linear layers and head", a.multiplied_parameters, "parameters"),
        Step("N of 6·N", "which of them counts: the key parameters", subject.counted, "parameters"),
    ]
    return Group("Parameters of the model", steps)


def _parts(subject: Subject) -> str:
    a = subject.architecture
    if a is None:
        return ""
    head = f" + head {compact(a.head_parameters)}" if a.head_parameters else ""
    return f"layers {compact(a.non_embedding_parameters)} + embedding {compact(a.embedding_parameters)}{head}"


def flops_a_token(question: Question) -> list[Step]:
    """FLOPs a token of weights and attention, and what recomputation adds."""
    flops, subject, a = evaluate.per_token(question), evaluate.subject_of(question), question.architecture
    adapter = question.adapter
    how = f"{FROZEN_FLOPS if adapter else FLOPS_A_PARAMETER} × {compact(subject.counted)} parameters"
    if adapter:
        how += f" that take no gradient + {FLOPS_A_PARAMETER} × {compact(adapter.parameters)} of the adapter"
    steps = [Step("weights", how, flops.products, "FLOP")]
    if a and question.batch:
        squares = "half squares (causal)" if question.recipe.causal else "full squares"
        width = f"{a.heads} heads × ({a.key_dim} + {a.value_dim})"
        window = f", {a.windowed_layers} of them with a window of {a.window:,}" if a.windowed_layers else ""
        how = f"6 × {a.layers} layers × {width} × {question.batch.sequence:,.0f} tokens, {squares}{window}"
        steps.append(Step("attention", how, flops.attention, "FLOP"))
    if flops.again:
        steps.append(Step("done again", f"recompute: {question.recipe.recompute}", flops.again, "FLOP"))
    return steps


def memory(question: Question, parameters: float, held: Fullest) -> Group:
    """A GPU's memory term by term."""
    split, found = question.split, held.memory
    share = parameters / split.share_gpus
    divided = f"{compact(parameters)} parameters / ({split.tensor} tensor × {split.pipeline} pipeline)"
    steps = [bytes_a_parameter(question), Step("on a GPU", divided, share, "parameters"), *_state(question, share, found)]
    steps += _activations(question, held)
    stage = f", {held.stage}" if held.stage else ""
    moment = f", {held.moment}{stage}" if held.moment else ""
    has = f"{compact(question.memory_bytes)} B by {question.memory} − {compact(question.reserve)} reserved"
    return Group(
        f"Memory of a GPU, ZeRO stage {split.zero}{moment}",
        [*steps, Step("together", "the sum", found.total, "B"), Step("it has", has, evaluate.free_bytes(question), "B")],
    )


def _state(question: Question, share: float, held: Memory) -> list[Step]:
    split, each = question.split, question.each
    sharers = split.sharers(question.gpus)
    if question.adapter:
        trained, frozen = compact(question.adapter.parameters / split.share_gpus), compact(question.adapter.frozen_bytes)
        hows = {
            "weights": f"{compact(share)} × {frozen} B + the adapter's {trained} × {compact(each.weights)} B",
            "gradients": f"the adapter's {trained} × {compact(each.gradients)} B",
            "optimizer": f"the adapter's {trained} × {compact(each.optimizer)} B",
        }
    else:
        hows = {part: f"{compact(share)} × {compact(getattr(each, part))} B" for part in ("weights", "gradients", "optimizer")}
    a = question.architecture
    experts = f", experts among {split.expert} GPUs" if a and a.experts and split.expert > 1 else ""
    stages = {"weights": 3, "gradients": 2, "optimizer": 1}
    return [
        Step(
            part,
            how + experts + (f" / {compact(sharers)} GPUs that share" if split.zero >= stages[part] and sharers > 1 else ""),
            getattr(held, part),
            "B",
        )
        for part, how in hows.items()
    ]


def layer_bytes(question: Question) -> float:
    """Bytes that a layer keeps of a micro-batch on one GPU; 0 where that is not known."""
    a, batch, split, recipe = question.architecture, question.batch, question.split, question.recipe
    if a is None or batch is None:
        return 0.0
    each = activations_of_layer(a, question.scheme, split, batch.sequence, recipe.recompute, recipe.attention)
    return each * batch.micro * batch.sequence / split.context


def _activations(question: Question, held: Fullest) -> list[Step]:
    a, batch, split, recipe = question.architecture, question.batch, question.split, question.recipe
    if a is None or batch is None:
        return []
    found = held.memory
    tokens = batch.micro * batch.sequence / split.context
    each = layer_bytes(question) / tokens
    layers = split.stage_layers(a.layers)
    in_flight = 1.0 if held.stage == "last stage" else split.in_flight(evaluate.rounds(question, question.gpus))
    times = f" × {compact(in_flight)} micro-batches" if in_flight != 1 else ""
    kept = f"{compact(tokens)} tokens × {layers} layers{times} × the above, and the head's inputs"
    steps = [
        Step("layer keeps", f"a token, {recipe.attention} attention, recompute: {recipe.recompute}", each, "B"),
        Step("activations", kept, found.activations, "B"),
    ]
    if found.logits:
        over = f" / {split.tensor}" if split.tensor > 1 else ""
        steps.append(Step("logits", f"{compact(tokens)} tokens × {a.vocab:,} words × 3 copies × 4 B{over}", found.logits, "B"))
    if found.working:
        steps.append(Step("working set", "the largest layer's gradients, and recomputed activations", found.working, "B"))
    if found.gathered:
        steps.append(
            Step("gathered", f"whole {'weights and ' if split.zero == 3 else ''}gradients of the layers at work", found.gathered, "B")
        )
    return steps
