"""How many bytes eager PyTorch holds at most, besides operands, during a pass: allocations and releases one after the other.

Each function lists what one operation allocates (+) and releases (−), forwards or backwards, in bytes and in the order in which PyTorch
does; the peak is the highest partial sum. A CPU and a GPU differ in their norms. LayerNorm is one kernel on both, with statistics in the
precision on a CPU and in fp32 on a GPU. RMSNorm is one kernel with fp32 statistics on a GPU; on a CPU it is several, which pass fp32
copies to one another and keep some of them.

Left out are the numbers that ATen makes tensors of, and kernels' scratch: a CPU's tiles of the fused attention and sums of LayerNorm's
gradient; a GPU's accumulators of the fused attention's backward pass, the sorting of tokens for the embedding's gradient, cuBLAS's
workspaces. On an H100 a block of 4x2048x2048x16x5504 in fp32 held 1 MiB more than this says, which is what the allocator rounds a weight
of 43 MiB up by (kernels/allocator.py).
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import accumulate

from kernels.models import activations
from kernels.models.config import Transformer
from kernels.support import DeviceKind

FP32, FP64 = 4, 8  # bytes
LOSS = 4  # a scalar in fp32: the loss, and the weights' sum that is kept to divide its gradient by


@dataclass(frozen=True)
class Pass:
    """Sizes in bytes. `frees`: the backward pass releases what the forward pass kept; else it is to be repeated."""

    config: Transformer
    batch: int
    sequence: int
    size: int  # of an element
    frees: bool
    device: DeviceKind

    @property
    def tokens(self) -> int:
        return self.batch * self.sequence

    @property
    def x(self) -> int:
        """An activation of hidden size."""
        return self.tokens * self.config.hidden * self.size

    @property
    def kv(self) -> int:
        """k or v, of all tokens."""
        return self.tokens * self.config.kv_width * self.size

    @property
    def product(self) -> int:
        """q, k and v side by side."""
        return self.x + 2 * self.kv

    @property
    def rope(self) -> bool:
        return self.config.position == "rope"

    @property
    def copied(self) -> bool:
        """Whether k and v are copied for each head of q."""
        return activations.copied(self.config, self.size)

    @property
    def tables(self) -> int:
        """rope's cos and sin."""
        return activations.tables(self.config, self.sequence, self.size)

    @property
    def wide(self) -> int:
        """An activation of feedforward size."""
        return self.tokens * self.config.feedforward * self.size

    @property
    def scores(self) -> int:
        return self.tokens * self.config.heads * self.sequence * self.size

    @property
    def statistics(self) -> int:
        """What a norm keeps of each token: mean and 1/deviation, or 1/√ of the mean of squares in fp32."""
        each = self.size if self.device == "cpu" else FP32
        return self.tokens * (2 * each if self.config.norm == "layernorm" else FP32)

    @property
    def sums(self) -> int:
        """Log-sum-exps of the fused attention."""
        return self.tokens * self.config.heads * FP32

    @property
    def fused_norm(self) -> bool:
        """Whether a norm is one kernel, forwards and backwards."""
        return self.config.norm == "layernorm" or self.device == "cuda"

    @property
    def keeps_input(self) -> bool:
        """Whether a norm keeps its input itself, not a copy in fp32."""
        return self.fused_norm or self.size == FP32

    @property
    def copies(self) -> bool:
        """Whether matmul must copy q, k and v, where they are columns of larger tensors, to multiply them head by head."""
        return self.batch > 1 and self.config.heads > 1

    def kept(self, bytes_: int) -> int:
        """The release of something that the forward pass kept."""
        return -bytes_ if self.frees else 0


def norm_forward(p: Pass) -> list[int]:
    """The result, and what is kept besides the input."""
    if p.fused_norm:
        return [p.x, p.statistics]
    x = p.tokens * p.config.hidden * FP32
    normalise = [x, p.statistics, -x, x]  # squares, 1/√ of their mean, normalised
    return [*normalise, x] if p.size == FP32 else [x, *normalise, x, p.x, -x]  # 16 bits: through an fp32 copy, which is kept


