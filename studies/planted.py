"""Errors that kernels really have, planted into a right result, one a (case, error). `python -m studies.planted` prints the table.

Each error is made as a faulty kernel would make it: by computing from the wrong operands or by leaving part of the result as it was.
Shapes are ragged and none is a benchmark's shape.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from typing import Any, cast

import torch

from benches.correctness import Verdict, check, tensors
from kernels.op import Inputs, Kernel, Op, Point
from kernels.registry import OPS
from studies import planted_any, planted_layout, planted_models, planted_optimizer
from studies.planted_case import Case, one_wrong_element, recomputed, right_result, unwritten_edge, wrong_tile

SEED = 5


def _without_tail(operand: torch.Tensor, dim: int, size: int) -> torch.Tensor:
    kept = operand.clone()
    kept.narrow(dim, size - 1, 1).zero_() if operand.dtype.itemsize > 1 else kept.view(torch.uint8).narrow(dim, size - 1, 1).zero_()
    return kept


def missing_k_tail(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """The last of the k products is left out, as when k is rounded down to a block."""
    a, *others = inputs.operands
    return recomputed(point, inputs, (_without_tail(a, a.dim() - 1, a.shape[-1]), *others))


def swapped_stride(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """The first operand's two last strides are swapped: it is read along the other dim."""
    a, *others = inputs.operands
    rows = a.shape[-2]
    plain = a.contiguous()
    swapped = plain.as_strided(a.shape, (*plain.stride()[:-2], 1, rows))
    return recomputed(point, inputs, (swapped, *others))


