"""gradient: forward pass, backward pass, or both, of a product or of the deep linear model.

    model         output                            gradients
    matmul        C = A·B, (tokens, outputs)        dA = dC·Bᵀ, dB = Aᵀ·dC
    deep_linear   y = X·W₁ᵀ ⋯ W_Lᵀ·wᵀ, (tokens, 1)  dW₁ … dW_L, dw: X is data

dC and dy are given, so there is no loss. The napkin figures are 2 · tokens · parameters forward, 4 · backward, 6 · both; matmul meets
them exactly, and deep_linear computes 2 · tokens · width² less, since nobody asks for the gradient of X.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator

from kernels.differentiable import compiled_unsupported, unsupported
from kernels.models import activations
from kernels.models.config import DeepLinear, napkin_flops
from kernels.op import DATA, Cost, Dims, Impl, Op, Option, Options, Point, order_dims
from kernels.parts import Contraction, Part, operators_a_part
from kernels.precisions import PRECISIONS
from kernels.support import DeviceKind

OPTIONS = {
    "model": Option(
        ("matmul", "deep_linear"),
        None,
        "The function to differentiate: one product, or a model of linear layers one after the other.",
        leading=True,
    ),
    "pass": Option(
        ("forward", "backward", "both"), None, "Which passes are timed. With backward, the forward pass is made beforehand.", leading=True
    ),
    "data": DATA,
}
DIMS = {"matmul": ("tokens", "inputs", "outputs"), "deep_linear": ("tokens", "width", "layers")}
PASSES = {"forward": ("forward",), "backward": ("backward",), "both": ("forward", "backward")}
LIMIT = 61  # of each size in `small`


def dim_order(options: Options, given: Iterable[str]) -> tuple[str, ...]:
    """tokens, inputs, outputs; or tokens, width, layers. Raises OpError for other names."""
    return order_dims(DIMS[options["model"]], given)


def deep_linear(point: Point) -> DeepLinear:
    """The point's model."""
    return DeepLinear(point.dims["width"], point.dims["layers"])


def weight_shapes(point: Point) -> tuple[tuple[int, ...], ...]:
    """B (inputs, outputs); or the layers' weights (width, width) and the head's (1, width)."""
    d = point.dims
    if point.options["model"] == "matmul":
        return ((d["inputs"], d["outputs"]),)
    return ((d["width"], d["width"]),) * d["layers"] + ((1, d["width"]),)


def parameters(point: Point) -> int:
    """The model's; a product's are those of its right-hand side."""
    return sum(rows * columns for rows, columns in weight_shapes(point))


def napkin(point: Point) -> int:
    """2, 4 or 6 · tokens · parameters."""
    return napkin_flops(parameters(point), point.dims["tokens"], {"forward": 2, "backward": 4, "both": 6}[point.options["pass"]])


def products(point: Point) -> Iterator[tuple[str, int, int, int, int]]:
    """(phase, times, m, n, k) of each product (m, k) @ (k, n) of a forward and a backward pass."""
    t = point.dims["tokens"]
    if point.options["model"] == "matmul":
        i, o = point.dims["inputs"], point.dims["outputs"]
        yield from (("forward", 1, t, o, i), ("backward", 1, t, i, o), ("backward", 1, i, o, t))
        return
    d, layers = point.dims["width"], point.dims["layers"]
    yield from (("forward", layers, t, d, d), ("forward", 1, t, 1, d))
    yield from (("backward", 1, 1, d, t), ("backward", 1, t, d, 1))  # the head: dw, and the gradient of its input
    yield from (("backward", layers, d, d, t), ("backward", layers - 1, t, d, d))


def parts(point: Point, cost: Cost) -> list[Part]:
    """Its products, each reading its operands and writing its result."""
    size = PRECISIONS[point.precision].bytes
    wanted = [p for p in products(point) if p[0] in PASSES[point.options["pass"]] and p[1]]
    return [Contraction(False, 1, m, n, k, size, (m * k + k * n + m * n) * size, times, phase) for phase, times, m, n, k in wanted]


def cost(point: Point, device: DeviceKind = "cuda") -> Cost:
    """FLOPs of the products. Bytes: a pass reads its operands (backward: what the forward pass kept among them) and writes its results.

    Memory is what PyTorch holds at most, to the byte: operands, output, and `under_way`.
    """
    size = PRECISIONS[point.precision].bytes
    which = point.options["pass"]
    phases = PASSES[which]
    flops = sum(times * 2 * m * n * k for phase, times, m, n, k in products(point) if phase in phases)
    t, weights = point.dims["tokens"], parameters(point)
    is_matmul = point.options["model"] == "matmul"
    inputs, outputs = (point.dims["inputs"], point.dims["outputs"]) if is_matmul else (point.dims["width"], 1)
    x, y = t * inputs, t * outputs
    kept = 0 if is_matmul else activations.deep_linear(deep_linear(point), t, 1)
    operands = x + weights + (0 if which == "forward" else y)
    gradients = weights + (x if is_matmul else 0)
    read = operands + (kept if which == "backward" else 0)
    written = (0 if which == "backward" else y) + (0 if which == "forward" else gradients)
    held = operands + y + (0 if which == "both" else kept) + under_way(point)
    return Cost(flops, read * size, written * size, held * size)


def under_way(point: Point) -> int:
    """Most elements that a backward pass holds at once: gradients, and in a pass `both` the activations not yet freed.

    It goes from the head to the first layer. At a layer it holds the gradients of its output and of its input, and those of the weights
    so far; `both` frees a layer's input once it is through. From layer to layer this changes by the same amount, so the most is at an
    end: at the head, at the last layer, at the second, or at the first, which needs no gradient of its input.
    """
    which = point.options["pass"]
    if which == "forward":
        return 0
    if point.options["model"] == "matmul":
        return parameters(point) + point.dims["tokens"] * point.dims["inputs"]
    t, d, layers = (point.dims[name] for name in DIMS["deep_linear"])
    most = t * d + (layers * t * d if which == "both" else 0)  # at the head
    for done in {1, layers - 1, layers} - {0}:  # layers whose weights have their gradients
        kept = layers - done if which == "both" else 0
        most = max(most, done * d * d + (kept + (2 if done < layers else 1)) * t * d)
    return d + most  # the head's own gradient


def small(point: Point) -> Dims:
    """No size over LIMIT, at most 3 layers."""
    return {name: min(size, 3 if name == "layers" else LIMIT) for name, size in point.dims.items()}


OP = Op.define(
    "kernels.gradient",
    "gradient",
    "Differentiates a product, or the deep linear model: forward pass, backward pass, or both.",
    options=OPTIONS,
    dims_doc="matmul has tokens, inputs and outputs: (tokens, inputs) times (inputs, outputs). deep_linear has tokens, width and layers.",
    dims=dim_order,
    cost=cost,
    small=small,
    parts=parts,
    operators=operators_a_part(4),  # as the dispatcher counts them: 2 to 5.3
    on_matrix_units=True,
    many_launches=True,
    trains=True,
    works_beforehand=lambda point: point.options["pass"] == "backward",
    impls=(
        Impl("torch", "torch_impl:eager", unsupported),
        Impl("torch_compile", "torch_impl:compiled", compiled_unsupported, compiled=True),
    ),
)
