"""What a sweep's YAML stands for, and that resolving it loses nothing."""

from collections import Counter
from pathlib import Path

import pytest

from benches.sweep.load import Sweep, SweepError, load_sweep, load_sweeps


def write(folder: Path, text: str, name: str = "s.yaml") -> Path:
    path = folder / name
    path.write_text(text, encoding="utf-8")
    return path


def ids(sweep: Sweep) -> list[str]:
    return [point.id for point in sweep.points]


# Entries of `sweeps:`, and the points they give, in order.
ENTRIES = {
    "the last axis is fastest, and implementations of a shape stand side by side": (
        "{op: matmul, impl: [torch, triton], precision: [bf16, fp32], dims: {m: [1, 2], n: 3, k: 4}}",
        """matmul-torch-bf16-1x3x4 matmul-triton-bf16-1x3x4 matmul-torch-fp32-1x3x4 matmul-triton-fp32-1x3x4
        matmul-torch-bf16-2x3x4 matmul-triton-bf16-2x3x4 matmul-torch-fp32-2x3x4 matmul-triton-fp32-2x3x4""",
    ),
    "without impl: all that the op has": (
        "{op: matmul, precision: bf16, dims: {m: 1, n: 1, k: 1}}",
        "matmul-torch-bf16-1x1x1 matmul-torch_compile-bf16-1x1x1 matmul-triton-bf16-1x1x1",
    ),
    "pow2 holds both ends": (
        "{op: matmul, impl: torch, precision: bf16, dims: {m: {pow2: [4, 16]}, n: 1, k: {pow2: [1, 1]}}}",
        "matmul-torch-bf16-4x1x1 matmul-torch-bf16-8x1x1 matmul-torch-bf16-16x1x1",
    ),
    "range holds its stop where a step falls on it": (
        "{op: matmul, impl: torch, precision: bf16, dims: {m: {range: [2, 6, 2]}, n: {range: [5, 9, 3]}, k: 1}}",
        """matmul-torch-bf16-2x5x1 matmul-torch-bf16-2x8x1 matmul-torch-bf16-4x5x1 matmul-torch-bf16-4x8x1
        matmul-torch-bf16-6x5x1 matmul-torch-bf16-6x8x1""",
    ),
    "every option is a key and an axis": (
        "{op: matmul, impl: torch, precision: fp16, dims: {b: 2, m: 1, n: 1, k: 1_000}, layout: [nn, nt], rhs: shared, data: zeros}",
        "matmul-torch-fp16-2x1x1x1000-shared-zeros matmul-torch-fp16-2x1x1x1000-nt-shared-zeros",
    ),
    "options are text, whatever YAML takes them for": (
        "{op: elementwise, impl: torch, precision: fp32, function: [copy], to: none, dims: {m: 1, n: 1}}",
        "elementwise-torch-fp32-copy-1x1",
    ),
    "an equation, and dims in any order": (
        '{op: einsum, impl: torch, precision: tf32, equation: "b i, b j -> i j", dims: {j: 3, i: 2, b: 1}}',
        "einsum-torch-tf32-b.i+b.j-i.j-1x2x3",
    ),
    "dims that the equation does not name stand for `...`, in the order written": (
        '{op: einsum, impl: torch, precision: tf32, equation: "... i j, j -> ... i", dims: {y: 7, x: 5, i: 2, j: 3}}',
        "einsum-torch-tf32-....i.j+j-....i-7x5x2x3",
    ),
    "listed shapes, one with an option of its own": (
        "{op: matmul, impl: torch, precision: bf16, layout: [nn, tt], points: [{m: 1, n: 2, k: 3}, {m: 4, n: 5, k: 6, layout: tn}]}",
        "matmul-torch-bf16-1x2x3 matmul-torch-bf16-1x2x3-tt matmul-torch-bf16-4x5x6-tn",
    ),
    "listed shapes times axes": (
        "{op: matmul, impl: torch, precision: bf16, dims: {k: [8, 9]}, points: [{m: 1, n: 2}, {m: 3, n: 4}]}",
        "matmul-torch-bf16-1x2x8 matmul-torch-bf16-1x2x9 matmul-torch-bf16-3x4x8 matmul-torch-bf16-3x4x9",
    ),
    "a table is a CSV in the YAML": (
        '{op: matmul, impl: torch, precision: bf16, points: {table: "m,n,k,layout\n\n 1, 2,3,\n\n 4,5,6,nt"}}',
        "matmul-torch-bf16-1x2x3 matmul-torch-bf16-4x5x6-nt",
    ),
    "where": (
        '{op: matmul, impl: torch, precision: bf16, dims: {m: [1, 2], n: [1, 2], k: 1}, where: "m >= n and n * k == m"}',
        "matmul-torch-bf16-1x1x1 matmul-torch-bf16-2x2x1",
    ),
    "exclude drops what matches all keys of a mapping, defaults counted, or a condition": (
        """{op: matmul, impl: [torch, triton], precision: [bf16, fp16], dims: {m: [1, 2, 4], n: 1, k: 1},
        exclude: [{impl: torch, precision: bf16, m: [1, 2]}, {layout: nn, impl: triton, precision: fp16}, m == 4]}""",
        "matmul-triton-bf16-1x1x1 matmul-torch-fp16-1x1x1 matmul-triton-bf16-2x1x1 matmul-torch-fp16-2x1x1",
    ),
    "layers of a model are nt, their tokens m": (
        "{op: matmul, impl: torch, precision: bf16, shapes_from: llama3_8b, dims: {tokens: [1, 7]}, where: n == 4096}",
        """matmul-torch-bf16-1x4096x4096-nt matmul-torch-bf16-7x4096x4096-nt
        matmul-torch-bf16-1x4096x14336-nt matmul-torch-bf16-7x4096x14336-nt""",
    ),
    "unless the entry says otherwise": (
        "{op: matmul, impl: torch, precision: bf16, shapes_from: [llama3_8b], layout: nn, dims: {tokens: 7}, where: k > n}",
        "matmul-torch-bf16-7x4096x14336",
    ),
}


