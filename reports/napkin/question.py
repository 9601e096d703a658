"""A question: YAML to the values that an answer rests on, every mistake at once with its line."""

from __future__ import annotations

import os
import re
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from benches.sweep.shapes import Model, model_names, read_model
from kernels.cost_model import MFU_PEAK_FLOPS_PER_S
from kernels.gpus import BARE, Gpu, GpuError, find_gpu, gpu_names
from kernels.napkin.memory import Memory, parameter_bytes
from kernels.napkin.setup import Batch, Links, Recompute, Shape, Split
from kernels.parameter_copies import OPTIMIZER_STATES, SCHEMES, Scheme
from kernels.precisions import PRECISIONS
from kernels.strict_yaml.nodes import Map, Node, read_text, read_yaml
from kernels.strict_yaml.problems import Problems, Spot, quote, valid_names
from kernels.strict_yaml.values import chosen, integer, number, word
from reports.napkin.keys import ASKS, CONVENTION, KEYS
from reports.napkin.measured import Measured, MeasuredError, layer_times
from reports.napkin.reader import Assumption, Reader, looks_like_a_number, one_of
from reports.units import compact

QUESTIONS = Path(__file__).parents[2] / "configs" / "napkin"
MAX_GPUS = 10_000_000
RECOMPUTE: dict[str, Recompute] = {"none": "none", "selective": "selective", "full": "full"}
SHAPE_KEYS = ("layers", "d_model", "heads")  # as configs/models names them
SCHEME_KEYS = ("weights", "gradients", "master", "state")


@dataclass(frozen=True)
class Training:
    """What a question about training time adds."""

    parameters: float
    tokens: float
    mfu: float
    measured: Measured | None  # where the MFU comes from, if a run measured it
    peak_flops_per_s: float
    shape: Shape | None
    batch: Batch | None
    recompute: Recompute
    links: Links
    overlap: float


@dataclass(frozen=True)
class Question:
    """A question whose file is right. `training` is None where the largest model is asked for."""

    name: str
    file: str
    gpus: int
    gpu: Gpu
    scheme: Scheme
    optimizer: str  # of OPTIMIZER_STATES
    split: Split
    reserve: float
    training: Training | None
    assumptions: tuple[Assumption, ...]

    @property
    def each(self) -> Memory:
        """Bytes of a parameter."""
        return parameter_bytes(self.scheme, self.optimizer)

    @property
    def replicas(self) -> float:
        return self.split.replicas(self.gpus)


def question_names() -> list[str]:
    """The shipped questions."""
    return sorted(path.stem for path in QUESTIONS.glob("*.yaml"))


def load_question(name_or_path: str) -> Question:
    """The question of a file, or of a bare name: configs/napkin/NAME.yaml. Raises SweepError, which holds every mistake found."""
    problems = Problems()
    path, file = _find(name_or_path, problems)
    root = Reader(read_yaml(read_text(path, Spot(file, 1), "question", problems), file, problems, "question"), problems)
    ask = root.required("ask", one_of(ASKS))
    root.known_keys(ask or "")
    gpus = root.required("gpus", partial(integer, high=MAX_GPUS))
    gpu = root.optional("gpu", partial(_gpu, path.parent))
    scheme = root.optional("scheme", _scheme)
    optimizer = root.optional("optimizer", one_of(OPTIMIZER_STATES))
    reserve = root.optional("reserve", partial(number, low=0))
    split = _split(root, gpus, ask or "")
    if gpu and reserve is not None and reserve >= gpu.memory_bytes:
        problems.add(root.spot("reserve"), "reserve", f"is all of the GPU's {gpu.memory_bytes:.3g} bytes, or more")
    training = _training(root, gpu, split) if ask == "training_time" else None
    problems.check()
    if not (gpus and gpu and scheme and optimizer and split) or reserve is None:
        raise AssertionError("a value that is None was noted as a problem")
    return Question(
        path.stem,
        file,
        gpus,
        gpu,
        scheme,
        optimizer,
        split,
        reserve,
        training,
        tuple(sorted(root.taken, key=lambda taken: list(KEYS).index(taken.key))),
    )


