"""Every key of a question, what it means, and the value that holds where a question does not give one."""

from __future__ import annotations

from dataclasses import dataclass

from kernels.gpus import DEFAULT_GPU
from kernels.napkin.setup import GPUS_PER_NODE, NDR_BYTES_PER_S
from kernels.parameter_copies import OPTIMIZER_STATES, SCHEMES
from reports.units import compact

ASKS = ("training_time", "largest_model")
CONVENTION = "convention"


@dataclass(frozen=True)
class Key:
    """`training`: only a question about training time uses it. `default`: as a question would write it; None where it must be given,
    "" where without it something is not counted, as `means` says."""

    name: str
    means: str
    default: str | None = ""
    training: bool = True


KEYS: dict[str, Key] = {
    key.name: key
    for key in (
        Key("ask", "what is asked: " + " or ".join(ASKS), None, False),
        Key("gpus", "how many GPUs", None, False),
        Key(
            "gpu",
            "their kind: a name in configs/gpus, or such a file's path; gives memory, peaks and node links",
            DEFAULT_GPU,
            False,
        ),
        Key("scheme", f"bytes a parameter: {', '.join(SCHEMES)}, or {{weights, gradients, master, state}}", "mixed", False),
        Key("optimizer", f"what it keeps a parameter: {', '.join(f'{n} {c}' for n, c in OPTIMIZER_STATES.items())}", "adamw", False),
        Key("zero", "what replicas share: 0 nothing, 1 optimizer state, 2 and gradients, 3 and weights", "0", False),
        Key("reserve", "bytes of each GPU kept free: CUDA context, fragmentation, what else is not counted", "0", False),
        Key("parallel.tensor", "GPUs among which each layer is divided", "1", False),
        Key("parallel.pipeline", "stages into which the layers are divided", "1", False),
        Key("model", "parameters: a number, or a model of configs/models, whose layers are summed (no embedding table)", None),
        Key("tokens", "how many tokens are trained on", None),
        Key("mfu", "model FLOPs utilization: a number, or {measured: RUN_DIR} with impl, precision, tokens (rows of a layer)", None),
        Key("mfu.measured", "a run directory, seen from where the command runs, with the model's layers as matmuls"),
        Key("mfu.impl", "the implementation whose rows count", "torch"),
        Key("mfu.precision", "the precision whose rows count", "bf16"),
        Key("mfu.tokens", "the rows' m; without it, the largest at which all layers were timed"),
        Key("peak", f"what the MFU is a fraction of: the GPU's dense peak in a precision, or {CONVENTION}: 1979e12/2 whatever GPU", "bf16"),
        Key("architecture.layers", "Transformer layers of a model given by number; without it activations are not counted"),
        Key("architecture.d_model", "its hidden size"),
        Key("architecture.heads", "its attention heads"),
        Key("batch.sequence", "tokens in a sequence; without a batch neither communication nor activations are counted"),
        Key("batch.sequences", "sequences in one optimizer step, over all GPUs"),
        Key("batch.micro", "sequences that a replica works on at once", "1"),
        Key("parallel.sequence", "sequence parallelism in the tensor-parallel group: true or false", "false"),
        Key("recompute", "activations computed again in backward: none, selective (attention), full (all but layers' inputs)", "none"),
        Key("links.node", "bytes/s of a GPU to its node's others, one direction; without it, the GPU's file says (NVLink 4: 450e9)"),
        Key("links.network", "bytes/s of a GPU out of its node, one direction: InfiniBand NDR, 400 Gb/s", compact(NDR_BYTES_PER_S)),
        Key("links.gpus_per_node", "GPUs in a node (DGX and HGX H100: 8)", str(GPUS_PER_NODE)),
        Key("overlap", "fraction of the replicas' traffic that goes on while the GPU computes", "0"),
    )
}


def names(ask: str, group: str = "") -> tuple[str, ...]:
    """Keys that a question of this kind may have, of the whole or of a group such as `batch`."""
    prefix = f"{group}." if group else ""
    usable = [key.name for key in KEYS.values() if ask != "largest_model" or not key.training]
    return tuple(dict.fromkeys(name.removeprefix(prefix).split(".")[0] for name in usable if name.startswith(prefix)))
