"""Bytes on each GPU while a model trains: weights, gradients, optimizer, activations, logits, working set; and what fits."""

from __future__ import annotations

from dataclasses import dataclass, fields, replace

from kernels.models.architecture import Architecture
from kernels.napkin.setup import Attention, Batch, Loss, Recompute, Split
from kernels.parameter_copies import EIGHT_BIT_OPTIMIZERS, EIGHT_BITS, OPTIMIZER_STATES, Scheme

FP32 = 4  # bytes
LOGIT_COPIES = 3  # in fp32: log-probabilities from forward, their gradient and the logits' in backward (kernels/training/memory.py)
GATHERED = 2  # layers whose divided weights are whole at a time: the one that runs and the next, fetched ahead


@dataclass(frozen=True)
class Memory:
    """Bytes: of one parameter, or on one GPU."""

    weights: float
    gradients: float
    optimizer: float
    activations: float = 0.0  # kept from forward for backward
    logits: float = 0.0  # of the loss, in fp32
    working: float = 0.0  # the largest layer's temporaries, and what full recomputation makes again
    gathered: float = 0.0  # ZeRO 2 and 3: whole gradients, and weights, of the layers at work

    @property
    def total(self) -> float:
        return sum(getattr(self, field.name) for field in fields(self))

    @property
    def state(self) -> float:
        """Bytes that stay from step to step, gradients included."""
        return self.weights + self.gradients + self.optimizer

    def __add__(self, other: Memory) -> Memory:
        return Memory(*(getattr(self, field.name) + getattr(other, field.name) for field in fields(self)))


def optimizer_names() -> tuple[str, ...]:
    """Optimizers that a question can name."""
    return (*OPTIMIZER_STATES, *EIGHT_BIT_OPTIMIZERS)


def optimizer_values(optimizer: str, scheme: Scheme) -> tuple[float, ...]:
    """Bytes of each value that an optimizer keeps of a parameter."""
    kind = EIGHT_BIT_OPTIMIZERS.get(optimizer, optimizer)
    return (EIGHT_BITS if optimizer in EIGHT_BIT_OPTIMIZERS else scheme.state,) * OPTIMIZER_STATES[kind]


def parameter_bytes(scheme: Scheme, optimizer: str) -> Memory:
    """Bytes of one parameter, all copies. AdamW: fp32 4 + 4 + (4 + 4) = 16, mixed 2 + 2 + (4 + 4 + 4) = 16."""
    return Memory(scheme.weights, scheme.gradients, scheme.master + sum(optimizer_values(optimizer, scheme)))


def state_on_gpu(parameters: float, each: Memory, split: Split, sharers: float) -> Memory:
    """Bytes on one GPU, activations left out: its share of the parameters, of which ZeRO divides parts among `sharers`.

    Rajbhandari et al. 2020, figure 1 and section 5: with Ψ parameters, K bytes of optimizer state and N replicas, mixed precision takes
    (2 + 2 + K)·Ψ; stage 1 (2 + 2 + K/N)·Ψ; stage 2 (2 + (2 + K)/N)·Ψ; stage 3 (2 + 2 + K)·Ψ/N.
    """
    return shared_state(parameters / split.share_gpus, each, split.zero, sharers)


def shared_state(share: float, each: Memory, zero: int, sharers: float) -> Memory:
    """The same of a GPU's own share of the parameters."""

    def part(bytes_: float, from_stage: int) -> float:
        return bytes_ * share / (sharers if zero >= from_stage else 1)

    return Memory(part(each.weights, 3), part(each.gradients, 2), part(each.optimizer, 1))


def expert_state(experts: float, each: Memory, split: Split, sharers: float) -> Memory:
    """Bytes of routed experts' parameters: divided among expert-parallel GPUs too, so that fewer GPUs hold the same ones."""
    return shared_state(experts / split.share_gpus / split.expert, each, split.zero, max(1.0, sharers / split.expert))


def activations_of_layer(
    a: Architecture,
    scheme: Scheme,
    split: Split,
    sequence: float,
    recompute: Recompute = "none",
    attention: Attention = "flash",
) -> float:
    """Bytes a token that a layer keeps for the backward pass on one GPU of its tensor-parallel group.

    What products read and what nonlinear functions need, in the scheme's bytes an element: the inputs of both norms; the inputs of the
    products, q, k, v and what attention puts out; the inputs and outputs of the activation function, and of a gate's product; with
    dropout a byte of mask behind attention and MLP. Tensor parallelism divides what lies between the products, sequence parallelism the
    rest too. Plain attention keeps probabilities (with dropout a mask and the dropped ones) of every pair, flash attention a
    log-sum-exp a head. `selective` keeps nothing of plain attention's squares, `full` only the layer's input.

    A 16-bit GPT block with dropout and plain attention is Korthikanti et al. 2022, "Reducing Activation Recomputation in Large
    Transformer Models", eq. 1 to 4 and table 2: h·(10 + 24/t + 5·a·s/(h·t)) a token, by sequence parallelism (34 + 5·a·s/h)/t.
    """
    whole = split.tensor if split.sequence else 1
    if recompute == "full":
        return a.d_model * scheme.residual / whole
    outside = a.norms * a.d_model * scheme.residual + 2 * a.d_model * scheme.activation + 2 * a.d_model * a.dropout
    attended = a.heads * (a.key_dim + a.value_dim) + a.kv_heads * (a.key_dim + a.value_dim) + a.q_rank + a.kv_rank + a.rope_dim
    inside = attended * scheme.activation + _mlp_kept(a, scheme)
    if attention == "flash":
        inside += FP32 * a.heads
    elif recompute == "none":
        inside += a.heads * sequence * (2 * scheme.activation + 1 if a.dropout else scheme.activation)
    return outside / whole + inside / split.tensor