def _find(name: str, problems: Problems) -> tuple[Path, str]:
    """The file, and what messages call it: a path as given, a shipped question as seen from here."""
    if not re.fullmatch(r"[\w-]+", name):
        return Path(name), name
    path = QUESTIONS / f"{name}.yaml"
    file = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    if name not in question_names():
        problems.fail(Spot(file, 1), "question", f"unknown question {quote(name)}{valid_names(name, question_names())}")
    return path, file


def _gpu(folder: Path, node: Node, key: str, problems: Problems) -> Gpu | None:
    """Returns the GPU of a name in configs/gpus, or of a file whose path is relative to the question's folder."""
    text = word(node, key, problems)
    if text is None or (BARE.fullmatch(text) and chosen(node, key, gpu_names(), problems) is None):
        return None
    try:
        return find_gpu(text, folder)
    except GpuError as error:
        problems.add(node.spot, key, str(error))
        return None


def _scheme(node: Node, key: str, problems: Problems) -> Scheme | None:
    """A name of SCHEMES, or the bytes a parameter themselves."""
    if not isinstance(node, Map):
        name = chosen(node, key, SCHEMES, problems)
        return SCHEMES[name] if name else None
    before = len(problems)
    for unknown in node.items.keys() - set(SCHEME_KEYS):
        problems.add(node.items[unknown].spot, f"{key}.{unknown}", f"unknown key{valid_names(unknown, SCHEME_KEYS)}")
    for absent in [part for part in SCHEME_KEYS if part not in node.items]:
        problems.add(node.spot, f"{key}.{absent}", "missing: bytes a parameter, 0 where there is none")
    given = {part: item.value for part, item in node.items.items() if part in SCHEME_KEYS}
    bytes_ = {part: number(value, f"{key}.{part}", problems, 0.125 if part == "weights" else 0, 64) for part, value in given.items()}
    return Scheme(**{part: size or 0.0 for part, size in bytes_.items()}) if len(problems) == before else None


def _split(root: Reader, gpus: int | None, ask: str) -> Split | None:
    """Degrees that divide the GPUs."""
    part = root.part("parallel")
    part.known_keys(ask)
    zero = root.optional("zero", partial(integer, low=0, high=3))
    tensor = part.optional("tensor", partial(integer, high=MAX_GPUS))
    pipeline = part.optional("pipeline", partial(integer, high=MAX_GPUS))
    sequence = part.optional("sequence", _flag) if ask == "training_time" else False
    if gpus and tensor and pipeline and gpus % (tensor * pipeline):
        root.problems.add(root.spot("gpus"), "gpus", f"{gpus} is no multiple of tensor · pipeline = {tensor * pipeline} GPUs a replica")
    return Split(tensor, pipeline, zero, sequence) if tensor and pipeline and zero is not None and sequence is not None else None


def _flag(node: Node, key: str, problems: Problems) -> bool | None:
    text = chosen(node, key, ("true", "false"), problems)
    return None if text is None else text == "true"


def _training(root: Reader, gpu: Gpu | None, split: Split | None) -> Training | None:
    model, parameters = root.required("model", _model) or (None, None)
    tokens = root.required("tokens", number)
    mfu, measured = _mfu(root, model)
    peak = _peak(root, gpu, measured)
    shape = _shape(root, model)
    batch = _batch(root)
    recompute = root.optional("recompute", one_of(RECOMPUTE))
    links = _links(root, gpu)
    overlap = root.optional("overlap", partial(number, low=0, high=1))
    if split and batch:
        _check_shape(root, split, shape)
    if parameters is None or tokens is None or mfu is None or peak is None or recompute is None or links is None or overlap is None:
        return None
    return Training(parameters, tokens, mfu, measured, peak, shape, batch, RECOMPUTE[recompute], links, overlap)