def norm_backward(p: Pass, residual: list[int]) -> list[int]:
    """From the gradient of its result, which is released, to that of its input and of the weight. `residual`: what adding the former
    to the residual's gradient allocates and releases."""
    weight, kept_input = p.config.hidden * p.size, p.kept(p.x)
    if p.fused_norm:
        return [p.x, weight, p.kept(p.statistics), -p.x, kept_input, *residual]
    x = p.tokens * p.config.hidden * FP32
    through_scale, through_mean = [x, x, -x, -x], [x, x, x, x, -x, -x, -x, -x]
    statistics = p.kept(p.statistics)
    if p.size == FP32:
        return [x, x, weight, -x, -x, p.kept(x), *through_scale, statistics, *residual, *through_mean, kept_input]
    start = [x, -p.x, x, x, -x, weight, p.kept(x), -x]
    return [*start, *through_scale, statistics, *through_mean, p.kept(x), p.x, -x, *residual]


def attention_forward(p: Pass) -> list[int]:
    """From the normalised input, which stays, to the output."""
    turned = p.x + p.kv
    product = [p.product, *([turned, turned, -turned] if p.rope else [])]
    held = p.product if not p.rope else p.product + turned  # by views of q, k and v
    if p.copied:
        product += [p.x, p.x]
    if p.config.attention == "sdpa":
        return [*product, p.x, p.sums, p.x, *([-p.product] if p.rope and p.copied else [])]
    mask = p.sequence**2 * p.size
    each = [] if p.copied else [p.x]  # a copy of k or v
    q = [p.x, p.x, *each, p.scores, -p.x] if p.copies else [p.x, p.scores]  # scaled, then copied, and k
    v = [*each, p.x, -mask, -p.scores, p.x, -p.x] if p.copies else [p.x, -mask, -p.scores]  # copied; result, and as (B, S, H)
    return [*product, mask, *q, p.scores, *v, p.x, *([-held] if p.copies or p.copied else [])]


