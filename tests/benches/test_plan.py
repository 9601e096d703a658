"""`python -m benches plan`: the CSV's columns and figures, what it leaves out and why, and its errors."""

from __future__ import annotations

import io
import os
import subprocess
import sys
import time
from dataclasses import replace
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benches import kept_loops
from benches.__main__ import main
from benches.plan import Plan, make_plan, show, write_csv
from benches.run.journal import read_journal
from benches.sweep.load import load_sweep
from benches.units import bytes_text, gigabytes, megahertz, time_text
from kernels.gpus import load_gpu
from kernels.guard import ROOT
from kernels.loop_work import LoopWork
from kernels.registry import OPS

SWEEP = """
name: example
sweeps:
  - op: matmul
    impl: [torch, torch_compile]
    precision: [bf16, fp8_e4m3]
    dims: {m: [127, 4096], n: 4096, k: 4096}
  - op: matmul
    impl: [torch]
    precision: [bf16]
    points:
      - {m: 131072, n: 131072, k: 131072}
  - op: einsum
    impl: [torch]
    precision: [bf16]
    equation: "batch seq1 hidden, batch seq2 hidden -> batch seq1 seq2"
    dims: {batch: 8, seq1: 1024, seq2: 1024, hidden: 64}
  - op: elementwise
    impl: [torch]
    precision: [fp32]
    function: [add]
    dims: {m: 8192, n: 8192}
"""

COLUMNS = (
    "point op impl precision m n k batch seq1 hidden seq2 flops bytes memory_bytes intensity napkin_s roofline_s predicted_s bound "
    "fits unsupported bound_s bound_limited_by"
)


@pytest.fixture
def sweep(tmp_path: Path) -> Path:
    path = tmp_path / "example.yaml"
    path.write_text(SWEEP, encoding="utf-8")
    return path


@pytest.fixture
def planned(sweep: Path, tmp_path: Path) -> pd.DataFrame:
    assert main(["plan", str(sweep), "--gpu", "h100_sxm5", "-o", str(tmp_path / "plan.csv")]) == 0
    return pd.read_csv(tmp_path / "plan.csv").set_index("point", drop=False)


def test_columns_are_exactly_these(planned: pd.DataFrame) -> None:
    assert list(planned.columns) == COLUMNS.split()


# By hand: 2·4096³ FLOPs on 989.5e12; 3 · 4096² · 2 bytes; the add reads and writes 3 · 8192² · 4 bytes at 3.35e12.
@pytest.mark.slow
@pytest.mark.parametrize(
    ("point", "column", "value"),
    [
        ("matmul-torch-bf16-4096x4096x4096", "flops", 137438953472),
        ("matmul-torch-bf16-4096x4096x4096", "bytes", 100663296),
        ("matmul-torch-bf16-4096x4096x4096", "memory_bytes", 100663296),
        ("matmul-torch-bf16-4096x4096x4096", "intensity", 137438953472 / 100663296),
        ("matmul-torch-bf16-4096x4096x4096", "napkin_s", 137438953472 / 989.5e12),
        ("matmul-torch-bf16-4096x4096x4096", "bound", "compute"),
        ("matmul-torch-bf16-127x4096x4096", "m", 127),
        ("matmul-torch-bf16-127x4096x4096", "bound", "memory"),
        ("elementwise-torch-fp32-add-8192x8192", "flops", 67108864),
        ("elementwise-torch-fp32-add-8192x8192", "roofline_s", 805306368 / 3.35e12),
        ("matmul-torch-bf16-131072x131072x131072", "fits", False),
        ("matmul-torch-bf16-4096x4096x4096", "fits", True),
    ],
)
def test_figures(planned: pd.DataFrame, point: str, column: str, value: object) -> None:
    found = planned.loc[point, column]
    assert found == (pytest.approx(value, rel=1e-12) if isinstance(value, float) else value)


def test_dims_of_other_ops_are_empty(planned: pd.DataFrame) -> None:
    row = planned[planned.op == "einsum"].iloc[0]
    assert row[["batch", "seq1", "seq2", "hidden"]].tolist() == [8, 1024, 1024, 64]
    assert row[["m", "n", "k"]].isna().all()


