"""Options and small sizes that the ops that run a Transformer share. No torch here."""

from __future__ import annotations

from collections.abc import Mapping

from kernels.models.config import Transformer
from kernels.op import Dims, Option

ATTENTION = Option(
    ("sdpa", "plain"),
    "sdpa",
    "How attention is computed: by F.scaled_dot_product_attention, or with scores and probabilities in memory.",
)
POSITION = Option(
    ("none", "rope"),
    "none",
    "How attention knows positions. With rope each block rotates q and k by their position, and a model has no table of positions; with "
    "none a block knows the order by its mask alone, and a model adds learned positions to its embedding.",
)
HEAD = Option(
    ("untied", "tied"),
    "untied",
    "Whether a model's head has a weight of its own or uses the embedding's table, whose gradient is then the sum of both uses.",
)
SMALL_GROUP, SMALL_KV_HEADS = 3, 2  # together more heads than a size without groups has, so that a wrong head of k is noticed


def small_attention(config: Transformer, dims: Dims, most: Mapping[str, int], depth: int) -> dict[str, int]:
    """Dims of at most the sizes `most`, heads of at most `depth` columns; of grouped heads at least two groups where there were two."""
    small = {name: min(size, most.get(name, size)) for name, size in dims.items()}
    if "kv_heads" in dims:
        small["kv_heads"] = min(config.key_heads, SMALL_KV_HEADS)
        small["heads"] = small["kv_heads"] * min(config.group, SMALL_GROUP)
    columns = min(config.depth, depth)
    small["hidden"] = small["heads"] * (columns - columns % 2 if config.position == "rope" else columns)
    return small
