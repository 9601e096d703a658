"""Models by their sizes: parameters and FLOPs as exact formulas. No torch here: plans and reports read this too.

FLOPs are those of matrix products, 2·m·n·k each, as `torch.utils.flop_counter` counts them; norms, activation functions, softmax and
lookups count none. Attention counts whole squares of scores, though a causal kernel may skip the half above the diagonal.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Literal

NORM_EPS = 1e-5
ROPE_BASE = 500_000.0  # Llama 3's: Grattafiori et al. 2024, section 3.2


def napkin_flops(parameters: int, tokens: int, passes: int = 2) -> int:
    """2 · parameters · tokens forward, 4 · backward, 6 · both: attention's scores are left out.

    Kaplan et al. 2020, section 2.1, whose N leaves embeddings and head out; here N is all parameters, as PaLM's appendix B counts them.
    """
    return passes * parameters * tokens


@dataclass(frozen=True)
class DeepLinear:
    """`layers` products with D × D weights, then a head D → 1; no bias and nothing between them. Dims at least 1."""

    width: int  # D
    layers: int

    @property
    def parameters(self) -> int:
        """layers·D² + D."""
        return self.layers * self.width**2 + self.width

    def forward_flops(self, batch: int, sequence: int = 1) -> int:
        """2 · tokens · parameters, tokens = batch · sequence."""
        return 2 * batch * sequence * self.parameters

    def backward_flops(self, batch: int, sequence: int = 1) -> int:
        """2 · tokens · parameters for the weights' gradients and as much for the inputs', but for the first layer's, which needs none."""
        first = self.width**2 if self.layers else self.width
        return 2 * batch * sequence * (2 * self.parameters - first)

    def napkin_flops(self, tokens: int, passes: int = 2) -> int:
        """passes · parameters · tokens: 2 forward, 6 for a training step."""
        return napkin_flops(self.parameters, tokens, passes)


def misfits(hidden: int, heads: int, kv_heads: int | None, position: str) -> Iterator[tuple[str, str]]:
    """What does not fit in the sizes of attention: the name of the size or option, and a line."""
    if hidden % heads:
        yield "heads", f"{heads} heads do not divide hidden {hidden}"
    elif kv_heads and heads % kv_heads:
        yield "kv_heads", f"kv_heads {kv_heads} do not divide heads {heads}: each must serve as many heads of q as the others"
    elif position == "rope" and hidden // heads % 2:
        yield "position", f"rope rotates pairs of columns: hidden {hidden} / heads {heads} = {hidden // heads} is odd"


