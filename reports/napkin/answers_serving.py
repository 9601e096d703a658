"""The answer about serving a model: what fits, and tokens/s by roofline."""

from __future__ import annotations

from math import floor

from kernels.napkin.inference import Roof, cache_bytes, decode, largest_batch, prefill, weight_bytes
from reports.napkin import evaluate
from reports.napkin.asked import Question
from reports.napkin.shared_steps import model, named, of_gpus
from reports.napkin.steps import Answer, Group, Step
from reports.units import compact


def inference(question: Question) -> Answer:
    """Weights, cache, largest batch; prefill and decode; tokens/s. Decode is taken at the middle of the answer."""
    served, serving = evaluate.served(question), question.serving
    if serving is None:
        raise AssertionError("inference has prompt, answer and batch")
    a, tokens = served.architecture, serving.prompt + serving.generated
    weights, cache = weight_bytes(served), cache_bytes(served, tokens)
    most = largest_batch(served, tokens)
    held = weights + serving.batch * cache
    first = prefill(served, serving.prompt, serving.batch)
    one = decode(served, serving.prompt + serving.generated / 2, serving.batch)
    seconds = first.seconds + serving.generated * one.seconds
    speed = serving.batch / one.seconds
    free = served.memory_bytes * served.gpus
    kept = "latent vector and shared key" if a.kv_rank else f"{a.kv_heads} heads × ({a.key_dim} + {a.value_dim})"
    window = f", {a.windowed_layers} of them with a window of {a.window:,}" if a.windowed_layers else ""
    sizes = [
        Step("weights", f"{compact(a.parameters)} parameters × {compact(serving.weight_bytes)} B", weights, "B"),
        Step("a token's cache", f"{a.layers} layers × {kept} × {compact(serving.kv_bytes)} B{window}", cache_bytes(served, 1), "B"),
        Step("a sequence's", f"{tokens:,.0f} tokens of prompt and answer", cache, "B"),
        Step("together", f"weights + {serving.batch:,.0f} × a sequence's cache", held, "B"),
        Step("the GPUs have", f"{question.gpus:,.0f} × {compact(served.memory_bytes)} B", free, "B"),
        Step("largest batch", "(what they have − weights) / a sequence's cache", max(0.0, floor(most)), "sequences"),
    ]
    results = {
        "tokens_per_s": speed,
        "weight_bytes": weights,
        "cache_bytes": cache,
        "largest_batch": float(max(0, floor(most))),
        "prefill_s": first.seconds,
        "decode_s": one.seconds,
        "seconds": seconds,
    }
    time = [
        *_roof("prefill", first),
        *_roof("a token", one),
        Step("tokens/s", f"{serving.batch:,.0f} sequences / {compact(one.seconds)} s", speed, "tokens/s"),
        Step("an answer", f"prefill + {serving.generated:,.0f} tokens", seconds, "s"),
    ]
    fits = f"{compact(held)} B of {compact(free)} B by {question.memory}"
    remarks = [
        f"It fits: {fits}." if held <= free else f"It does not fit: {fits}; the largest batch is {max(0, floor(most)):,}.",
        "Rooflines: the whole peak and bandwidth, GPUs that divide everything evenly and send in no time. Servers reach a part of it.",
    ]
    if a.experts:
        remarks.append("Experts are read where at least one token goes to them, tokens spread evenly.")
    asked = f"How fast does {named(evaluate.subject_of(question))} answer on {of_gpus(question)}, {serving.batch:,.0f} at once, "
    asked += f"{serving.prompt:,.0f} tokens read and {serving.generated:,.0f} written?"
    sized = model(evaluate.subject_of(question))
    groups = [*([sized] if sized else []), Group("Memory of all GPUs", sizes), Group("Time by roofline", time)]
    return Answer(question, asked, f"{compact(speed)} tokens/s ({compact(speed / serving.batch)} a sequence)", groups, remarks, results)


def _roof(what: str, roof: Roof) -> list[Step]:
    return [
        Step(f"{what}: compute", f"{compact(roof.flops)} FLOP", roof.compute_s, "s"),
        Step(f"{what}: memory", f"{compact(roof.bytes_)} B read and written; {roof.bound}-bound", roof.memory_s, "s"),
    ]
