"""Parts of a question read out of its YAML, each with its contradictions: model, division, batch, MFU, links, and what an ask needs."""

from __future__ import annotations

from functools import partial
from pathlib import Path

from benches.sweep.shapes import find_model, made_model
from kernels.cost_model import MFU_PEAK_FLOPS_PER_S
from kernels.gpus import Gpu
from kernels.models.architecture import Architecture
from kernels.models.architecture_yaml import FIELDS, read_architecture, spelled
from kernels.napkin.setup import Attention, Batch, Links, Loss, Recompute, Schedule, Split
from kernels.precisions import PRECISIONS
from kernels.strict_yaml.nodes import Map, Node
from kernels.strict_yaml.problems import Problems
from kernels.strict_yaml.values import chosen, integer, number, word
from reports.napkin.asked import Adapter, Price, Recipe, Run, Serving, Subject, Timing
from reports.napkin.keys import ADAPTED, BYTES, CONVENTION, COUNTED, KEYS, TIMED
from reports.napkin.measured import Measured, MeasuredError, layer_times
from reports.napkin.reader import Assumption, Reader, looks_like_a_number, one_of
from reports.units import compact

MAX_GPUS = 10_000_000
RECOMPUTE: dict[str, Recompute] = {"none": "none", "selective": "selective", "full": "full"}
ATTENTION: dict[str, Attention] = {"flash": "flash", "plain": "plain"}
LOSS: dict[str, Loss] = {"whole": "whole", "fused": "fused"}
SCHEDULES: dict[str, Schedule] = {"1f1b": "1f1b", "zb_h1": "zb_h1", "zb_h2": "zb_h2"}
FRACTION = partial(number, high=1)


def read_split(root: Reader, gpus: int | None) -> Split | None:
    """Degrees that divide the GPUs; None where one is wrong, or the question is not about training."""
    part = root.part("parallel")
    part.known_keys()
    degree = partial(integer, high=MAX_GPUS)
    zero = root.value("zero", partial(integer, low=0, high=3))
    degrees = [part.value(key, degree) for key in ("tensor", "pipeline", "context", "expert", "virtual")]
    hsdp = part.value("hsdp", degree) or 0
    schedule, sequence = part.value("schedule", one_of(SCHEDULES)), part.value("sequence", _flag)
    tensor, pipeline, context, expert, virtual = (value or 1 for value in degrees)
    if zero is None or schedule is None or sequence is None or None in degrees:
        return None
    split = Split(tensor, pipeline, zero, sequence, context, expert, virtual, hsdp, SCHEDULES[schedule])
    problems, spot = root.problems, part.spot
    if virtual > 1 and pipeline == 1:
        problems.add(spot("virtual"), "parallel.virtual", "needs parallel.pipeline: a chunk is a part of a stage")
    if split.schedule != "1f1b" and pipeline == 1:
        problems.add(spot("schedule"), "parallel.schedule", f"{split.schedule} needs parallel.pipeline of 2 or more")
    if split.schedule != "1f1b" and virtual > 1:
        problems.add(spot("virtual"), "parallel.virtual", f"chunks are for 1f1b, not for {split.schedule}")
    if hsdp and zero == 0:
        problems.add(spot("hsdp"), "parallel.hsdp", "needs zero of 1 to 3: without it nothing is shared")
    if gpus and gpus % split.replica_gpus:
        by = "tensor · pipeline" + " · context" * (context > 1)
        problems.add(root.spot("gpus"), "gpus", f"{gpus} is not a multiple of {by} = {split.replica_gpus} GPUs a replica")
    elif gpus:
        holders = gpus // split.share_gpus
        for key, size in (("hsdp", hsdp), ("expert", expert)):
            if size > 1 and holders % size:
                problems.add(spot(key), f"parallel.{key}", f"{size} does not divide the {holders} GPUs that hold the same weights")
    return split


def _flag(node: Node, key: str, problems: Problems) -> bool | None:
    text = chosen(node, key, ("true", "false"), problems)
    return None if text is None else text == "true"