def _mlp_kept(a: Architecture, scheme: Scheme) -> float:
    """Bytes a token between an MLP's products, of the model's usual layer; of experts those that a token passes, and their inputs."""
    wide = 4 if a.gated else 2  # gate, up, activation(gate), product; or input and output of the activation
    if not a.experts:
        return wide * a.d_ff * scheme.activation
    sent = a.active_experts * (a.d_model + wide * a.d_expert)
    return (sent + wide * a.d_shared) * scheme.activation + a.experts * FP32  # the router's scores


def working_of_layer(a: Architecture, scheme: Scheme, split: Split, tokens: float, sequence: float, attention: Attention) -> float:
    """Bytes of a layer's temporaries in backward, at its widest, the MLP's middle: gradients of both halves, two of the residual, and a
    weight's gradient before and after its cast (as kernels/training/memory.py); of plain attention gradients of its squares."""
    width = max(a.d_ff if a.layers > a.expert_layers else 0, a.active_experts * a.d_expert + a.d_shared)
    matrix = (2 if a.gated else 1) * max(a.d_ff if a.layers > a.expert_layers else 0, a.d_expert, a.d_shared) * a.d_model
    between = 2 * tokens * width * scheme.activation / split.tensor
    outside = 2 * tokens * a.d_model * scheme.residual / (split.tensor if split.sequence else 1)
    squares = 2 * tokens * a.heads * sequence * scheme.activation / split.tensor if attention == "plain" else 0.0
    return max(between, squares) + outside + matrix * (scheme.gradients + scheme.lowered) / split.tensor


@dataclass(frozen=True)
class Step:
    """The step that trains, as far as memory depends on it."""

    architecture: Architecture
    scheme: Scheme
    batch: Batch
    recompute: Recompute = "none"
    attention: Attention = "flash"
    loss: Loss = "whole"


@dataclass(frozen=True)
class Fullest:
    """A GPU's memory at its fullest moment, and where and when that is."""

    memory: Memory
    stage: str  # "", or of a pipeline "first stage" or "last stage"
    moment: str


def fullest(state: Memory, step: Step, split: Split, gpus: float, trainable: float = 1.0) -> Fullest:
    """The fullest of three moments, on the fullest of a pipeline's first and last stage.

    Gradients are there from the first micro-batch on, so where there is only one of them on one GPU they come as activations go.
    `trainable`: the part of the parameters that has gradients.
    """
    rounds = max(1.0, step.batch.sequences / (split.replicas(gpus) * step.batch.micro))
    stages = [("", True, rounds)] if split.pipeline == 1 else [("first stage", False, rounds), ("last stage", True, rounds)]
    found = [one for name, last, of in stages for one in _moments(state, step, split, gpus, of, name, last, trainable)]
    return max(found, key=lambda one: one.memory.total)


def _moments(
    state: Memory, step: Step, split: Split, gpus: float, rounds: float, stage: str, last: bool, trainable: float
) -> list[Fullest]:
    a, scheme = step.architecture, step.scheme
    tokens = step.batch.micro * step.batch.sequence / split.context
    layers = split.stage_layers(a.layers)
    each = tokens * activations_of_layer(a, scheme, split, step.batch.sequence, step.recompute, step.attention)
    again = tokens * activations_of_layer(a, scheme, split, step.batch.sequence, "none", step.attention)
    whole = split.tensor if split.sequence else 1
    lowered = scheme.lowered * a.block_matrix_parameters / a.layers * layers / split.tensor
    head, logits = 0.0, 0.0
    if last:
        head = tokens * a.d_model * (scheme.residual + scheme.activation) / whole + scheme.lowered * a.vocab * a.d_model / split.tensor
        logits = tokens * a.vocab * FP32 * LOGIT_COPIES / split.tensor if step.loss == "whole" else 0.0
    kept = each * layers * (1.0 if last and split.pipeline > 1 else split.in_flight(rounds)) + lowered
    working = working_of_layer(a, scheme, split, tokens, step.batch.sequence, step.attention)
    working += again - each if step.recompute != "none" else 0.0
    gathered = _gathered(a, scheme, split, gpus, trainable)
    alone = gpus == 1 and rounds == 1
    grown = replace(state, gradients=0.0) if alone else state
    at_head = state.gradients * (a.head_parameters or a.embedding_parameters) / a.parameters if alone else state.gradients
    return [
        Fullest(replace(grown, activations=kept + head, logits=logits, gathered=gathered), stage, "at the loss"),
        Fullest(
            replace(state, gradients=at_head, activations=kept, working=working, gathered=gathered), stage, "in backward of the last layer"
        ),
        Fullest(
            replace(state, activations=each + lowered / layers if alone else kept, working=working, gathered=gathered),
            stage,
            "in backward of the first layer" if alone else "in backward of a layer",
        ),
    ]


def _gathered(a: Architecture, scheme: Scheme, split: Split, gpus: float, trainable: float) -> float:
    """Whole weights (stage 3) and gradients (from stage 2) of the layers at work, which other GPUs share."""
    if split.sharers(gpus) <= 1 or split.zero < 2:
        return 0.0
    experts = a.expert_parameters / split.expert
    layer = (a.block_matrix_parameters - a.expert_parameters + experts) / a.layers / split.tensor
    table = a.vocab * a.d_model / split.tensor
    return max(GATHERED * layer, layer + table) * ((split.zero == 3) * scheme.weights) + layer * scheme.gradients * trainable


def largest_parameters(free_bytes: float, each: Memory, split: Split, sharers: float) -> float:
    """Parameters whose state fills `free_bytes` of every GPU: the state is proportional to the parameters."""
    return free_bytes / state_on_gpu(1, each, split, sharers).total