def test_what_cannot_run_says_why(planned: pd.DataFrame) -> None:
    why = planned.loc["matmul-torch-fp8_e4m3-4096x4096x4096", "unsupported"]
    assert "_scaled_mm" in why
    assert planned[planned.precision == "bf16"].unsupported.isna().all()


def test_a_gpu_without_fp8_has_no_figure_for_it(sweep: Path, tmp_path: Path) -> None:
    assert main(["plan", str(sweep), "--gpu", "a100_sxm4_80gb", "-o", str(tmp_path / "plan.csv")]) == 0
    fp8 = pd.read_csv(tmp_path / "plan.csv").query("precision == 'fp8_e4m3'")
    assert fp8[["napkin_s", "roofline_s", "predicted_s", "bound"]].isna().all(axis=None)
    assert fp8.unsupported.notna().all()


def test_the_csv_does_not_depend_on_the_table(sweep: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["plan", str(sweep)]) == 0
    assert "-o" not in capsys.readouterr().err
    assert [path.name for path in tmp_path.iterdir()] == ["example.yaml"]


def test_a_dim_named_as_a_column_gets_its_own(tmp_path: Path) -> None:
    path = tmp_path / "clash.yaml"
    entry = 'op: einsum, impl: [torch], precision: [fp32], equation: "rows flops -> rows", dims: {rows: 3, flops: 5}'
    path.write_text(f"sweeps:\n  - {{{entry}}}\n", encoding="utf-8")
    assert main(["plan", str(path), "-o", str(tmp_path / "plan.csv")]) == 0
    row = pd.read_csv(tmp_path / "plan.csv").iloc[0]
    assert (row["flops"], row["rows"], row["dim_flops"]) == (15, 3, 5)


def test_time_counts_what_runs(sweep: Path) -> None:
    """Sampling and the rest; nothing for what does not fit or is unsupported."""
    plan = make_plan(load_sweep(sweep), load_gpu("h100_sxm5"))
    held = plan.prediction.memory_bytes
    for point, runs, sampling, rest, bytes_ in zip(plan.points, plan.runs, plan.sampling_s, plan.rest_s, held, strict=True):
        assert runs == (point.precision != "fp8_e4m3" and point.dims.get("m") != 131072)
        assert (sampling > plan.settings.warmup_s) == runs
        assert rest == (pytest.approx(0.1 + 0.5e-9 * bytes_ + (9.5 if point.impl == "torch_compile" else 0)) if runs else 0)
    assert plan.total_s == pytest.approx(plan.sampling_s.sum() + plan.rest_s.sum())


# Seconds besides warm-up and sampling in docs/validation/2026-11-26-h100_sxm5-first-look: of its slowest points, and of all 42 timed ones.
SEEN = {
    "elementwise-torch_compile-bf16-bias_gelu_residual-8192x8192": 9.5,
    "gradient-torch-bf16-deep_linear-backward-4096x4096x4": 2.1,
    "gradient-torch-bf16-deep_linear-both-4096x4096x4": 1.8,
    "train_step-torch-tf32-transformer-4x1024x4x1024x8x2816x32000": 13.0,
    "train_step-torch-fp8_e4m3-transformer-4x1024x4x1024x8x2816x32000": 15.9,
    "transformer-torch-fp32-block-both-4x2048x2048x16x5504": 9.4,
}
SEEN_IN_ALL = 64.0


def test_the_rest_is_what_an_h100_showed() -> None:
    rows = read_journal(ROOT / "docs" / "validation" / "2026-11-26-h100_sxm5-first-look").rows
    points = tuple(OPS[row.op].point(row.impl, row.precision, row.dims, row.options) for row in rows if row.median_s)
    plan = make_plan(replace(load_sweep("smoke"), points=points), load_gpu("h100_sxm5"))
    planned = {point.id: rest for point, rest in zip(points, plan.rest_s.tolist(), strict=True)}
    assert {point: planned[point] for point in SEEN} == pytest.approx(SEEN, rel=0.4)
    assert sum(planned.values()) == pytest.approx(SEEN_IN_ALL, rel=0.2)


