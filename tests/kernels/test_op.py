"""Points: ids, defaults, and what is refused."""

from __future__ import annotations

import json
import math
from importlib import import_module
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benches.row import columns_of, new_row
from kernels import registry
from kernels.op import OpError
from kernels.registry import OPS, point_of

SCORES = "batch seq1 hidden, batch seq2 hidden -> batch seq1 seq2"


@pytest.mark.parametrize(
    ("op", "dims", "options", "id_"),
    [
        ("matmul", {"k": 3, "m": 1, "n": 2}, {}, "matmul-triton-bf16-1x2x3"),
        ("matmul", {"m": 1, "n": 2, "k": 3}, {"layout": "nt", "data": "zeros"}, "matmul-triton-bf16-1x2x3-nt-zeros"),
        ("matmul", {"m": 1, "n": 2, "k": 3, "b": 5, "b1": 7}, {"rhs": "shared"}, "matmul-triton-bf16-5x7x1x2x3-shared"),
        ("elementwise", {"n": 3, "m": 127}, {"function": "gelu_tanh"}, "elementwise-triton-bf16-gelu_tanh-127x3"),
        ("elementwise", {"m": 1, "n": 1}, {"function": "cast", "to": "fp8_e5m2"}, "elementwise-triton-bf16-cast-1x1-to_fp8_e5m2"),
        (
            "einsum",
            {"hidden": 4, "batch": 1, "seq1": 2, "seq2": 3},
            {"equation": SCORES, "operands": "sliced"},
            "einsum-triton-bf16-batch.seq1.hidden+batch.seq2.hidden-batch.seq1.seq2-1x2x4x3-sliced",
        ),
        ("einsum", {"x": 5, "y": 7, "i": 2, "j": 3}, {"equation": "... i, i j -> ... j"}, "einsum-triton-bf16-....i+i.j-....j-5x7x2x3"),
    ],
)
def test_ids(op: str, dims: dict[str, int], options: dict[str, str], id_: str) -> None:
    assert OPS[op].point("triton", "bf16", dims, options).id == id_


@pytest.mark.parametrize(
    ("op", "dims", "options", "message"),
    [
        ("matmul", {"m": 1, "n": 2}, {}, "missing dim k"),
        ("matmul", {"m": 1, "n": 2, "k": 3, "q": 1}, {}, "unknown dim 'q'"),
        ("matmul", {"m": 1, "n": 2, "k": 3}, {"layout": "xx"}, "layout cannot be 'xx'"),
        ("matmul", {"m": 1, "n": 2, "k": 3}, {"layuot": "nt"}, "unknown option 'layuot'"),
        ("matmul", {"m": 1, "n": 2, "k": 3}, {"rhs": "shared"}, "needs a leading dim"),
        ("elementwise", {"m": 1, "n": 2}, {}, "elementwise needs function"),
        ("elementwise", {"m": 1, "n": 2}, {"function": "cast"}, "cast needs `to`"),
        (
            "elementwise",
            {"m": 1, "n": 2},
            {"function": "add", "to": "fp16"},
            "`to` goes with function: cast, quantise_rows, quantise_blocks only",
        ),
        ("einsum", {"a": 1}, {"equation": "a b"}, "needs one `->`"),
        ("einsum", {"a": 1}, {"equation": "a -> b"}, "'b' is in the output but in no operand"),
        ("einsum", {"a": 1}, {"equation": "a a -> a"}, "a name occurs twice"),
        ("einsum", {"a": 1}, {"equation": "a, -> a"}, "an operand has no dims"),
        ("einsum", {"a": 1}, {"equation": "a 1 -> a"}, "'1' is not a name"),
        ("einsum", {"a": 1, "z": 2}, {"equation": "a -> a"}, "unknown dim 'z'"),
    ],
)
def test_refusals(op: str, dims: dict[str, int], options: dict[str, str], message: str) -> None:
    with pytest.raises(OpError, match=message.replace("(", r"\(")):
        OPS[op].point("torch", "bf16", dims, options)


DOCS = {
    **{name: op.doc for name, op in OPS.items()},
    **{f"{name} {key}": option.doc for name, op in OPS.items() for key, option in op.options.items()},
}


@pytest.mark.parametrize("doc", DOCS.values(), ids=DOCS)
def test_docs_are_sentences(doc: str) -> None:
    assert doc[0].isupper()
    assert doc.endswith(".")
    assert len(doc.split()) > 2
    assert doc.count("`") % 2 == 0
    assert "  " not in doc


ROW = {"op": "matmul", "impl": "torch", "precision": "bf16", "dims": {"m": 2, "n": 3, "k": 5}, "options": {"layout": "nt"}}
AS_A_TABLE_FILLS_IT = {"dims": {**ROW["dims"], "b": None, "tokens": math.nan}, "options": {**ROW["options"], "function": None}}  # type: ignore[dict-item]


@pytest.mark.parametrize(
    ("changed", "known"),
    [
        ({}, True),
        ({"dims": json.dumps(ROW["dims"]), "options": json.dumps(ROW["options"])}, True),
        (AS_A_TABLE_FILLS_IT, True),
        ({"impl": "of another version"}, True),
        ({"op": "of another version"}, False),
        ({"precision": "fp4"}, False),
        ({"dims": {"m": 2, "n": 3}}, False),
        ({"dims": {"m": 2, "n": 3, "k": 5, "q": 7}}, False),
        ({"options": {"layout": "diagonal"}}, False),
        ({"options": {"new option": "x"}}, False),
    ],
)
def test_the_point_of_a_row(changed: dict[str, Any], known: bool) -> None:
    row = ROW | changed
    for form in (row, SimpleNamespace(**row)):
        point = point_of(form)
        assert (point is not None) == known
        assert point is None or point.id == f"matmul-{row['impl']}-bf16-2x3x5-nt"


@pytest.mark.parametrize(
    ("options", "layout", "equation", "function"),
    [
        ({"layout": "nt", "rhs": "shared"}, "nt", None, None),
        ({"function": "gelu", "to": "none"}, None, None, "gelu"),
        ({"equation": "i j -> i", "operands": "sliced"}, None, "i j -> i", None),
        ({"pattern": "h w -> w h", "reduction": "none"}, None, "h w -> w h", "rearrange"),
        ({"pattern": "h w -> w", "reduction": "max"}, None, "h w -> w", "max"),
        ({"method": "adamw"}, None, None, None),
    ],
)
def test_columns_follow_from_the_options(options: dict[str, str], layout: str | None, equation: str | None, function: str | None) -> None:
    assert columns_of(options) == {"layout": layout, "equation": equation, "function": function}


def test_a_row_takes_its_columns_from_its_options_else_what_it_says() -> None:
    point = point_of(ROW)
    assert point is not None
    row = new_row(point, OPS["matmul"].cost(point, "cpu"), "ok", layout="tn")
    assert row.layout == "nt"
    assert type(row).model_validate(row.model_dump() | {"options": {}, "layout": "tn"}).layout == "tn"


def test_every_folder_with_an_op_is_registered() -> None:
    """One that is not would be silently left out of every run."""
    kernels = Path(registry.__file__).parent
    folders = {path.parent.name for path in kernels.glob("*/__init__.py") if "OP" in vars(import_module(f"kernels.{path.parent.name}"))}
    assert folders == set(registry.FOLDERS)
