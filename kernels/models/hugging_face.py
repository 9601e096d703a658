"""Reads the architecture out of a Hugging Face `config.json`. What it cannot read it names, and then gives no architecture.

Each family says which of its keys hold a size. Another key whose name looks like a size, and which no list below knows, is a mistake:
it could change what is counted.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from kernels.models.architecture import Activation, Architecture, Bias
from kernels.models.architecture_yaml import MAX_SIZE, contradictions
from kernels.strict_yaml.nodes import Map, Scalar, Seq, describe
from kernels.strict_yaml.problems import Problems, quote, valid_names
from kernels.strict_yaml.values import EMPTY, integer

SIZE = re.compile(r"(num|size|dim|rank|layers?|heads?|experts?|window|tie|bias|inner|embd|positions?|moe|mlp|n)(_|$)|_(dim|size|rank)")
# Keys that look like sizes and change none: ids, ranges of random numbers, routing, what was not built, what other programs need.
HARMLESS = re.compile(
    r".*token_id|initializer_range|.*_eps(ilon)?|max_position_embeddings|max_window_layers|pretraining_tp|num_labels|num_beams.*|num_return.*"
    r"|n_group|topk_group|num_nextn_predict_layers|ep_size|router_.*|.*loss.*|norm_topk_prob|n_ctx|summary_.*|rope_.*|.*_pdrop|.*dropout"
    r"|initial_context_length|query_pre_attn_scalar|.*softcapping|layer_norm_epsilon|no_repeat_ngram_size|.*length.*|.*quantization.*"
    r"|encoder_no_repeat.*|chunk_size_feed_forward|cross_attention.*|is_.*|moe_router.*|partial_rotary_factor|experts_implementation"
    r"|scoring_func|topk_method|routed_scaling_factor|swiglu_limit|tie_encoder_decoder|use_.*|output_.*|cache_implementation"
)
GATED = {"silu": "swiglu", "swish": "swiglu"}
GELUS = ("gelu", "gelu_new", "gelu_pytorch_tanh", "gelu_fast")


class _Reader:
    """Keys of a configuration, each read once; what is left over is checked at the end."""

    def __init__(self, root: Map, problems: Problems):
        self.root = root
        self.problems = problems
        self.read = {"model_type", "architectures"}

    def size(self, key: str, default: int | None = None, low: int = 1) -> int:
        """An integer; the default where it is absent or null."""
        self.read.add(key)
        item = self.root.items.get(key)
        if item is None or (isinstance(item.value, Scalar) and item.value.plain and item.value.text in EMPTY):
            if default is None:
                self.problems.add(self.root.spot, key, "missing: this model cannot be read without it")
            return default or 0
        return integer(item.value, key, self.problems, low, MAX_SIZE) or 0

    def flag(self, key: str, default: bool = False) -> bool:
        self.read.add(key)
        item = self.root.items.get(key)
        if item is None:
            return default
        text = item.value.text if isinstance(item.value, Scalar) else ""
        if text not in ("true", "false", "null"):
            self.problems.add(item.value.spot, key, "needs true or false")
        return default if text == "null" else text == "true"

    def text(self, key: str, default: str = "") -> str:
        self.read.add(key)
        item = self.root.items.get(key)
        value = item.value if item else None
        return value.text if isinstance(value, Scalar) and value.text not in EMPTY else default

    def only(self, key: str, value: str) -> None:
        """Notes a key that has another value than the one that can be read."""
        item = self.root.items.get(key)
        self.read.add(key)
        if item is None:
            return
        found = describe(item.value) if not isinstance(item.value, Seq) or item.value.items else "[]"
        if found not in (value, quote(value), quote("null")):
            self.problems.add(item.value.spot, key, f"only {value} can be read")

    def sliding(self, default: int) -> int:
        """Layers that see a window: those that `layer_types` names, else the default."""
        self.read.add("layer_types")
        item = self.root.items.get("layer_types")
        if item is None or not isinstance(item.value, Seq):
            return default
        kinds = [node.text if isinstance(node, Scalar) else "" for node in item.value.items]
        for kind in dict.fromkeys(kinds):
            if kind not in ("sliding_attention", "full_attention"):
                self.problems.add(item.value.spot, "layer_types", f"{quote(kind)} cannot be read; valid: full_attention, sliding_attention")
        return kinds.count("sliding_attention")

    def unread(self) -> None:
        """Notes keys that look like sizes and were not read."""
        for key, item in self.root.items.items():
            if key not in self.read and SIZE.search(key) and not HARMLESS.fullmatch(key):
                self.problems.add(
                    item.spot, key, "is not known, and could be a size: describe the model in `architecture` or configs/models"
                )


@dataclass(frozen=True)
class _Family:
    """How a model type differs from Llama."""

    bias: Bias = "none"
    qk_norm: bool = False
    tied: bool = False
    norms: int = 2
    activation: str = "silu"
    head_dim: int = 0  # where it does not follow from hidden_size


FAMILIES: dict[str, _Family] = {
    "llama": _Family(),
    "mistral": _Family(),
    "qwen2": _Family(bias="qkv"),
    "qwen3": _Family(qk_norm=True, head_dim=128),
    "gemma": _Family(tied=True, activation="gelu_pytorch_tanh", head_dim=256),
    "gemma2": _Family(tied=True, norms=4, activation="gelu_pytorch_tanh", head_dim=256),
    "gemma3_text": _Family(tied=True, norms=4, qk_norm=True, activation="gelu_pytorch_tanh", head_dim=256),
    "mixtral": _Family(),
    "qwen3_moe": _Family(qk_norm=True),
    "deepseek_v3": _Family(),
    "gpt_oss": _Family(bias="all", head_dim=64),
}
MODEL_TYPES = (*FAMILIES, "gpt2")


def read_config(root: Map, problems: Problems) -> Architecture | None:
    """The architecture of a configuration; None where something in it cannot be read, which is then noted."""
    before = len(problems)
    r = _Reader(root, problems)
    kind = r.text("model_type")
    if kind not in MODEL_TYPES:
        problems.add(root.spot, "model_type", f"{quote(kind)} cannot be read{valid_names(kind, MODEL_TYPES)}")
        return None
    found = _gpt2(r) if kind == "gpt2" else _llama(r, kind, FAMILIES[kind])
    if found:
        r.unread()
    if found and len(problems) == before:
        for key, why in contradictions(found):
            problems.add(root.spot, key, why)
    return found if len(problems) == before else None


def _gpt2(r: _Reader) -> Architecture | None:
    d_model, layers, heads = r.size("n_embd"), r.size("n_layer"), r.size("n_head")
    vocab, context, inner = r.size("vocab_size"), r.size("n_positions"), r.size("n_inner", 4 * d_model)
    activation = _activation(r, "activation_function", "gelu_new", gated=False)
    r.only("add_cross_attention", "false")
    if not _divides(r, "n_head", heads, d_model) or not activation:
        return None
    tied, dropout = r.flag("tie_word_embeddings", True), float(r.text("resid_pdrop", "0.1") or 0) > 0
    return Architecture(
        layers=layers,
        d_model=d_model,
        heads=heads,
        kv_heads=heads,
        head_dim=d_model // heads,
        d_ff=inner,
        vocab=vocab,
        activation=activation,
        norm="layernorm",
        positions="learned",
        context=context,
        bias="all",
        tied=tied,
        dropout=dropout,
    )


def _activation(r: _Reader, key: str, default: str, gated: bool) -> Activation | None:
    text = r.text(key, default)
    if text in GELUS:
        return "geglu" if gated else "gelu"
    if gated and text in GATED:
        return "swiglu"
    r.problems.add(r.root.spot, key, f"{quote(text)} cannot be read{valid_names(text, (*GELUS, *(GATED if gated else ())))}")
    return None


def _divides(r: _Reader, key: str, heads: int, d_model: int) -> bool:
    if heads and d_model and d_model % heads == 0:
        return True
    if heads and d_model:
        r.problems.add(r.root.spot, key, f"{heads} heads do not divide {d_model}")
    return False


def _llama(r: _Reader, kind: str, family: _Family) -> Architecture | None:
    layers, d_model, heads = r.size("num_hidden_layers"), r.size("hidden_size"), r.size("num_attention_heads")
    vocab, d_ff, kv_heads = r.size("vocab_size"), r.size("intermediate_size"), r.size("num_key_value_heads", heads)
    key = "hidden_activation" if "hidden_activation" in r.root.items else "hidden_act"
    if kind.startswith("gemma"):
        r.read.add("hidden_act")  # Gemma's own key goes before it
    activation = _activation(r, key, family.activation, gated=True)
    more: dict[str, object] = MORE[kind](r, layers, d_ff) if kind in MORE else {}
    latent = bool(more.get("kv_rank"))
    own = int(str(more.pop("head_dim", 0))) or r.size("head_dim", family.head_dim or -1)
    if latent:
        r.read.add("head_dim")
    if own == -1:
        own = d_model // heads if _divides(r, "num_attention_heads", heads, d_model) else 0
    bias = _bias(r, kind, family)
    if not (layers and d_model and heads and vocab and d_ff and kv_heads and own and activation):
        return None
    values: dict[str, Any] = {
        **{"layers": layers, "d_model": d_model, "heads": heads, "kv_heads": heads if latent else kv_heads, "head_dim": own, "d_ff": d_ff},
        **{"vocab": vocab, "activation": activation, "norm": "rmsnorm", "norms": family.norms, "qk_norm": family.qk_norm},
        **{"positions": "rope", "bias": bias, "tied": r.flag("tie_word_embeddings", family.tied), **more},
    }
    return Architecture(**values)


def _bias(r: _Reader, kind: str, family: _Family) -> Bias:
    attention, mlp = r.flag("attention_bias", family.bias == "all"), r.flag("mlp_bias")
    r.only("use_bias", "false")
    if kind == "gpt_oss":
        if not attention:
            r.problems.add(r.root.spot, "attention_bias", "only true can be read")
        return "all"
    if family.bias == "qkv":
        return "qkv"
    if mlp and not attention:
        r.problems.add(r.root.spot, "mlp_bias", "true can be read only with attention_bias: true")
    return "all" if mlp else "attention" if attention else "none"


def _windowed(r: _Reader, default: int) -> dict[str, object]:
    """Layers with a window, where there is one."""
    window = r.size("sliding_window", 0)
    layers = r.sliding(default if window else 0)
    return {"window": window, "windowed_layers": layers} if window and layers else {}


def _mistral(r: _Reader, layers: int, d_ff: int) -> dict[str, object]:
    return _windowed(r, layers)


def _qwen(r: _Reader, layers: int, d_ff: int) -> dict[str, object]:
    r.only("use_sliding_window", "false")
    r.read |= {"sliding_window", "max_window_layers"}  # which count only where it is true
    if r.sliding(0):
        r.problems.add(r.root.spot, "layer_types", "sliding_attention cannot be read where use_sliding_window is false")
    return {}


def _gemma2(r: _Reader, layers: int, d_ff: int) -> dict[str, object]:
    return _windowed(r, -(-layers // 2))  # every other layer, the first one first


def _gemma3(r: _Reader, layers: int, d_ff: int) -> dict[str, object]:
    pattern = r.size("sliding_window_pattern", 6)
    return _windowed(r, layers - layers // max(pattern, 1))  # all but every sixth


def _mixtral(r: _Reader, layers: int, d_ff: int) -> dict[str, object]:
    return {
        "experts": r.size("num_local_experts"),
        "active_experts": r.size("num_experts_per_tok"),
        "d_expert": d_ff,
        **_windowed(r, layers),
    }


def _qwen3_moe(r: _Reader, layers: int, d_ff: int) -> dict[str, object]:
    r.only("decoder_sparse_step", "1")
    r.only("mlp_only_layers", "[]")
    return {
        "experts": r.size("num_experts"),
        "active_experts": r.size("num_experts_per_tok"),
        "d_expert": r.size("moe_intermediate_size"),
        **_qwen(r, layers, d_ff),
    }


def _deepseek(r: _Reader, layers: int, d_ff: int) -> dict[str, object]:
    r.only("moe_layer_freq", "1")
    expert = r.size("moe_intermediate_size")
    r.read |= {"qk_head_dim", "num_key_value_heads"}  # sums of what is read
    return {
        "experts": r.size("n_routed_experts"),
        "active_experts": r.size("num_experts_per_tok"),
        "d_expert": expert,
        "d_shared": expert * r.size("n_shared_experts", 0, low=0),
        "dense_layers": r.size("first_k_dense_replace", 0, low=0),
        "q_rank": r.size("q_lora_rank", 0, low=0),
        "kv_rank": r.size("kv_lora_rank"),
        "head_dim": r.size("qk_nope_head_dim"),
        "rope_dim": r.size("qk_rope_head_dim"),
        "v_dim": r.size("v_head_dim"),
    }


def _gpt_oss(r: _Reader, layers: int, d_ff: int) -> dict[str, object]:
    r.read.add("experts_per_token")  # the same as num_experts_per_tok
    active = r.size("num_experts_per_tok", 4)
    return {"experts": r.size("num_local_experts"), "active_experts": active, "d_expert": d_ff, **_windowed(r, -(-layers // 2))}


MORE: dict[str, Callable[[_Reader, int, int], dict[str, object]]] = {
    "mistral": _mistral,
    "qwen2": _qwen,
    "qwen3": _qwen,
    "gemma2": _gemma2,
    "gemma3_text": _gemma3,
    "mixtral": _mixtral,
    "qwen3_moe": _qwen3_moe,
    "deepseek_v3": _deepseek,
    "gpt_oss": _gpt_oss,
}