def attention_backward(p: Pass, last: bool) -> list[int]:
    """From the gradient of the output, which stays, to that of the input. `last`: no other block needs rope's tables."""
    x, kv, weight = p.x, p.kv, p.config.hidden**2 * p.size
    turned = x + kv
    events = [weight, x]
    if p.config.attention == "sdpa":
        shared = x if p.copied else kv
        events += [x, shared, shared, -x, p.kept(p.sums + x + p.tokens * activations.heads_held(p.config, p.copied) * p.size)]
    else:
        own = p.kept(x) if p.copies or p.copied else 0
        k, v = (own, own) if own or not p.frees else ((p.kept(turned), p.kept(p.product)) if p.rope else (p.kept(p.product), 0))
        events += [p.kept(x), *([x, -x] if p.copies else []), x, p.scores, -x, v]
        events += [p.scores, -p.scores, p.kept(p.scores), x, x, -p.scores, k, p.kept(x), x, -x]
    if p.copied:
        events += [kv, -x, kv, -x]  # sums over the heads that share one
    if p.rope:  # q and k side by side; times sin, which is added to what is multiplied by cos
        table = p.kept(p.tables // 2) if last else 0
        events += [turned, -turned, turned, table, turned, -turned, turned, table, -turned, -turned]
    products = [p.product, -p.product, p.product, -p.product]  # q, k and v side by side, and by token
    return [*events, *products, p.config.qkv * p.config.hidden * p.size, x, -p.product, p.kept(x)]


def mlp_forward(p: Pass) -> list[int]:
    """From the normalised input, which stays, to the output."""
    return [2 * p.wide, p.wide, p.wide, p.x] if p.config.activation == "swiglu" else [p.wide, p.wide, p.x]


def mlp_backward(p: Pass) -> list[int]:
    """From the gradient of the output, which stays, to that of the input."""
    w, weight = p.wide, p.config.hidden * p.config.feedforward * p.size
    events = [weight, w, p.kept(w)]
    if p.config.activation == "gelu":
        return [*events, w, p.kept(w), -w, weight, p.x, -w, p.kept(p.x)]
    return [*events, w, w, p.kept(w), -w, w, -w, p.kept(2 * w), 2 * w, -w, -w, 2 * weight, p.x, -2 * w, p.kept(p.x)]


def rotation(p: Pass) -> list[int]:
    """rope's tables: angles and what they come from in fp64, cos, then sin."""
    if not p.rope:
        return []
    angles, half, positions = (n * FP64 for n in (p.sequence * p.config.depth, p.config.depth // 2, p.sequence))
    table = p.tables // 2
    start = [half, positions, half, 2 * half, -half, angles, -2 * half]
    return [*start, angles, table, -angles, angles, table, -angles, -positions, -half, -angles]


def block_forward(p: Pass) -> list[int]:
    """To the output; the input is the caller's."""
    residual = [p.x, -p.x]
    events = [*norm_forward(p), *attention_forward(p), *residual, *norm_forward(p), *mlp_forward(p), *residual]
    return events if p.keeps_input else [*events, -p.x]  # the sum in the middle


def block_backward(p: Pass, given: bool, last: bool) -> list[int]:
    """From the gradient of the output to that of the input. `given`: both ends are the caller's, and stay; else they are released."""
    new, in_place = [p.x, -p.x], [-p.x]  # a gradient that no one else holds is added to where it lies
    first = [*mlp_backward(p), *norm_backward(p, new if given else in_place)]
    events = [*first, *attention_backward(p, last), *norm_backward(p, in_place)]
    return [*events, -p.kept(p.x)] if given and p.keeps_input else events


def head_forward(p: Pass) -> list[int]:
    """Last norm, logits, loss."""
    logits, wide = (p.tokens * p.config.vocab * s for s in (p.size, FP32))
    cast = [wide] if p.size < FP32 else []
    last = [] if p.keeps_input else [-p.x]
    return [*norm_forward(p), logits, *last, *cast, wide, LOSS, LOSS, *(-c for c in cast), -logits]


def head_backward(p: Pass) -> list[int]:
    """From the loss to the gradient of the last block's output."""
    logits, wide = (p.tokens * p.config.vocab * s for s in (p.size, FP32))
    cast = [logits, -wide] if p.size < FP32 else []
    events = [wide, wide, -wide, p.kept(wide), *cast, p.config.vocab * p.config.hidden * p.size, p.x, -logits, p.kept(p.x)]
    return [*events, *norm_backward(p, [])]


def embedding_backward(p: Pass) -> list[int]:
    """The positions' gradient, summed over the batch and put in a table's place, and the embedding's, which is added to a tied head's."""
    positions, table = (rows * p.config.hidden * p.size for rows in (p.sequence, p.config.vocab))
    summed = positions if p.batch > 1 else 0
    learned = [] if p.rope else [summed, positions, -summed]
    return [*learned, table, -p.x, *([table, -2 * table] if p.config.head == "tied" else [])]


def peak(config: Transformer, scope: str, which: str, batch: int, sequence: int, size: int, device: DeviceKind) -> int:
    """Bytes of a forward pass, of a backward pass (with what the forward pass has kept), or of both."""
    p = Pass(config, batch, sequence, size, frees=which == "both", device=device)
    return max(accumulate(events(p, scope, which)))


def events(p: Pass, scope: str, which: str) -> list[int]:
    """A backward pass alone starts with what the forward pass has left."""
    c = p.config
    if scope == "block":
        forward, backward = [*rotation(p), *block_forward(p)], block_backward(p, given=True, last=True)
        given = p.x if p.keeps_input else 0
        held = p.x - given + activations.block(c, p.batch, p.sequence, p.size, p.device) + p.tables
    else:
        a_block = block_forward(p) if p.keeps_input else [*block_forward(p), -p.x]
        first = [p.x, *rotation(p)] if p.rope else [p.x, p.x, -p.x]
        forward = [*first, *a_block * c.layers, *head_forward(p)]
        others, first_block = block_backward(p, given=False, last=False), block_backward(p, given=False, last=True)
        backward = [*head_backward(p), *others * (c.layers - 1), *first_block, *embedding_backward(p)]
        held = 2 * LOSS + activations.model(c, p.batch, p.sequence, p.size, p.device)
    return {"forward": forward, "backward": [held, *backward], "both": forward + backward}[which]