def read_subject(root: Reader, folder: Path) -> Subject | None:
    """The model of a name, a path or a number, with the architecture that belongs to it; None where it is wrong or not asked for."""
    if root.ask not in KEYS["model"].asks:
        return None
    given = root.node.items.get("model")
    own = _architecture(root)
    counted = root.value("parameters", one_of(COUNTED)) or "total"
    if given and not looks_like_a_number(given.value):
        name = root.optional("model", word)
        if "architecture" in root.node.items:
            root.problems.add(root.spot("architecture"), "architecture", f"leave it out: {name} has its own")
        model = find_model(name, folder, given.value.spot, "model", root.problems) if name else None
        found = _sized(model.name, model.architecture, None, counted) if model else None
        return Subject(*found, model.layers) if found and model else None
    number_ = root.optional("model", number) if given else None
    if given is None and "architecture" not in root.node.items:
        root.problems.add(root.node.spot, "model", f"missing: {KEYS['model'].means}")
    if given is None and own and not own.vocab:
        root.problems.add(root.spot("architecture"), "architecture.vocab", "missing: without `model` the parameters are the architecture's")
        return None
    if own is None and number_ is None:
        return None
    if counted != "total" and (own is None or not own.vocab):
        root.problems.add(root.spot("parameters"), "parameters", f"{counted} needs a model or an architecture with its vocabulary")
    if root.ask == "inference" and own is None:
        root.problems.add(root.spot("model"), "architecture", "missing: key and value cache depend on it")
    found = _sized("", own, number_, counted)
    return Subject(*found, made_model("", own).layers if own else ())


def _sized(name: str, own: Architecture | None, given: float | None, counted: str) -> tuple[str, float, float, float, Architecture | None]:
    """Name, total, active and counted parameters, and the architecture. A number stands for all three, but what it leaves out by name."""
    if own is None:
        return name, given or 0.0, given or 0.0, given or 0.0, None
    sizes = {"total": own.active_parameters, "matmul": own.multiplied_parameters}
    sizes["non_embedding"] = own.active_parameters - own.embedding_parameters - own.head_parameters
    if given is None:
        return name, own.parameters, own.active_parameters, sizes[counted], own
    if counted != "total":
        return name, given, given, sizes[counted], own
    active = given * own.active_parameters / own.parameters if own.experts else given
    return name, given, active, active, own


def _architecture(root: Reader) -> Architecture | None:
    """The `architecture` of a question, each key among the assumptions."""
    item = root.node.items.get("architecture")
    if item is None:
        return None
    if not isinstance(item.value, Map):
        root.part("architecture")
        return None
    found = read_architecture(item.value, "architecture.", root.problems)
    if found:
        values = dict(spelled(found))
        for key in FIELDS:
            if key in item.value.items:
                line = item.value.items[key].value.spot.line
                root.taken.append(_taken(f"architecture.{key}", str(values.get(key, getattr(found, key))), f"line {line}"))
            elif key in ("kv_heads", "head_dim", "d_ff", "vocab", "activation"):
                root.taken.append(_taken(f"architecture.{key}", str(getattr(found, key)), "default"))
    return found


def _taken(key: str, value: str, origin: str) -> Assumption:
    return Assumption(key, value.lower() if value in ("True", "False") else value, origin, KEYS[key].means)


def read_adapter(root: Reader, subject: Subject | None) -> Adapter | None:
    """LoRA's parameters: rank · (n + k) of every linear layer but the head (Hu et al. 2021, "LoRA", section 4.1)."""
    if "adapter" not in root.node.items or root.ask not in KEYS["adapter.rank"].asks:
        return None
    part = root.part("adapter")
    part.known_keys()
    rank, weights = part.required("rank", integer), part.optional("weights", one_of(ADAPTED))
    if subject and not subject.architecture:
        root.problems.add(root.spot("adapter"), "architecture", "missing: how many parameters an adapter has depends on it")
    if rank is None or weights is None or subject is None or subject.architecture is None:
        return None
    adapted = sum(rank * (one.n + one.k) * one.count for one in subject.architecture.linears() if one.name not in ("lm_head", "router"))
    return Adapter(adapted, ADAPTED[weights])


def read_batch(root: Reader) -> Batch | None:
    """The batch of a training step. Where `sequences` may be left out, 0 stands for one micro-batch a replica."""
    if root.ask == "inference" or "batch.sequence" not in KEYS or root.ask not in KEYS["batch.sequence"].asks:
        return None
    part = root.part("batch")
    part.known_keys()
    if "batch" not in root.node.items:
        return None
    sequence = part.required("sequence", integer)
    sequences = (part.required if root.ask in TIMED else part.optional)("sequences", integer)
    micro = part.value("micro", integer) or 1
    if sequences and micro > sequences:
        root.problems.add(part.spot("micro"), "batch.micro", f"{micro} sequences at once of {sequences} in a step")
    return Batch(sequence, sequences or 0, micro) if sequence else None


