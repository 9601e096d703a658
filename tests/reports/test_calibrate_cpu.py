"""`python -m reports calibrate` on a CPU, and what then predicts by its constants."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest

from kernels import cpu_model
from kernels.cpu_model import CpuModel, cpu_s, kernel_name, read_cpu_model
from kernels.op import Point
from kernels.parts import Contraction, Stream
from kernels.registry import OPS
from reports.__main__ import main
from reports.calibrate.cpu_runs import calibrate_cpu
from reports.calibrate.observations import load_runs
from reports.report import load_report
from tests.reports.synthetic import CEILINGS, ON_CPU, MakeRun, elementwise, matmul, rows_of

CPU_TRUTH = CpuModel(
    cpu="A CPU that nobody has",
    threads=2,
    call_s=2e-5,
    flops_per_s={"fp32": 9e10, "bf16": 2e9, "fp32 batched": 6e10},
    operand_bytes_per_s={"fp32": 8e9},
    bytes_per_s={"elementwise add fp32": 1.5e10, "elementwise gelu_tanh fp32": 2e9},
    fitted_on="-",
    error="-",
)


def on_cpu(points: Sequence[Point]) -> np.ndarray:
    asked = [(p, OPS[p.op].parts(p, OPS[p.op].cost(p, "cpu"))) for p in points]
    return cpu_s(asked, CPU_TRUTH, CEILINGS["peak_flops_per_s"], CEILINGS["bandwidth_bytes_per_s"])[0]  # type: ignore[arg-type]


def cpu_points() -> list[Point]:
    points = [matmul(m, n, k, "fp32") for m in (1, 127, 1009) for n in (129, 2048) for k in (512, 2048)]
    points += [matmul(m, m, m, "bf16") for m in (127, 129, 256)] + [matmul(128, 128, 128, "fp32", b=4)]
    points += [elementwise(m, 2048, f, "fp32") for m in (1009, 4096) for f in ("add", "gelu_tanh")]
    return points + [elementwise(1, n, "add", "fp32") for n in (1, 2, 3, 5, 7, 11)]


def test_planted_constants_of_a_cpu_are_found_and_predict_another_run(make_run: MakeRun, tmp_path: Path) -> None:
    points = cpu_points()
    run = make_run("cpu", rows=rows_of(points, on_cpu(points), cache="hot"), environment=ON_CPU)
    found, _, qualities = calibrate_cpu(load_runs([run], "torch", ("ok",)))
    assert found.call_s == pytest.approx(2e-5, rel=0.05)
    assert found.flops_per_s == pytest.approx(CPU_TRUTH.flops_per_s, rel=0.1)
    assert found.operand_bytes_per_s["fp32"] == pytest.approx(8e9, rel=0.1)
    assert found.bytes_per_s == pytest.approx(CPU_TRUTH.bytes_per_s, rel=0.1)
    assert qualities[0].within == 1.0


def test_a_cpu_kernel_is_named_by_what_it_computes() -> None:
    point = elementwise(3, 5, "gelu")
    assert kernel_name(point, Stream(1, 1)) == "elementwise gelu bf16"
    cast = OPS["elementwise"].point("torch", "fp32", {"m": 3, "n": 5}, {"function": "cast", "to": "bf16", "data": "zeros"})
    assert kernel_name(cast, Stream(1, 1)) == "elementwise cast bf16 fp32"
    total = OPS["einsum"].point("torch", "fp32", {"i": 3, "j": 5}, {"equation": "i j -> i"})
    assert kernel_name(total, Stream(1, 1)) == "einsum fp32", "an equation is no kernel"
    assert kernel_name(total, Contraction(True, 1, 1, 1, 1, 4, 1)) == "fp32 batched"


def test_cpu_seconds_by_hand() -> None:
    # 20 us + 2·2·3·5 / 9e10 + 4·5·(2 + 3) / 8e9; 20 us + 12·15 / 1.5e10; a view is a call
    points = [matmul(2, 3, 5, "fp32"), elementwise(3, 5, "add", "fp32")]
    assert on_cpu(points) == pytest.approx([2e-5 + 60 / 9e10 + 100 / 8e9, 2e-5 + 180 / 1.5e10], rel=1e-12)
    total, calls = cpu_s(
        [(points[1], [Stream(0, 0)]), (points[1], []), (matmul(2, 3, 5, "fp16"), [Contraction(False, 1, 2, 3, 5, 2, 62)])],
        CPU_TRUTH,
        {},
        2e10,
    )
    assert total[:2].tolist() == [2e-5, 2e-5] == calls[:2].tolist()
    assert np.isnan(total[2]), "neither a rate nor a peak of fp16: none is guessed"


def test_the_command_writes_a_cpus_file_into_the_run(make_run: MakeRun, capsys: pytest.CaptureFixture[str]) -> None:
    points = cpu_points()
    run = make_run("cpu", rows=rows_of(points, on_cpu(points), cache="hot"), environment=ON_CPU)
    assert main(["calibrate", str(run), "--judge", str(run)]) == 0
    assert capsys.readouterr().out.splitlines()[-1] == str(run / "calibration.yaml")
    assert read_cpu_model(run / "calibration.yaml").flops_per_s["fp32"] == pytest.approx(9e10, rel=0.1)


@pytest.mark.slow
def test_reports_predict_by_the_constants_of_their_cpu(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    points = cpu_points()
    run = make_run("cpu", rows=rows_of(points, on_cpu(points), cache="hot"), environment=ON_CPU)
    monkeypatch.setattr(cpu_model, "CPU_DIR", tmp_path / "cpus")
    before = load_report(run).frame["measured_over_predicted"]
    (tmp_path / "cpus").mkdir()
    assert main(["calibrate", str(run), "-o", str(tmp_path / "cpus" / "mine.yaml")]) == 0
    after = load_report(run).frame["measured_over_predicted"]
    assert before.between(1 / 1.5, 1.5).mean() < 0.8, "the roofline of measured ceilings is no such model"
    assert after.between(1 / 1.5, 1.5).all()
    other = make_run(
        "cpu", size="other", rows=rows_of(points, on_cpu(points)), environment={**ON_CPU, "cpu": {"model": "Another", "threads": 2}}
    )
    assert load_report(other).frame["measured_over_predicted"].tolist() == pytest.approx(before.tolist(), rel=0.2), (
        "another CPU's do not count"
    )


def test_a_wrong_file_of_a_cpu_is_said_on_the_page(make_run: MakeRun, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(cpu_model, "CPU_DIR", tmp_path)
    (tmp_path / "mine.yaml").write_text("cpu: A CPU\nthreads: two\n", encoding="utf-8")
    report = load_report(make_run("cpu", rows=rows_of(cpu_points(), on_cpu(cpu_points())), environment=ON_CPU))
    assert report.frame["predicted_s"].isna().all()
    assert any("mine.yaml: threads: Input should be a valid integer" in problem for problem in report.problems)
