"""Reads an architecture: the `architecture` of a model's or a question's YAML, key by key, with a line for each mistake."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, fields
from functools import partial
from typing import Any

from kernels.models.architecture import ACTIVATIONS, BIASES, NORMS, POSITIONS, Architecture
from kernels.strict_yaml.nodes import Map, Node
from kernels.strict_yaml.problems import Problems
from kernels.strict_yaml.values import chosen, integer, known_keys

REQUIRED = ("layers", "d_model", "heads")
MAX_SIZE = 2**24  # of any number: parameters and FLOPs computed from it stay well within a float's range
WORDS: dict[str, Mapping[str, Any]] = {"activation": ACTIVATIONS, "norm": NORMS, "positions": POSITIONS, "bias": BIASES}
FLAGS = ("qk_norm", "tied", "dropout")


@dataclass(frozen=True)
class Field:
    """A key of an architecture. `default`: as YAML would give it; "" where it must be given."""

    means: str
    default: str


FIELDS: dict[str, Field] = {
    "layers": Field("Transformer layers", ""),
    "d_model": Field("hidden size", ""),
    "heads": Field("attention heads", ""),
    "kv_heads": Field("key and value heads", "heads"),
    "head_dim": Field("size of a head's query and key; of latent attention the part that is not rotated", "d_model / heads"),
    "d_ff": Field("inner size of the MLP", "4 · d_model"),
    "vocab": Field("vocabulary; 0: embedding, head and logits are not counted", "0"),
    "activation": Field(f"activation function of the MLP:  {', '.join(ACTIVATIONS)}; all but gelu have a gate", "gelu"),
    "norm": Field(f"{' or '.join(NORMS)}", "layernorm"),
    "norms": Field("norms in a layer", "2"),
    "qk_norm": Field("whether queries and keys are normalised: true or false", "false"),
    "positions": Field(f"{', '.join(POSITIONS)}", "none"),
    "context": Field("positions that are learned", "0"),
    "bias": Field(f"of the linear layers: {', '.join(BIASES)}", "none"),
    "tied": Field("whether the head is the embedding: true or false", "false"),
    "dropout": Field("whether attention and MLP have dropout, whose masks are kept: true or false", "false"),
    "experts": Field("experts in a layer of a mixture of experts", "0"),
    "active_experts": Field("experts that a token passes", "0"),
    "d_expert": Field("inner size of an expert", "0"),
    "d_shared": Field("inner size of the MLP that every token passes beside its experts", "0"),
    "dense_layers": Field("layers, the first ones, with an MLP in place of experts", "0"),
    "q_rank": Field("latent attention: rank of the queries", "0"),
    "kv_rank": Field("latent attention: rank of keys and values, which are cached in that size", "0"),
    "rope_dim": Field("latent attention: the rotated part of a key", "0"),
    "v_dim": Field("size of a head's value, where it is not head_dim", "0"),
    "window": Field("positions that a windowed layer sees", "0"),
    "windowed_layers": Field("layers that see a window", "0"),
}


def read_architecture(node: Map, prefix: str, problems: Problems) -> Architecture | None:
    """The architecture of a mapping; None where anything in it is wrong, which is then noted."""
    before = len(problems)
    known_keys(node, FIELDS, "an architecture", problems)
    for key in REQUIRED:
        if key not in node.items:
            problems.add(node.spot, prefix + key, f"missing: {FIELDS[key].means}")
    given = {key: _read(key, item.value, prefix, problems) for key, item in node.items.items() if key in FIELDS}
    if len(problems) > before:
        return None
    values: dict[str, Any] = dict(given)
    d_model, heads = values["d_model"], values["heads"]
    if "head_dim" not in values and d_model % heads:
        problems.add(node.spot, prefix + "heads", f"{heads} heads do not divide d_model {d_model}: give head_dim")
        return None
    defaults = {"kv_heads": heads, "head_dim": d_model // heads, "d_ff": 4 * d_model}
    found = Architecture(**(defaults | values))
    for key, why in contradictions(found):
        problems.add(node.items[key].value.spot if key in node.items else node.spot, prefix + key, why)
    return found if len(problems) == before else None


def _read(key: str, node: Node, prefix: str, problems: Problems) -> object:
    if key in FLAGS:
        word = chosen(node, prefix + key, ("true", "false"), problems)
        return word == "true"
    if key in WORDS:
        word = chosen(node, prefix + key, WORDS[key], problems)
        return WORDS[key][word] if word else None
    positive = key in (*REQUIRED, "kv_heads", "head_dim", "d_ff", "norms")
    return partial(integer, low=1 if positive else 0, high=MAX_SIZE)(node, prefix + key, problems)


def contradictions(a: Architecture) -> Iterator[tuple[str, str]]:
    """Keys that contradict others, and why."""
    if a.heads % a.kv_heads:
        yield "kv_heads", f"{a.kv_heads} key and value heads do not divide {a.heads} heads"
    yield from _of_experts(a)
    if a.kv_rank and not a.rope_dim:
        yield "rope_dim", "missing: latent attention rotates a part of its keys"
    if not a.kv_rank and (a.q_rank or a.rope_dim):
        yield "q_rank" if a.q_rank else "rope_dim", "needs `kv_rank`: it belongs to latent attention"
    if bool(a.window) != bool(a.windowed_layers):
        missing = "windowed_layers" if a.window else "window"
        yield missing, "missing: a window needs both `window` and `windowed_layers`"
    if a.windowed_layers > a.layers:
        yield "windowed_layers", f"{a.windowed_layers} of {a.layers} layers"
    if (a.positions == "learned") != bool(a.context):
        yield "context", "goes with `positions: learned`, which needs it, and with no other"


def _of_experts(a: Architecture) -> Iterator[tuple[str, str]]:
    if a.experts:
        if not 0 < a.active_experts <= a.experts:
            yield "active_experts", f"{a.active_experts} of {a.experts} experts: give 1 to {a.experts}"
        if not a.d_expert:
            yield "d_expert", "missing: experts have an inner size"
        if a.dense_layers >= a.layers:
            yield "dense_layers", f"{a.dense_layers} of {a.layers} layers leave none for the experts"
    else:
        for key in ("active_experts", "d_expert", "d_shared", "dense_layers"):
            if getattr(a, key):
                yield key, "needs `experts`"


def spelled(a: Architecture) -> Iterator[tuple[str, object]]:
    """Keys and values of an architecture, those at their default left out."""
    usual = {field.name: field.default for field in fields(Architecture)}
    return ((field.name, value) for field in fields(a) if (value := getattr(a, field.name)) != usual[field.name])