@dataclass(frozen=True)
class Transformer:
    """A decoder-only Transformer: embedding, pre-norm blocks of causal attention and MLP, a norm, a head.

    Nothing has a bias. q, k and v are one product (hidden → hidden + 2·kv_width), and so are SwiGLU's gate and up (hidden → 2·feedforward).
    `attention`: F.scaled_dot_product_attention, or matmul, softmax, matmul. `kv_heads`: each k and v head serves heads / kv_heads heads
    of q (grouped-query attention, Ainslie et al. 2023); None: one of its own for each. `position`: with none a model adds learned
    positions to the embedding; with rope each block rotates q and k by their position (Su et al. 2021) and there is no such table.
    `head`: tied uses the embedding's table as the head's weight. Raises ValueError where the sizes do not fit.
    """

    vocab: int
    layers: int
    hidden: int
    heads: int
    feedforward: int
    activation: Literal["swiglu", "gelu"]
    norm: Literal["rmsnorm", "layernorm"]
    context: int  # positions
    attention: Literal["sdpa", "plain"] = "sdpa"
    kv_heads: int | None = None
    position: Literal["none", "rope"] = "none"
    head: Literal["untied", "tied"] = "untied"

    def __post_init__(self) -> None:
        for _, problem in misfits(self.hidden, self.heads, self.kv_heads, self.position):
            raise ValueError(problem)

    @property
    def depth(self) -> int:
        """Columns of a head."""
        return self.hidden // self.heads

    @property
    def key_heads(self) -> int:
        """Heads of k, and as many of v."""
        return self.kv_heads or self.heads

    @property
    def group(self) -> int:
        """Heads of q that share one of k and v."""
        return self.heads // self.key_heads

    @property
    def kv_width(self) -> int:
        """Columns of k, and as many of v."""
        return self.key_heads * self.depth

    @property
    def qkv(self) -> int:
        """Columns of the product that gives q, k and v side by side."""
        return self.hidden + 2 * self.kv_width

    @property
    def lookups(self) -> tuple[str, ...]:
        """Tables whose rows are picked and multiplied by nothing; a tied embedding is the head's weight too."""
        embedding = ("embedding.weight",) if self.head == "untied" else ()
        return (*embedding, "positions.weight")

    @property
    def up(self) -> int:
        """Columns of the MLP's first product: SwiGLU's gate and up side by side."""
        return self.feedforward * (2 if self.activation == "swiglu" else 1)

    @property
    def block_weights(self) -> dict[str, tuple[int, ...]]:
        """Shapes of a block's parameters by their names in the module, matrices as (out, in), in the order of `parameters()`."""
        h = self.hidden
        return {
            "attention_norm.weight": (h,),
            "attention.qkv.weight": (self.qkv, h),
            "attention.out.weight": (h, h),
            "mlp_norm.weight": (h,),
            "mlp.up.weight": (self.up, h),
            "mlp.down.weight": (h, self.feedforward),
        }

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """The whole model's, likewise."""
        h = self.hidden
        positions = {"positions.weight": (self.context, h)} if self.position == "none" else {}
        blocks = {f"blocks.{i}.{name}": shape for i in range(self.layers) for name, shape in self.block_weights.items()}
        head = {"head.weight": (self.vocab, h)} if self.head == "untied" else {}
        return {"embedding.weight": (self.vocab, h), **positions, **blocks, "norm.weight": (h,), **head}

    @property
    def block_matrix_parameters(self) -> int:
        """2·hidden² + 2·hidden·kv_width of attention, 3·hidden·feedforward of SwiGLU or 2· of GELU."""
        return (self.qkv + self.hidden + self.up + self.feedforward) * self.hidden

    @property
    def block_parameters(self) -> int:
        """Those, and two norms' weights."""
        return self.block_matrix_parameters + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """Embedding, positions, blocks, last norm, head; a table that is shared counts once."""
        tables = 2 if self.head == "untied" else 1
        positions = self.context if self.position == "none" else 0
        return (tables * self.vocab + positions + 1) * self.hidden + self.layers * self.block_parameters

    def attention_flops(self, batch: int, sequence: int) -> int:
        """Of a block's two products with the scores: q·kᵀ and probabilities·v, 2·sequence²·hidden each."""
        return 4 * batch * sequence**2 * self.hidden

    def block_forward_flops(self, batch: int, sequence: int) -> int:
        """2 · tokens · matrix parameters, and attention."""
        return 2 * batch * sequence * self.block_matrix_parameters + self.attention_flops(batch, sequence)

    def block_backward_flops(self, batch: int, sequence: int) -> int:
        """Twice the forward pass, and one product more where a fused kernel computes the scores again."""
        again = self.attention_flops(batch, sequence) // 2 if self.attention == "sdpa" else 0
        return 2 * self.block_forward_flops(batch, sequence) + again

    def forward_flops(self, batch: int, sequence: int) -> int:
        """Blocks and head. Exact, where napkin_flops counts embeddings and norms as products and leaves out the scores."""
        return self.layers * self.block_forward_flops(batch, sequence) + self._head_flops(batch, sequence)

    def backward_flops(self, batch: int, sequence: int) -> int:
        """Blocks and head: every product's input needs a gradient, the first one's for the embedding's sake."""
        return self.layers * self.block_backward_flops(batch, sequence) + 2 * self._head_flops(batch, sequence)

    def napkin_flops(self, tokens: int, passes: int = 2) -> int:
        """passes · parameters · tokens: 2 forward, 6 for a training step."""
        return napkin_flops(self.parameters, tokens, passes)

    def _head_flops(self, batch: int, sequence: int) -> int:
        return 2 * batch * sequence * self.hidden * self.vocab
