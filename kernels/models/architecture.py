"""A decoder-only Transformer by the numbers of its published configuration: parameters, FLOPs a token, what a layer holds. No torch.

Llama, Mistral, Qwen, Gemma, GPT-2, Mixtral, DeepSeek-V3 and gpt-oss differ in these numbers alone. All counts are of one model, whole.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

Activation = Literal["gelu", "swiglu", "geglu"]
Norm = Literal["layernorm", "rmsnorm"]
Positions = Literal["none", "rope", "learned"]
Bias = Literal["none", "qkv", "attention", "all"]

ACTIVATIONS: dict[str, Activation] = {"gelu": "gelu", "swiglu": "swiglu", "geglu": "geglu"}
NORMS: dict[str, Norm] = {"layernorm": "layernorm", "rmsnorm": "rmsnorm"}
POSITIONS: dict[str, Positions] = {"none": "none", "rope": "rope", "learned": "learned"}
BIASES: dict[str, Bias] = {"none": "none", "qkv": "qkv", "attention": "attention", "all": "all"}


@dataclass(frozen=True)
class Linear:
    """`count` linear layers whose weight is (n, k) = (out features, in features); a token passes `active` of them."""

    name: str
    n: int
    k: int
    count: int
    active: int

    @property
    def parameters(self) -> int:
        """Weights of one of them, without bias."""
        return self.n * self.k


@dataclass(frozen=True)
class Architecture:
    """Numbers as configurations name them. 0 stands for what a model does not have.

    A mixture of experts has `experts` MLPs of `d_expert` in all but the first `dense_layers`, of which a token passes `active_experts`,
    and beside them one MLP of `d_shared` that every token passes. Latent attention (DeepSeek-AI 2024, "DeepSeek-V2", section 2.1) has
    `kv_rank`: keys and values are made of a latent vector and of one key of `rope_dim`; `head_dim` is then the rest of a key, `v_dim` a
    value. `windowed_layers` see only the last `window` positions.
    """

    layers: int
    d_model: int
    heads: int
    kv_heads: int
    head_dim: int
    d_ff: int
    vocab: int = 0
    activation: Activation = "gelu"
    norm: Norm = "layernorm"
    norms: int = 2  # of a layer, each of d_model
    qk_norm: bool = False  # of each head's query and key
    positions: Positions = "none"
    context: int = 0  # positions that are learned
    bias: Bias = "none"
    tied: bool = False  # whether the head is the embedding
    dropout: bool = False
    experts: int = 0
    active_experts: int = 0
    d_expert: int = 0
    d_shared: int = 0
    dense_layers: int = 0
    q_rank: int = 0
    kv_rank: int = 0
    rope_dim: int = 0
    v_dim: int = 0
    window: int = 0
    windowed_layers: int = 0

    @property
    def gated(self) -> bool:
        """Whether the MLP multiplies a gate with its first product."""
        return self.activation != "gelu"

    @property
    def key_dim(self) -> int:
        """Elements of a head's query and key."""
        return self.head_dim + self.rope_dim

    @property
    def value_dim(self) -> int:
        return self.v_dim or self.head_dim

    @property
    def expert_layers(self) -> int:
        return self.layers - self.dense_layers if self.experts else 0

    @property
    def cached_values(self) -> int:
        """Elements a token that a layer's cache holds for later tokens: keys and values, or the latent vector and the shared key."""
        return self.kv_rank + self.rope_dim if self.kv_rank else self.kv_heads * (self.key_dim + self.value_dim)

    def attention(self) -> Iterator[Linear]:
        """Linear layers of attention, `count` over the model."""
        q, layers = self.heads * self.key_dim, self.layers
        if not self.kv_rank:
            yield Linear("qkv", q + self.kv_heads * (self.key_dim + self.value_dim), self.d_model, layers, layers)
        else:
            if self.q_rank:
                yield Linear("q_down", self.q_rank, self.d_model, layers, layers)
            yield Linear("q_up" if self.q_rank else "q", q, self.q_rank or self.d_model, layers, layers)
            yield Linear("kv_down", self.kv_rank + self.rope_dim, self.d_model, layers, layers)
            yield Linear("kv_up", self.heads * (self.head_dim + self.value_dim), self.kv_rank, layers, layers)
        yield Linear("attn_out", self.d_model, self.heads * self.value_dim, layers, layers)

    def _mlp(self, prefix: str, width: int, count: int, active: int) -> Iterator[Linear]:
        first = ("gate_up", 2 * width) if self.gated else ("up", width)
        yield Linear(prefix + first[0], first[1], self.d_model, count, active)
        yield Linear(f"{prefix}down", self.d_model, width, count, active)

    def mlps(self) -> Iterator[Linear]:
        """Linear layers of dense MLPs, shared experts and routers."""
        dense = self.layers - self.expert_layers
        if dense:
            yield from self._mlp("", self.d_ff, dense, dense)
        if self.experts:
            yield Linear("router", self.experts, self.d_model, self.expert_layers, self.expert_layers)
        if self.d_shared:
            yield from self._mlp("shared_", self.d_shared, self.expert_layers, self.expert_layers)

    def routed(self) -> Iterator[Linear]:
        """Linear layers of the experts."""
        if self.experts:
            layers = self.expert_layers
            yield from self._mlp("expert_", self.d_expert, layers * self.experts, layers * self.active_experts)

    def linears(self) -> tuple[Linear, ...]:
        """Every linear layer, the head last, where there is a vocabulary."""
        head = [Linear("lm_head", self.vocab, self.d_model, 1, 1)] if self.vocab else []
        return (*self.attention(), *self.mlps(), *self.routed(), *head)

    @property
    def block_matrix_parameters(self) -> int:
        """Weights of all linear layers but the head."""
        return sum(one.count * one.parameters for one in self.linears() if one.name != "lm_head")

    @property
    def expert_parameters(self) -> int:
        """Weights of the routed experts of all layers."""
        return sum(one.count * one.parameters for one in self.routed())

    @property
    def small_parameters(self) -> int:
        """Norms and biases of all layers, and the last norm."""
        width = self.d_model * (2 if self.norm == "layernorm" and self.bias == "all" else 1)
        latent = self.q_rank + self.kv_rank
        heads = 2 * self.head_dim if self.qk_norm else 0
        every = tuple(one.name for one in self.linears() if one.name != "lm_head")
        biased = {"none": (), "qkv": ("qkv",), "attention": ("qkv", "attn_out"), "all": every}[self.bias]
        biases = sum(one.count * one.n for one in self.linears() if one.name in biased)
        return self.layers * (self.norms * width + latent + heads) + width + biases

    @property
    def embedding_parameters(self) -> int:
        """The table of the vocabulary, and of positions where they are learned."""
        return (self.vocab + (self.context if self.positions == "learned" else 0)) * self.d_model

    @property
    def head_parameters(self) -> int:
        """The head's own: none where it is the embedding."""
        return 0 if self.tied else self.vocab * self.d_model

    @property
    def non_embedding_parameters(self) -> int:
        """Parameters without embeddings and head: the N of Kaplan et al. 2020."""
        return self.block_matrix_parameters + self.small_parameters

    @property
    def parameters(self) -> int:
        return self.non_embedding_parameters + self.embedding_parameters + self.head_parameters

    @property
    def active_parameters(self) -> int:
        """Those that a token passes: all but the experts that it is not sent to."""
        return self.parameters - sum((one.count - one.active) * one.parameters for one in self.routed())

    @property
    def multiplied_parameters(self) -> int:
        """Weights that a token is multiplied with: its linear layers and the head, also where that is the embedding."""
        return sum(one.active * one.parameters for one in self.linears())

    def attention_flops(self, sequence: float, causal: bool) -> float:
        """FLOPs a token of all layers' products with the scores, forward: q·kᵀ and probabilities·v, two FLOPs an element of each.

        `causal`: only the pairs at or before a token's own position, half a square (Korthikanti et al. and PaLM count whole squares).
        """
        per_key = 2 * self.heads * (self.key_dim + self.value_dim)
        everything = (self.layers - self.windowed_layers) * _keys(sequence, sequence, causal)
        return per_key * (everything + self.windowed_layers * _keys(sequence, self.window or sequence, causal))


def _keys(sequence: float, window: float, causal: bool) -> float:
    """Keys that a token multiplies with, the mean over a sequence, where it sees `window` positions at most."""
    seen = min(sequence, window)
    return seen - seen**2 / (2 * sequence) if causal else seen


def plain_gpt(layers: int, d_model: int, heads: int) -> Architecture:
    """A GPT block of 12·d_model² parameters, without vocabulary: what three numbers say of a model."""
    return Architecture(layers, d_model, heads, heads, d_model // heads, 4 * d_model)