def test_triton_compiles_for_the_first_point_of_a_kind(tmp_path: Path) -> None:
    """Sizes that are multiples of 16 alike, others anew; not for other data, and not for torch."""
    path = tmp_path / "kinds.yaml"
    text = "op: elementwise, impl: [torch, triton], precision: [bf16], function: [add], dims: {m: [64, 128, 67, 71], n: 64}"
    path.write_text(f"sweeps:\n  - {{{text}, data: [normal, zeros]}}\n", encoding="utf-8")
    plan = make_plan(load_sweep(path), load_gpu("h100_sxm5"))
    assert [(plan.points[i].impl, plan.points[i].dims["m"]) for i in plan.specialised] == [("triton", 64), ("triton", 67)]
    small = 0.1 + 0.5e-9 * plan.prediction.memory_bytes
    assert (plan.rest_s - small).tolist() == pytest.approx([0.35 if i in plan.specialised else 0.0 for i in range(len(plan.points))])


IN_TRITON = """
sweeps:
  - {op: matmul, impl: [torch, triton], precision: [bf16], dims: {m: [64, 4096], n: 4096, k: 4096}}
  - {op: elementwise, impl: triton, precision: [fp32], function: [add], dims: {m: 64, n: 64}}
"""
# A pass of each tile: 128 × 256 × 64 with 4,000 instructions a warp, four times what the matrix units take; 64 × 32 × 128.
LOOPS = {
    "matmul-triton-bf16-4096x4096x4096": (LoopWork(2 * 128 * 256 * 64, 8 * 2048, 81_920, 0),),
    "matmul-triton-bf16-64x4096x4096": (LoopWork(2 * 64 * 64 * 64, 4 * 50, 0, 0),),
    "elementwise-triton-fp32-add-64x64": (),
}