@pytest.mark.parametrize("what", ENTRIES)
def test_entry(tmp_path: Path, what: str):
    entry, expected = ENTRIES[what]
    assert ids(load_sweep(write(tmp_path, f"sweeps:\n  - {entry}"))) == expected.split()


def test_defaults_are_merged_unless_given_and_go_to_the_ops_that_have_them(tmp_path: Path):
    sweep = load_sweep(
        write(
            tmp_path,
            """
defaults: {impl: torch, precision: bf16, layout: nt, dims: {m: 2, n: 2}}
sweeps:
  - {op: elementwise, function: add}
  - {op: elementwise, function: add, precision: fp32, dims: {m: 3, n: 3}}
  - {op: matmul, dims: {m: 1, n: 1, k: 1}}
""",
        )
    )
    assert ids(sweep) == ["elementwise-torch-bf16-add-2x2", "elementwise-torch-fp32-add-3x3", "matmul-torch-bf16-1x1x1-nt"]


def test_merge_keys(tmp_path: Path):
    sweep = load_sweep(
        write(
            tmp_path,
            """
sweeps:
  - &base {op: matmul, impl: torch, precision: bf16, dims: &dims {m: 1, n: 1, k: 1}}
  - {<<: *base, precision: fp32}
  - {<<: [{precision: fp16}, *base], dims: {<<: *dims, k: 2}}
""",
        )
    )
    assert ids(sweep) == ["matmul-torch-bf16-1x1x1", "matmul-torch-fp32-1x1x1", "matmul-torch-fp16-1x1x2"]


