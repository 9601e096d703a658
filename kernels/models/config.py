"""Models by their sizes: parameters and FLOPs as exact formulas. No torch here: plans and reports read this too.

FLOPs are those of matrix products, 2·m·n·k each, as `torch.utils.flop_counter` counts them; norms, activation functions, softmax and
lookups count none. Attention counts whole squares of scores, though a causal kernel may skip the half above the diagonal.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import ClassVar, Literal

NORM_EPS = 1e-5


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


@dataclass(frozen=True)
class Transformer:
    """A decoder-only Transformer: embedding and learned positions, pre-norm blocks of causal attention and MLP, a norm, an untied head.

    Nothing has a bias. q, k and v are one product (hidden → 3·hidden), and so are SwiGLU's gate and up (hidden → 2·feedforward).
    `attention`: F.scaled_dot_product_attention, or matmul, softmax, matmul. Raises ValueError where heads do not divide hidden.
    """

    LOOKUPS: ClassVar[tuple[str, ...]] = ("embedding.weight", "positions.weight")  # tables whose rows are picked, not summed

    vocab: int
    layers: int
    hidden: int
    heads: int
    feedforward: int
    activation: Literal["swiglu", "gelu"]
    norm: Literal["rmsnorm", "layernorm"]
    context: int  # positions
    attention: Literal["sdpa", "plain"] = "sdpa"

    def __post_init__(self) -> None:
        if self.hidden % self.heads:
            raise ValueError(f"{self.heads} heads do not divide hidden {self.hidden}")

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
            "attention.qkv.weight": (3 * h, h),
            "attention.out.weight": (h, h),
            "mlp_norm.weight": (h,),
            "mlp.up.weight": (self.up, h),
            "mlp.down.weight": (h, self.feedforward),
        }

    @property
    def weights(self) -> dict[str, tuple[int, ...]]:
        """The whole model's, likewise."""
        h = self.hidden
        first = {"embedding.weight": (self.vocab, h), "positions.weight": (self.context, h)}
        blocks = {f"blocks.{i}.{name}": shape for i in range(self.layers) for name, shape in self.block_weights.items()}
        return {**first, **blocks, "norm.weight": (h,), "head.weight": (self.vocab, h)}

    @property
    def block_matrix_parameters(self) -> int:
        """4·hidden² of attention, 3·hidden·feedforward of SwiGLU or 2· of GELU."""
        return 4 * self.hidden**2 + (self.up + self.feedforward) * self.hidden

    @property
    def block_parameters(self) -> int:
        """Those, and two norms' weights."""
        return self.block_matrix_parameters + 2 * self.hidden

    @property
    def parameters(self) -> int:
        """Embedding, positions, blocks, last norm, head."""
        return (2 * self.vocab + self.context + 1) * self.hidden + self.layers * self.block_parameters

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