@pytest.fixture
def triton_plan(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Plan:
    """With a cache folder of its own."""
    monkeypatch.setenv("TRITON_CACHE_DIR", str(tmp_path / "cache"))
    (tmp_path / "triton.yaml").write_text(IN_TRITON, encoding="utf-8")
    return make_plan(load_sweep(tmp_path / "triton.yaml"), load_gpu("h100_sxm5"), here=False)


def test_a_triton_point_has_the_bound_of_its_own_kernel(triton_plan: Plan, tmp_path: Path) -> None:
    """By hand: 4 tiles of 64 passes, each of 4,096 clocks. A library's kernels, and those without products, have none."""
    plan = replace(triton_plan, loops=LOOPS)
    write_csv(plan, tmp_path / "plan.csv")
    found = pd.read_csv(tmp_path / "plan.csv").set_index("point")
    large = found.loc["matmul-triton-bf16-4096x4096x4096"]
    assert (large["bound_s"], large["bound_limited_by"]) == (pytest.approx(4 * 64 * 4096 / 1.98e9), "issue slots")
    assert large["predicted_s"] == found.loc["matmul-torch-bf16-4096x4096x4096", "predicted_s"]
    thin = found.loc["matmul-triton-bf16-64x4096x4096"]
    assert (thin["bound_s"], thin["bound_limited_by"]) == (pytest.approx((4096 + 64) * 4096 * 2 * 2 / 3 / 3.35e12), "memory")
    assert found.loc[["matmul-torch-bf16-4096x4096x4096", "elementwise-triton-fp32-add-64x64"], "bound_s"].isna().all()


@pytest.mark.parametrize(
    ("names", "expected"),
    [
        ([], "bounds: no kernel of the 3 Triton points was compiled here; --bounds compiles for h100_sxm5 and keeps the result"),
        (
            ["elementwise-triton-fp32-add-64x64"],
            "bounds: 0 of 3 Triton points have one by the machine code of their kernels; 2 were not compiled here, which --bounds does.",
        ),
        (
            list(LOOPS),
            "bounds: 2 of 3 Triton points have one by the machine code of their kernels. 1 cannot reach what a library is predicted to "
            "take; the furthest, matmul-triton-bf16-4096x4096x4096, takes at least 530 us, limited by issue slots, where",
        ),
    ],
)
def test_the_summary_counts_the_points_with_a_bound(triton_plan: Plan, names: list[str], expected: str) -> None:
    console = Console(width=400, record=True, file=io.StringIO(), color_system=None)
    show(replace(triton_plan, loops={name: LOOPS[name] for name in names}), console)
    assert expected in console.export_text()


def test_what_was_compiled_is_kept_for_the_same_code_and_gpu_only(triton_plan: Plan, monkeypatch: pytest.MonkeyPatch) -> None:
    points, gpu = triton_plan.points, triton_plan.gpu
    assert kept_loops.load(points, gpu) == {}
    first, second = (dict(list(LOOPS.items())[some]) for some in (slice(1), slice(1, 3)))
    kept_loops.store(points, gpu, first)
    kept_loops.store(points, gpu, second)
    assert kept_loops.load(points, gpu) == LOOPS
    assert kept_loops.load([p for p in points if p.op == "elementwise"], gpu) == {"elementwise-triton-fp32-add-64x64": ()}
    assert kept_loops.load(points, load_gpu("h100_pcie")) == {}
    (file,) = {kept_loops.entry(p, gpu) for p in points if p.op == "elementwise" and p.impl == "triton"}
    assert file is not None
    file.write_text('{"elementwise-triton-fp32-add-64x64": [{"flops": 1', encoding="utf-8")
    assert kept_loops.load(points, gpu).keys() == LOOPS.keys() - {"elementwise-triton-fp32-add-64x64"}
    for code in ("v2:of other code", None):
        monkeypatch.setattr(kept_loops, "source_hash", lambda op, impl, code=code: code)
        assert kept_loops.load(points, gpu) == {}
    kept_loops.store(points, gpu, LOOPS)
    assert kept_loops.load(points, gpu) == {}, "code that is not found may change unseen"


@pytest.mark.slow
def test_bounds_are_compiled_once_and_later_plans_have_them(tmp_path: Path) -> None:
    """The command as a user gives it, and again without Triton."""
    (tmp_path / "one.yaml").write_text(
        "sweeps:\n  - {op: matmul, impl: triton, precision: bf16, layout: nt, dims: {m: [4096, 8192], n: 4096, k: 4096}}\n",
        encoding="utf-8",
    )
    environment = os.environ | {"TRITON_CACHE_DIR": str(tmp_path / "cache"), "TRITON_INTERPRET": "1", "COLUMNS": "300"}
    command = [sys.executable, "-m", "benches", "plan", str(tmp_path / "one.yaml"), "-o", str(tmp_path / "plan.csv")]
    done = subprocess.run([*command, "--bounds"], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")
    expected = "bounds: 2 of 2 Triton points have one by the machine code of their kernels."
    assert expected in done.stdout
    bounds = pd.read_csv(tmp_path / "plan.csv")["bound_s"].tolist()
    assert bounds == pytest.approx([4 * 64 * 1024 / 1.98e9, 8 * 64 * 1024 / 1.98e9], rel=0.02)
    without = (
        "import sys; sys.modules['triton'] = sys.modules['torch'] = None; from benches.__main__ import main; sys.exit(main(sys.argv[1:]))"
    )
    again = subprocess.run(
        [sys.executable, "-c", without, *command[3:]], cwd=ROOT, env=environment, capture_output=True, encoding="utf-8", check=False
    )
    assert (again.returncode, again.stderr) == (0, "")
    assert expected in again.stdout
    assert pd.read_csv(tmp_path / "plan.csv")["bound_s"].tolist() == bounds


@pytest.mark.parametrize("width", [80, 200])
def test_the_table_fits_the_terminal(sweep: Path, width: int) -> None:
    console = Console(width=width, record=True, file=io.StringIO(), color_system=None)
    show(make_plan(load_sweep(sweep), load_gpu("h100_sxm5")), console)
    text = console.export_text()
    for expected in ("torch_compile", "fp8_e4m3", "elementwise", "do not fit 80 GB", "unsupported: torch._scaled_mm", "6 of 11 points run"):
        assert expected in text
    table = [line for line in text.splitlines() if not line.startswith(("1 do", "4 unsup", "example"))]
    assert max(map(len, table)) <= width


@pytest.mark.parametrize(
    ("arguments", "says"),
    [
        (["nosuch"], "unknown sweep 'nosuch'"),
        (["{sweep}", "--gpu", "h100"], "error: --gpu: unknown GPU 'h100' (did you mean h100_nvl or h100_pcie or h100_sxm5?)"),
        (["{sweep}", "--gpu", "h2000_sxm"], "did you mean h200_sxm?"),
        (["{sweep}", "--gpu", "{folder}/h900.yaml"], "error: --gpu: {folder}/h900.yaml:1: GPU: file not found"),
        (["{sweep}", "-o", "{folder}/no/plan.csv"], "error: cannot write {folder}/no/plan.csv: No such file or directory"),
        (["{sweep}", "-o", "{folder}"], "error: cannot write {folder}: Is a directory"),
        (["{folder}/missing.yaml"], "missing.yaml:1:"),
    ],
)
def test_errors_are_one_line_and_exit_code_2(sweep, tmp_path, capsys, arguments: list[str], says: str) -> None:
    names = {"sweep": str(sweep), "folder": str(tmp_path)}
    assert main(["plan", *(a.format(**names) for a in arguments)]) == 2
    printed = capsys.readouterr()
    assert says.format(**names) in printed.err
    assert printed.err.count("\n") == 1
    assert printed.out == ""


def test_every_mistake_of_a_sweep_is_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "wrong.yaml"
    path.write_text("sweeps:\n  - {op: matmul, precision: [bf17], impl: [torhc], dims: {m: 1, n: 1, k: 1}}\n", encoding="utf-8")
    assert main(["plan", str(path)]) == 2
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 2
    assert all(line.startswith(f"{path}:2: ") for line in lines)


@pytest.mark.slow
def test_the_command_imports_neither_torch_nor_triton(sweep: Path) -> None:
    code = f"import sys; from benches.__main__ import main; main(['plan', {str(sweep)!r}]); "
    code += "sys.exit(bool({'torch', 'triton'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")


@pytest.mark.slow
def test_twenty_thousand_points_take_seconds(tmp_path: Path) -> None:
    """Of CPU time, which leaves out what else the machine does: 1.8 s on a core of an AMD EPYC; the bound leaves room for slower ones."""
    path = tmp_path / "big.yaml"
    axis = "{range: [1, 4951, 50]}"
    path.write_text(
        f"sweeps:\n  - {{op: matmul, impl: [torch], precision: [bf16], dims: {{m: {axis}, n: {axis}, k: [4096, 8192]}}}}\n",
        encoding="utf-8",
    )
    started = time.process_time()
    assert main(["plan", str(path), "-o", str(tmp_path / "plan.csv")]) == 0
    assert time.process_time() - started < 15
    assert len((tmp_path / "plan.csv").read_text(encoding="utf-8").splitlines()) == 20_001


@pytest.mark.parametrize(
    ("seconds", "text"),
    [(0, "0 us"), (1.234e-6, "1.23 us"), (4.5e-4, "450 us"), (0.0123, "12.3 ms"), (5, "5 s"), (90, "1.5 min"), (7200, "2 h")],
)
def test_times(seconds: float, text: str) -> None:
    assert time_text(seconds) == text


@pytest.mark.parametrize(
    ("count", "text"), [(0, "0 B"), (999, "999 B"), (1000, "1 kB"), (100_663_296, "101 MB"), (80_000_000_000, "80 GB")]
)
def test_sizes(count: int, text: str) -> None:
    assert bytes_text(count) == text


def test_one_machine_s_sizes_and_clocks_have_one_unit() -> None:
    assert [gigabytes(count) for count in (0, 5e8, 80_000_000_000, 2e12)] == ["0 GB", "0.5 GB", "80 GB", "2e+03 GB"]
    assert [megahertz(hertz) for hertz in (1.98e9, 1.2345e9)] == ["1980 MHz", "1234 MHz"]