def read_recipe(root: Reader) -> Recipe:
    """How a step is made."""
    attention = root.value("attention", one_of(ATTENTION)) or "flash"
    flops = root.value("attention_flops", one_of(("causal", "full"))) or "causal"
    loss = root.value("loss", one_of(LOSS)) or "whole"
    recompute = root.value("recompute", one_of(RECOMPUTE)) or "none"
    return Recipe(ATTENTION[attention], flops == "causal", LOSS[loss], RECOMPUTE[recompute])


def read_timing(root: Reader, subject: Subject | None, gpu: Gpu | None, batch: Batch | None) -> Timing | None:
    """MFU or HFU, tokens, days and links; None where one is wrong or the question has no time."""
    if root.ask not in TIMED:
        return None
    tokens, days = root.value("tokens", number), root.value("days", number)
    mfu, measured = _mfu(root, subject)
    hfu = root.value("hfu", FRACTION)
    if "mfu" in root.node.items and "hfu" in root.node.items:
        root.problems.add(root.spot("hfu"), "hfu", "give mfu or hfu: they differ by recomputation")
    elif mfu is None and hfu is None and not {"mfu", "hfu"} & set(root.node.items):
        root.problems.add(root.node.spot, "mfu", f"missing: {KEYS['mfu'].means}; or hfu")
    links = read_links(root, gpu, batch)
    overlap = root.value("overlap", partial(number, low=0, high=1))
    return Timing(mfu, hfu, measured, tokens, days, links, overlap) if links and overlap is not None else None


def _mfu(root: Reader, subject: Subject | None) -> tuple[float | None, Measured | None]:
    """A number, or what a run measured."""
    item = root.node.items.get("mfu")
    if item is None or not isinstance(item.value, Map):
        return root.optional("mfu", FRACTION), None
    part = root.part("mfu")
    part.known_keys()
    run = part.required("measured", word)
    impl = part.optional("impl", word)
    precision = part.optional("precision", one_of(PRECISIONS))
    tokens = part.optional("tokens", integer)
    if not run or not impl or not precision or subject is None:
        return None, None
    problem = None
    if not subject.name:
        problem = "needs a `model` of configs/models, whose layers the run timed"
    elif subject.architecture and subject.architecture.experts:
        problem = f"{subject.name} sends few tokens to each expert, so its layers' rows differ: give the MFU as a number"
    if problem:
        root.problems.add(part.spot("measured"), "mfu.measured", problem)
        return None, None
    try:
        measured = layer_times(Path(run), subject.name, subject.layers, impl, precision, tokens)
    except MeasuredError as error:
        root.problems.add(part.spot("measured"), "mfu.measured", str(error))
        return None, None
    return measured.mfu, measured


def read_peak(root: Reader, gpu: Gpu | None, measured: Measured | None) -> float | None:
    """FLOP/s that MFU and HFU are fractions of."""
    if root.ask not in KEYS["peak"].asks:
        return None
    if measured:
        if "peak" in root.node.items:
            root.problems.add(root.spot("peak"), "peak", f"leave it out: a measured MFU is of {MFU_PEAK_FLOPS_PER_S:g} on every GPU")
        return MFU_PEAK_FLOPS_PER_S
    name = root.optional("peak", one_of((CONVENTION, *PRECISIONS)))
    if name == CONVENTION:
        return MFU_PEAK_FLOPS_PER_S
    if name and gpu and name not in gpu.peak_flops_per_s:
        root.problems.add(root.spot("peak"), "peak", f"{gpu.name} has no peak in {name}; valid: {', '.join(gpu.peak_flops_per_s)}")
    return gpu.peak_flops_per_s.get(name) if name and gpu else None


def read_links(root: Reader, gpu: Gpu | None, batch: Batch | None) -> Links | None:
    """Bandwidths of the question or, without them, of the GPU's file. Without a batch nothing is sent, and none is needed."""
    part = root.part("links")
    part.known_keys()
    found = {key: part.optional(key, number) for key in ("node", "network")}
    own = {"node": gpu.node_link_bytes_per_s, "network": gpu.network_bytes_per_s} if gpu else {}
    for key, bandwidth in own.items():
        if key in part.node.items:
            continue
        full = f"links.{key}"
        if bandwidth and gpu:
            found[key] = bandwidth
            root.taken.append(Assumption(full, compact(bandwidth), f"the file of {gpu.name}", KEYS[full].means))
        elif batch and gpu:
            root.problems.add(part.node.spot, full, f"missing: {gpu.name}'s file has no speed for it")
    gpus_per_node = part.optional("gpus_per_node", partial(integer, high=MAX_GPUS))
    return Links(found["node"] or 0.0, found["network"] or 0.0, gpus_per_node) if gpus_per_node else None


