"""Every key of a question, what it means, which questions take it, and the value that holds where a question does not give one."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.gpus import DEFAULT_GPU
from kernels.models.architecture_yaml import FIELDS
from kernels.napkin.memory import optimizer_names
from kernels.napkin.setup import GPUS_PER_NODE
from kernels.parameter_copies import SCHEMES

ASKS = {
    "training_time": "how long a training run takes",
    "largest_model": "the largest model whose state fits",
    "memory": "bytes of a GPU while a model trains, term by term",
    "gpus": "how many GPUs finish a run in so many days",
    "tokens": "how many tokens a model sees in so many days",
    "mfu": "the MFU and HFU of a run that was made",
    "inference": "memory, batch and tokens/s of serving a model",
    "checkpoint": "size of a checkpoint, and time to write it",
    "cost": "money and energy of a training run",
}
CONVENTION = "convention"
TIMED = ("training_time", "gpus", "tokens", "cost")  # what has an MFU and links
TRAINS = (*TIMED, "memory", "largest_model")
COUNTS = (*TIMED, "mfu")  # what counts FLOPs
SIZED = (*COUNTS, "memory", "inference", "checkpoint")  # what has a model
BYTES: dict[str, float] = {"fp32": 4, "fp16": 2, "bf16": 2, "fp8_e4m3": 1, "fp8_e5m2": 1, "int8": 1, "int4": 0.5}  # of a served element
ADAPTED = {"bf16": 2.0, "nf4": 4.127 / 8}  # Dettmers et al. 2023, "QLoRA", section 3: 4 bits, and 0.127 of quantised scales
COUNTED = ("total", "matmul", "non_embedding")


@dataclass(frozen=True)
class Key:
    """`asks`: the questions that take it; `needed`: those that cannot do without. `default`: as a question would write it; "" where
    there is none, and `means` says what is then not counted."""

    name: str
    means: str
    default: str = ""
    asks: tuple[str, ...] = TIMED
    needed: tuple[str, ...] = ()


def _architecture() -> list[Key]:
    named = {"layers", "d_model", "heads"}
    return [
        Key(
            f"architecture.{name}",
            field.means + ("; for a model given by number, without which activations and attention are not counted" * (name == "layers")),
            "" if name in named else field.default,
            SIZED,
        )
        for name, field in FIELDS.items()
    ]


EVERY = tuple(ASKS)
KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        Key("ask", f"the question: {', '.join(ASKS)}", asks=EVERY, needed=EVERY),
        Key(
            "gpus",
            "how many GPUs (inference: that share the model; 1 where it is not given)",
            asks=tuple(ask for ask in EVERY if ask not in ("gpus", "checkpoint")),
            needed=("training_time", "largest_model", "memory", "tokens", "mfu", "cost"),
        ),
        Key(
            "gpu",
            "their kind: a name in configs/gpus, or the path of a file in that format; gives memory, peaks and links",
            DEFAULT_GPU,
            EVERY,
        ),
        Key(
            "memory",
            "how much memory a GPU has: datasheet, or board (what its driver reports, where configs/gpus has it)",
            "datasheet",
            (*TRAINS, "inference"),
        ),
        Key(
            "scheme", f"bytes a parameter: {', '.join(SCHEMES)}, or {{weights, gradients, master, state}}", "mixed", (*TRAINS, "checkpoint")
        ),
        Key("optimizer", f"state that it keeps for each parameter: {', '.join(optimizer_names())}", "adamw", (*TRAINS, "checkpoint")),
        Key(
            "zero", "state that GPUs with the same weights share: 0 nothing, 1 optimizer state, 2 and gradients, 3 and weights", "0", TRAINS
        ),
        Key(
            "reserve",
            "bytes of each GPU kept free: CUDA context, fragmentation, and everything else not counted",
            "0",
            (*TRAINS, "inference"),
        ),
        Key("parallel.tensor", "GPUs among which each layer is divided", "1", TRAINS),
        Key(
            "parallel.pipeline",
            "stages into which the layers are divided; the first ones have one more where they do not divide",
            "1",
            TRAINS,
        ),
        Key("parallel.virtual", "chunks of layers that each stage has (interleaved pipeline)", "1", TRAINS),
        Key("parallel.schedule", "of the pipeline: 1f1b, zb_h1, zb_h2 (zero bubble)", "1f1b", TRAINS),
        Key("parallel.sequence", "sequence parallelism in the tensor-parallel group: true or false", "false", TRAINS),
        Key("parallel.context", "GPUs among which each sequence is divided", "1", TRAINS),
        Key("parallel.expert", "GPUs among which a layer's experts are divided", "1", TRAINS),
        Key("parallel.hsdp", "GPUs among which ZeRO shares (hybrid sharding); without it, all that hold the same weights", "", TRAINS),
        Key(
            "model",
            "a number of parameters, a model of configs/models, or the path of a Hugging Face config.json; without it, the architecture's",
            asks=SIZED,
        ),
        *_architecture(),
        Key(
            "parameters",
            "parameters that the N of 6·N counts: total (only the experts that a token passes), matmul (without the embedding table), "
            "non_embedding (without head too: Kaplan et al. 2020)",
            "total",
            COUNTS,
        ),
        Key(
            "adapter.rank",
            "LoRA: the rank of adapters on every linear layer but the head; all other weights take no gradient",
            "",
            SIZED[:-2],
        ),
        Key("adapter.weights", f"the weights that take no gradient: {' or '.join(ADAPTED)} (QLoRA)", "bf16", SIZED[:-2]),
        Key(
            "tokens",
            "how many tokens are trained on",
            asks=("training_time", "gpus", "cost", "mfu"),
            needed=("training_time", "gpus", "cost"),
        ),
        Key("days", "how long the run may take", asks=("gpus", "tokens"), needed=("gpus", "tokens")),
        Key("mfu", "model FLOPs utilization: a number, or {measured: RUN_DIR} with impl, precision, tokens (rows of a layer)"),
        Key("mfu.measured", "a run directory, seen from where the command runs, with the model's layers as matmuls"),
        Key("mfu.impl", "the implementation whose rows are used", "torch"),
        Key("mfu.precision", "the precision whose rows are used", "bf16"),
        Key("mfu.tokens", "the rows' m; without it, the largest at which all layers were timed"),
        Key("hfu", "instead of mfu: hardware FLOPs utilization, which also counts recomputed FLOPs"),
        Key(
            "peak",
            f"peak that MFU and HFU refer to: the GPU's dense peak in a precision, or {CONVENTION}: 1979e12/2 on every GPU",
            "bf16",
            (*COUNTS, "inference"),
        ),
        Key("tokens_per_s", "mfu: tokens a second of all GPUs", asks=("mfu",)),
        Key("step_s", "mfu: seconds of an optimizer step; needs batch.sequence and batch.sequences", asks=("mfu",)),
        Key("gpu_hours", "mfu: GPU-hours that the tokens took; needs tokens", asks=("mfu",)),
        Key(
            "batch.sequence",
            "tokens in a sequence; without a batch neither attention, communication nor activations are counted",
            asks=(*TRAINS, "mfu"),
        ),
        Key(
            "batch.sequences",
            "sequences in one optimizer step, over all GPUs (memory, largest_model: one micro-batch a replica where it is not given)",
            asks=(*TRAINS, "mfu"),
        ),
        Key("batch.micro", "sequences that a replica works on at once", "1", TRAINS),
        Key("attention", "how attention is computed: flash, or plain, which keeps the squares of scores", "flash", (*TRAINS, "mfu")),
        Key("attention_flops", "which products with the scores count: causal (half of the square) or full", "causal", COUNTS),
        Key("loss", "whole: logits in fp32, three copies at the fullest moment; fused: never whole", "whole", TRAINS),
        Key(
            "recompute",
            "activations computed again in backward: none, selective (plain attention's squares), full (all but layers' inputs)",
            "none",
            (*TRAINS, "mfu"),
        ),
        Key("links.node", "bytes/s of a GPU to its node's others, one direction; default: from the GPU's file (NVLink 4: 450e9)"),
        Key("links.network", "bytes/s of a GPU out of its node, one direction; default: from the GPU's file (H100: NDR, 50e9)"),
        Key("links.gpus_per_node", "GPUs in a node", str(GPUS_PER_NODE)),
        Key("overlap", "fraction of the traffic between GPUs with the same weights that overlaps with computing", "0"),
        Key("prompt", "inference: tokens of each prompt", asks=("inference",), needed=("inference",)),
        Key("generated", "inference: tokens written after each prompt", asks=("inference",), needed=("inference",)),
        Key("batch", "inference: sequences at once", "1", ("inference",)),
        Key("kv_precision", f"inference: format of keys and values: {', '.join(BYTES)}", "bf16", ("inference",)),
        Key("weight_precision", f"inference: format of the weights: {', '.join(BYTES)}", "bf16", ("inference",)),
        Key("write_bytes_per_s", "checkpoint: bytes/s that the storage takes", asks=("checkpoint",), needed=("checkpoint",)),
        Key("usd_per_gpu_hour", "cost: price of a GPU per hour", asks=("cost",)),
        Key("watts", "cost: power of a GPU, with its share of node and cooling if they should count", asks=("cost",)),
    )
}


def names(ask: str, group: str = "") -> tuple[str, ...]:
    """Keys that a question of this kind may have, of the whole or of a group such as `batch`; of any kind where `ask` is ""."""
    prefix = f"{group}." if group else ""
    usable = [key.name for key in KEYS.values() if not ask or ask in key.asks]
    return tuple(dict.fromkeys(name.removeprefix(prefix).split(".")[0] for name in usable if name.startswith(prefix)))