def _model(node: Node, key: str, problems: Problems) -> tuple[Model | None, float] | None:
    """A model of configs/models, or none of them, and the parameters: of a named model, the weights of its layers."""
    if looks_like_a_number(node):
        parameters = number(node, key, problems)
        return None if parameters is None else (None, parameters)
    name = chosen(node, key, model_names(), problems)
    model = read_model(name) if name else None
    return (model, float(sum(layer.n * layer.k * layer.count for layer in model.layers))) if model else None


def _mfu(root: Reader, model: Model | None) -> tuple[float | None, Measured | None]:
    """A number, or what a run measured."""
    item = root.node.items.get("mfu")
    if item is None or not isinstance(item.value, Map):
        return root.required("mfu", partial(number, high=1)), None
    part = root.part("mfu")
    part.known_keys("training_time")
    run = part.required("measured", word)
    impl = part.optional("impl", word)
    precision = part.optional("precision", one_of(PRECISIONS))
    tokens = part.optional("tokens", integer)
    if not run or not impl or not precision:
        return None, None
    if model is None:
        root.problems.add(part.spot("measured"), "mfu.measured", "needs a `model` of configs/models, whose layers the run timed")
        return None, None
    try:
        measured = layer_times(Path(run), model, impl, precision, tokens)
    except MeasuredError as error:
        root.problems.add(part.spot("measured"), "mfu.measured", str(error))
        return None, None
    return measured.mfu, measured


def _peak(root: Reader, gpu: Gpu | None, measured: Measured | None) -> float | None:
    """FLOP/s that the MFU is a fraction of."""
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


def _shape(root: Reader, model: Model | None) -> Shape | None:
    """Of a named model its own, of another what `architecture` says, if anything."""
    part = root.part("architecture")
    part.known_keys("training_time")
    if model:
        if part.node.items:
            root.problems.add(root.spot("architecture"), "architecture", f"leave it out: {model.name} has its own")
        own = [model.architecture.get(key) for key in SHAPE_KEYS]
        return Shape(*filter(None, own)) if all(own) else None
    if "architecture" not in root.node.items:
        return None
    layers, hidden, heads = (part.required(key, integer) for key in SHAPE_KEYS)
    return Shape(layers, hidden, heads) if layers and hidden and heads else None


def _batch(root: Reader) -> Batch | None:
    part = root.part("batch")
    part.known_keys("training_time")
    if "batch" not in root.node.items:
        return None
    sequence, sequences, micro = part.required("sequence", integer), part.required("sequences", integer), part.optional("micro", integer)
    if sequences and micro and micro > sequences:
        root.problems.add(part.spot("micro"), "batch.micro", f"{micro} sequences at once of {sequences} in a step")
    return Batch(sequence, sequences, micro) if sequence and sequences and micro else None


def _links(root: Reader, gpu: Gpu | None) -> Links | None:
    part = root.part("links")
    part.known_keys("training_time")
    node, network = part.optional("node", number), part.optional("network", number)
    gpus_per_node = part.optional("gpus_per_node", partial(integer, high=MAX_GPUS))
    if gpu and "node" not in part.node.items:
        node = gpu.node_link_bytes_per_s
        if node:
            root.taken.append(Assumption("links.node", compact(node), f"the file of {gpu.name}", KEYS["links.node"].means))
        else:
            root.problems.add(part.node.spot, "links.node", f"missing: {gpu.name}'s file does not say how fast its node's links are")
    return Links(node, network, gpus_per_node) if node and network and gpus_per_node else None


def _check_shape(root: Reader, split: Split, shape: Shape | None) -> None:
    """A divided model's traffic depends on its shape, and its layers and heads must divide."""
    if split.replica_gpus > 1 and shape is None and "architecture" not in root.node.items:
        root.problems.add(root.spot("parallel"), "architecture", "missing: how much divided layers send depends on it")
    if shape and shape.layers % split.pipeline:
        root.problems.add(root.spot("parallel"), "parallel.pipeline", f"{split.pipeline} does not divide {shape.layers} layers")
    if shape and shape.heads % split.tensor:
        root.problems.add(root.spot("parallel"), "parallel.tensor", f"{split.tensor} does not divide {shape.heads} heads")