def test_csv_beside_the_yaml(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    (tmp_path / "shapes.csv").write_bytes("\ufeffm,n,k,label\r\n1,2,3,a\r\n4,5,6,\r\n".encode())  # as a spreadsheet writes it
    path = write(tmp_path, "sweeps: [{op: matmul, impl: torch, precision: bf16, points: {csv: shapes.csv}}]")
    monkeypatch.chdir("/")
    assert [(point.id, point.label) for point in load_sweep(path).points] == [
        ("matmul-torch-bf16-1x2x3", "a"),
        ("matmul-torch-bf16-4x5x6", ""),
    ]


def test_equal_points_are_one_with_every_label(tmp_path: Path):
    sweep = load_sweep(
        write(
            tmp_path,
            """
defaults: {op: matmul, impl: torch, precision: bf16}
sweeps:
  - points: [{m: 1, n: 1, k: 1}, {m: 1, n: 1, k: 1, label: a}, {m: 1, n: 1, k: 1, label: b}, {m: 1, n: 1, k: 1, label: a}]
  - dims: {m: 1, n: 1, k: 1}
""",
        )
    )
    assert [(point.id, point.label) for point in sweep.points] == [("matmul-torch-bf16-1x1x1", "a, b")]
    assert sweep.duplicates == 4


def test_labels_of_layers(tmp_path: Path):
    path = write(tmp_path, "sweeps: [{op: matmul, impl: torch, precision: bf16, shapes_from: llama3_70b, dims: {tokens: 1}}]")
    assert [point.label for point in load_sweep(path).points] == [
        f"llama3_70b.{name}" for name in ("qkv", "attn_out", "gate_up", "down", "lm_head")
    ]


def test_name_is_the_files_unless_given(tmp_path: Path):
    entry = "sweeps: [{op: matmul, impl: torch, precision: bf16, dims: {m: 1, n: 1, k: 1}}]"
    assert load_sweep(write(tmp_path, entry, "mine.yaml")).name == "mine"
    assert load_sweep(write(tmp_path, f"name: yours\n{entry}")).name == "yours"


def same_points(a: Sweep, b: Sweep) -> bool:
    return [vars(point) for point in a.points] == [vars(point) for point in b.points]


EVERYTHING = """
name: everything
max_points: 500
defaults: {precision: [bf16, fp16], data: zeros, impl: [torch, triton]}
sweeps:
  - {op: matmul, dims: {m: {pow2: [1, 8]}, n: {range: [3, 9, 3]}, k: 5}, where: m > 1, exclude: [{m: [2, 4], impl: torch}, n == 6]}
  - {op: matmul, points: {csv: "a b.csv"}, layout: [nn, tt]}
  - {op: matmul, shapes_from: [llama3_8b, gpt3_175b], dims: {tokens: [1, 2]}}
  - {op: einsum, equation: ["... i j, j -> ... i", "... i j -> ... j"], dims: {x: 2, i: 3, j: 4}}
  - {op: einsum, points: [{equation: "i j, j -> i", i: 3, j: 4, label: 'no, "it" is: a # label'}, {equation: "i j -> j i", i: 2, j: 2}]}
  - op: elementwise
    function: [cast, add]
    to: [none, bf16]
    dims: {m: 1, n: 1}
    exclude: [{function: add, to: bf16}, {function: cast, to: none}]
"""


def test_resolved_gives_the_same_points_from_anywhere(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    write(tmp_path, "b,m,n,k,layout,label\n2,3,4,5,nt,ü\n6,7,8,9,,\n", "a b.csv")
    sweep = load_sweep(write(tmp_path, EVERYTHING))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.setattr("benches.sweep.shapes.MODELS", tmp_path / "none")
    again = load_sweep(write(tmp_path / "elsewhere", sweep.resolved))
    assert same_points(again, sweep)
    assert (again.name, again.duplicates) == (sweep.name, sweep.duplicates)
    assert again.resolved.splitlines() == sweep.resolved.splitlines()


def test_several_sweeps_are_one(tmp_path: Path):
    one = write(tmp_path, "{name: one, sweeps: [{op: matmul, impl: torch, precision: bf16, dims: {m: [1, 2], n: 1, k: 1}}]}", "1.yaml")
    two = write(tmp_path, "{name: two, sweeps: [{op: matmul, impl: torch, precision: bf16, dims: {m: [2, 3], n: 1, k: 1}}]}", "2.yaml")
    both = load_sweeps([one, two])
    assert ids(both) == [f"matmul-torch-bf16-{m}x1x1" for m in (1, 2, 3)]
    assert (both.name, both.duplicates) == ("one+two", 1)
    assert same_points(load_sweep(write(tmp_path, both.resolved)), both)
    for path in (one, two):
        path.write_text("{sweeps: []}", encoding="utf-8")
    with pytest.raises(SweepError) as error:
        load_sweeps([one, two])
    assert [problem.split(": ", 1)[0] for problem in error.value.problems] == [f"{one}:1", f"{two}:1"]


EXAMPLE_OF_THE_FORMAT = """
name: example
sweeps:
  - op: matmul
    impl: [torch, triton]
    precision: [bf16, fp8_e4m3]
    dims:                              # the product of the axes
      m: {pow2: [1, 4096]}             # 1, 2, 4 … 4096
      n: [4096, 14336]
      k: {range: [1024, 8192, 1024]}   # start, stop (inclusive), step
    layout: [nn, nt]
  - op: matmul
    precision: [bf16]
    points:                            # listed shapes, or `points: {csv: shapes.csv}` beside the YAML
      - {m: 4096, n: 4096, k: 4096}
  - op: matmul
    shapes_from: llama3_70b            # configs/models/llama3_70b.yaml
    dims: {tokens: [1, 128, 4096]}
  - op: einsum
    equation: "batch seq1 hidden, batch seq2 hidden -> batch seq1 seq2"
    dims: {batch: 8, seq1: 1024, seq2: 1024, hidden: 64}
  - op: elementwise
    function: [add, gelu, bias_gelu_residual]
    dims: {m: 8192, n: 8192}
"""


def test_the_formats_own_example(tmp_path: Path) -> None:
    """Each way to give sizes: without `precision` an entry runs in every one, without `impl` in every implementation."""
    path = tmp_path / "example.yaml"
    path.write_text(EXAMPLE_OF_THE_FORMAT, encoding="utf-8")
    points = load_sweep(path).points
    count = Counter(point.op for point in points)
    product, listed, layers = 2 * 2 * 13 * 2 * 8 * 2, 3, 3 * 6 * 3 * 5  # axes; all impls; impl × precision × tokens × layers
    assert count["matmul"] == product + listed - 2 + layers  # the listed shape stands in the product too, in torch and triton
    assert count["einsum"] == 3 * 6
    assert count["elementwise"] == 3 * 6 * 3