def read_run(root: Reader, gpus: int | None, batch: Batch | None) -> Run | None:
    """Tokens a second of a run, from the one key of three that says it."""
    if root.ask != "mfu":
        return None
    ways = ("tokens_per_s", "step_s", "gpu_hours")
    given = {key: root.value(key, number) for key in ways if key in root.node.items}
    tokens = root.value("tokens", number)
    if len(given) != 1:
        root.problems.add(root.node.spot, "mfu", f"give one of {', '.join(ways)}, not {' and '.join(given) or 'none'}")
        return None
    way, value = next(iter(given.items()))
    if tokens is not None and way != "gpu_hours":
        root.problems.add(root.spot("tokens"), "tokens", f"goes with gpu_hours, not with {way}")
    if way == "tokens_per_s":
        return Run(value, f"{compact(value)} tokens/s as given") if value else None
    if way == "step_s":
        if batch is None or not batch.sequences:
            root.problems.add(root.spot("step_s"), "step_s", "needs batch.sequence and batch.sequences: how many tokens a step has")
            return None
        return Run(batch.tokens / value, f"{batch.sequences:,} × {batch.sequence:,} tokens / {compact(value)} s a step") if value else None
    if tokens is None:
        root.problems.add(root.spot("gpu_hours"), "gpu_hours", "needs tokens: how many they took")
        return None
    if not value or not gpus:
        return None
    return Run(tokens * gpus / (value * 3600), f"{compact(tokens)} tokens × {gpus:,} GPUs / ({compact(value)} GPU-hours × 3,600 s)")


def read_serving(root: Reader, subject: Subject | None) -> Serving | None:
    """Prompt, answer, batch and widths."""
    if root.ask != "inference":
        return None
    prompt, generated, batch = (root.value(key, integer) for key in ("prompt", "generated", "batch"))
    kv, weights = (root.value(key, one_of(BYTES)) for key in ("kv_precision", "weight_precision"))
    if prompt is None or generated is None or batch is None or kv is None or weights is None:
        return None
    return Serving(prompt, generated, batch, BYTES[kv], BYTES[weights])


def read_price(root: Reader) -> Price | None:
    """Dollars and watts of a GPU, at least one of them."""
    if root.ask != "cost":
        return None
    usd, watts = root.value("usd_per_gpu_hour", number), root.value("watts", number)
    if not {"usd_per_gpu_hour", "watts"} & set(root.node.items):
        root.problems.add(root.node.spot, "usd_per_gpu_hour", "missing: give it, or watts, or both")
    return Price(usd, watts)


def check_division(root: Reader, split: Split | None, subject: Subject | None, batch: Batch | None) -> None:
    """Notes where the model cannot be divided so: heads, layers, experts and sequences."""
    if split is None or subject is None:
        return
    a = subject.architecture
    if a is None:
        divided = split.replica_gpus > 1 or split.expert > 1
        if divided and batch and "architecture" not in root.node.items:
            root.problems.add(root.spot("parallel"), "architecture", "missing: how much divided layers send depends on it")
        return
    spot = root.part("parallel").spot
    if split.pipeline * split.virtual > a.layers:
        chunks = f"{split.pipeline} stages" + f" of {split.virtual} chunks" * (split.virtual > 1)
        root.problems.add(spot("pipeline"), "parallel.pipeline", f"{chunks} are more than {a.layers} layers")
    if a.heads % split.tensor:
        root.problems.add(spot("tensor"), "parallel.tensor", f"{split.tensor} does not divide {a.heads} heads")
    if split.expert > 1 and not a.experts:
        root.problems.add(spot("expert"), "parallel.expert", "the model has no experts")
    elif a.experts and a.experts % split.expert:
        root.problems.add(spot("expert"), "parallel.expert", f"{split.expert} does not divide {a.experts} experts")
    if batch and batch.sequence % split.context:
        root.problems.add(spot("context"), "parallel.context", f"{split.context} does not divide a sequence of {batch.sequence:,} tokens")
