"""`python -m benches plan`: the CSV's columns and figures, what it leaves out and why, and its errors."""

from __future__ import annotations

import io
import subprocess
import sys
import time
from pathlib import Path

import pandas as pd
import pytest
from rich.console import Console

from benches.__main__ import main
from benches.plan import make_plan, show
from benches.sweep.load import load_sweep
from benches.units import bytes_text, time_text
from kernels.gpus import load_gpu
from kernels.guard import ROOT

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
    "fits unsupported"
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


def test_wall_time_counts_what_runs(sweep: Path) -> None:
    """1.5 s a point, 5 s more to compile, and 30 calls; nothing for what does not fit or is unsupported."""
    plan = make_plan(load_sweep(sweep), load_gpu("h100_sxm5"))
    calls = 30 * plan.prediction.predicted_s
    for point, runs, wall, call in zip(plan.points, plan.runs, plan.wall_s, calls, strict=True):
        fixed = 6.5 if point.impl == "torch_compile" else 1.5
        assert runs == (point.precision != "fp8_e4m3" and point.dims.get("m") != 131072)
        assert wall == (pytest.approx(fixed + call) if runs else 0)


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


def test_the_command_imports_neither_torch_nor_triton(sweep: Path) -> None:
    code = f"import sys; from benches.__main__ import main; main(['plan', {str(sweep)!r}]); "
    code += "sys.exit(bool({'torch', 'triton'} & set(sys.modules)))"
    done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True, encoding="utf-8", check=False)
    assert (done.returncode, done.stderr) == (0, "")


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