def tf32_instead_of_fp32(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """fp32 operands lose 13 mantissa bits, as on a tensor core with TF32 left on."""
    truncated = tuple((t.view(torch.int32) & ~0x1FFF).view(torch.float32) for t in inputs.operands)
    return recomputed(point, inputs, truncated)


def accumulated_in_bf16(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """Partial sums are rounded to bf16."""
    a, b = (t.double() for t in inputs.operands)
    total = torch.zeros(right.shape, dtype=torch.float64)
    for i in range(a.shape[-1]):
        total = (total + a[..., :, i : i + 1] * b[..., i : i + 1, :]).to(torch.bfloat16).double()
    return total.to(right.dtype)


def shifted_column(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """Off by one: each element holds the result of the column before."""
    return right.roll(1, dims=-1)


def forgotten_bias(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """The last column's bias is not added."""
    x, residual, bias = inputs.operands
    return recomputed(point, inputs, (x, residual, _without_tail(bias, 0, bias.shape[0])))


def stale_scale(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """One operand's scale is taken as 1."""
    a, b, scale_a, scale_b = inputs.operands
    return recomputed(point, inputs, (a, b, scale_a, torch.ones_like(scale_b)))


def neighbours_scale(point: Point, inputs: Inputs, right: torch.Tensor) -> torch.Tensor:
    """Each row, or block along k, of A takes the scale of the next."""
    a, b, scale_a, scale_b = inputs.operands
    along = -1 if point.options["scaling"] == "block" else -2
    return recomputed(point, inputs, (a, b, scale_a.roll(1, dims=along), scale_b))


MATMUL = (wrong_tile, unwritten_edge, one_wrong_element, missing_k_tail, swapped_stride)
POINTWISE = (wrong_tile, unwritten_edge, one_wrong_element, swapped_stride, shifted_column)


def cases() -> Iterator[Case]:
    """Every op and precision, with each error that it can have."""
    for precision in ("fp32", "tf32", "fp16", "bf16", "fp8_e4m3", "fp8_e5m2"):
        matmul = OPS["matmul"].point("triton", precision, {"m": 67, "n": 59, "k": 131}, {"layout": "nt"})
        batched = OPS["matmul"].point("triton", precision, {"b": 3, "m": 37, "n": 41, "k": 53})
        equation = {"equation": "batch seq1 hidden, batch seq2 hidden -> batch seq1 seq2"}
        scores = OPS["einsum"].point("triton", precision, {"batch": 3, "seq1": 37, "seq2": 43, "hidden": 61}, equation)
        for point in (matmul, batched, scores):
            yield from (Case(point, spoil.__name__, spoil) for spoil in MATMUL)
        if precision.startswith("fp8"):
            yield Case(matmul, "stale_scale", stale_scale)
            for scaling in ("row", "block"):
                options = {"layout": "nt", "scaling": scaling, "accumulation": "slow"}
                recipe = OPS["matmul"].point("triton", precision, {"m": 67, "n": 131, "k": 259}, options)
                yield from (Case(recipe, spoil.__name__, spoil) for spoil in (*MATMUL, stale_scale, neighbours_scale))
        if precision == "tf32":
            continue
        for function in ("add", "div", "exp", "gelu", "copy", "bias_gelu_residual"):
            point = OPS["elementwise"].point("triton", precision, {"m": 67, "n": 61}, {"function": function})
            yield from (Case(point, spoil.__name__, spoil) for spoil in POINTWISE)
            if function == "bias_gelu_residual":
                yield Case(point, "forgotten_bias", forgotten_bias)
    fp32 = OPS["matmul"].point("torch", "fp32", {"m": 67, "n": 59, "k": 131})
    bf16 = OPS["matmul"].point("torch", "bf16", {"m": 67, "n": 59, "k": 509})
    chain = OPS["einsum"].point("torch", "bf16", {"a": 37, "b": 41, "c": 43, "d": 47}, {"equation": "a b, b c, c d -> a d"})
    yield Case(fp32, "tf32_instead_of_fp32", tf32_instead_of_fp32)
    yield Case(bf16, "accumulated_in_bf16", accumulated_in_bf16)
    yield from (Case(chain, spoil.__name__, spoil) for spoil in (wrong_tile, unwritten_edge, one_wrong_element, swapped_stride))


class Prepared:
    """A point's inputs, its right result and the gate's verdict on that; and the op, with its reference and tolerance computed once.

    They are shared by the errors that are planted into the point, until one of them changes an operand or the right result.
    """

    def __init__(self, point: Point):
        self._op = OPS[point.op]
        self.inputs: Inputs = self._op.load("make_inputs")(point, "cpu", SEED)
        self._known: dict[str, Any] = {}
        self.right = right_result(point, self.inputs)
        self._versions = self._now()
        self.good = check(cast(Op, self), point, Kernel(lambda: self.right), self.inputs)

    def _now(self) -> list[int]:
        """PyTorch counts up a tensor's version whenever it, or another view of its memory, is written."""
        return [t._version for t in (*self.inputs.operands, *tensors(self.right))]

    @property
    def untouched(self) -> bool:
        return self._now() == self._versions

    def load(self, name: str) -> Callable[..., Any]:
        function = self._op.load(name)

        def once(*arguments: Any) -> Any:
            if not self.untouched:
                return function(*arguments)
            if name not in self._known:
                self._known[name] = function(*arguments)
            return self._known[name]

        return once

    def __getattr__(self, name: str) -> Any:
        return getattr(self._op, name)


_prepared: dict[str, Prepared] = {}


def judge(case: Case) -> tuple[Verdict, Verdict]:
    """The gate's verdicts on the right result and on the spoiled one."""
    key = case.point.id
    if key not in _prepared or not _prepared[key].untouched:
        _prepared[key] = Prepared(case.point)
    found = _prepared[key]
    bad = check(cast(Op, found), case.point, Kernel(lambda: case.spoil(case.point, found.inputs, found.right)), found.inputs)
    return found.good, bad


def every_case() -> Iterator[Case]:
    """Those above, those of views, copies, optimizer steps and models, and for every other op those that any kernel can have."""
    own = [*cases(), *planted_layout.cases(), *planted_optimizer.cases(), *planted_models.cases()]
    yield from own
    covered = {case.point.op for case in own}
    yield from planted_any.cases([op for op in OPS if op not in covered])


def main() -> None:
    """One line an op, precision and error: how far over its tolerance the least visible of them is."""
    found: dict[tuple[str, str, str], list[float]] = {}
    rights: dict[tuple[str, str, str], list[float]] = {}
    for case in every_case():
        key = (case.point.op, case.point.precision, case.error)
        good, bad = judge(case)
        rights.setdefault(key, []).append(good.worst)
        found.setdefault(key, []).append(bad.worst)
    header = f"{'op':12} {'precision':10} {'planted error':22} {'cases':>5} {'right':>8} {'planted':>9}"
    print(f"{header}   worst error / tolerance; above 1 is caught")
    for key, worst in found.items():
        verdict = "caught" if min(worst) > 1 else "MISSED"
        print(f"{key[0]:12} {key[1]:10} {key[2]:22} {len(worst):5} {max(rights[key]):8.2g} {min(worst):9.3g}   {verdict}")
    missed = sum(value <= 1 for worst in found.values() for value in worst)
    print(f"{sum(map(len, found.values()))} planted, {missed} missed")


if __name__ == "__main__":
    main()
