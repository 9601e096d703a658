"""`python -m reports compare`: pairing, verdicts, refusals, terminal and page."""

from __future__ import annotations

import io
import json
import math
import random
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import pandas as pd
import pytest
from rich.console import Console

from benches.row import Row
from kernels.guard import ROOT
from reports.__main__ import main
from reports.compare.comparison import VERDICTS, Comparison, compare
from reports.compare.comparison_charts import MOST_TICKS, ratio_ticks
from reports.compare.comparison_text import show
from reports.compare.differences import differences, fields
from reports.compare.noise import CPU, GPU, Assumed
from reports.compare.words import one_run_line, remarks
from reports.palette import VERDICTS as MARKS
from reports.report import load_report
from tests.reports.conftest import COMMON, ENVIRONMENTS, VERSIONS, fake_rows, sweep, write_run
from tests.reports.test_page import HOSTILE, embedded, without_bundles

UNTIMED: dict[str, Any] = {"median_s": None, "ci_low_s": None, "ci_high_s": None, "samples_s": []}


def timed(row: Row, factor: float = 1.0, **changes: Any) -> Row:
    """The row, taking `factor` times as long; 30 samples, so that nothing but the factor moves it."""
    if row.median_s is None:
        return row.model_copy(update=changes)
    median = row.median_s * factor
    samples = [median * (1 + 0.0005 * math.sin(i)) for i in range(30)]
    times = {"median_s": median, "ci_low_s": median * 0.9995, "ci_high_s": median * 1.0005, "samples_s": samples}
    return row.model_copy(update={**times, "status": "ok", "reason": None, **changes})


def rows_of(kind: str = "cuda") -> list[Row]:
    return [timed(row) for row in fake_rows(sweep("small"), kind)]


def rerun(rows: list[Row], seed: int = 3, noise: float = 0.004, slower: Callable[[Row], float] = lambda row: 1.0) -> list[Row]:
    """The same code again; `slower` says by which factor a point changed."""
    rng = random.Random(seed)
    return [timed(row, rng.lognormvariate(0, noise) * slower(row)) for row in rows]


def both(tmp_path: Path, a: list[Row], b: list[Row], kind: str = "cuda", **changes: Any) -> tuple[Path, Path]:
    environment = ENVIRONMENTS[kind]
    return write_run(tmp_path / "a", a, environment), write_run(tmp_path / "b", b, {**environment, **changes})


def compared(tmp_path: Path, a: list[Row], b: list[Row], kind: str = "cuda", **changes: Any) -> Comparison:
    runs = both(tmp_path, a, b, kind, **changes)
    return compare(*([load_report(run)] for run in runs))


def verdict(found: Comparison, point: str) -> tuple[str, str]:
    row = found.table[found.table["point"] == point].iloc[0]
    return row["verdict"], row["why"]


@pytest.mark.slow
def test_one_slow_implementation_is_found_and_no_other(tmp_path: Path) -> None:
    a = rows_of()
    found = compared(tmp_path, a, rerun(a, slower=lambda row: 1.1 if row.op == "elementwise" and row.impl == "triton" else 1.0))
    slow = found.of("slower")
    assert set(slow["op"] + " " + slow["impl"]) == {"elementwise triton"}
    assert len(slow) == sum(row.op == "elementwise" and row.impl == "triton" and row.median_s is not None for row in a)
    assert found.of("faster").empty
    by_name = {(family.op, family.impl, family.precision): family for family in found.families}
    assert by_name["elementwise", "triton", "fp32"].low > 1.05
    assert by_name["matmul", "torch", "bf16"].low < 1 < by_name["matmul", "torch", "bf16"].high
    assert found.table["at_least"].iloc[: len(slow)].is_monotonic_decreasing


@pytest.mark.slow
@pytest.mark.parametrize(
    ("a", "b", "expected"),
    [
        ({}, {"status": "wrong", "reason": "element (3, 4)", **UNTIMED}, ("fails now", "ok → wrong: element (3, 4)")),
        ({"status": "crashed", "reason": "signal 11", **UNTIMED}, {}, ("works now", "crashed → ok in A: signal 11")),
        ({}, {"status": "unsupported", "reason": "needs 16", **UNTIMED}, ("other status", "ok → unsupported: needs 16")),
        ({"status": "oom", **UNTIMED}, {"status": "crashed", **UNTIMED}, ("other status", "oom → crashed")),
        ({"status": "oom", **UNTIMED}, {"status": "oom", "reason": "96 GB", **UNTIMED}, ("untimed", "oom in both: 96 GB")),
        ({}, {"cache": "hot"}, ("not paired", "cache cold in A, hot in B")),
        ({"regime": "boost"}, {}, ("not paired", "regime boost in A, sustained in B")),
        ({}, {"status": "noisy", "reason": "±1.4%"}, ("unclear", "noisy in B (±1.4%)")),
        ({"status": "throttled"}, {}, ("unclear", "throttled in A")),
        ({}, {"samples_s": [1e-3] * 5}, ("unclear", "5 samples in B, wanted 8")),
        ({}, {"ci_low_s": None, "ci_high_s": None}, ("unclear", "a median without an interval")),
    ],
)
def test_what_became_of_a_point(tmp_path: Path, a: dict[str, Any], b: dict[str, Any], expected: tuple[str, str]) -> None:
    before = rows_of()
    place = next(i for i, row in enumerate(before) if row.median_s is not None)
    after = rerun(before)
    before[place], after[place] = before[place].model_copy(update=a), after[place].model_copy(update=b)
    found = compared(tmp_path, before, after)
    assert verdict(found, before[place].point) == expected
    assert len(found.table) == len(before), "no point is dropped"


@pytest.mark.slow
def test_runs_without_a_pair_are_compared_all_the_same(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = rows_of()
    runs = both(tmp_path, a, [row.model_copy(update={"status": "verified", "reason": None, **UNTIMED}) for row in a])
    assert main(["compare", *map(str, runs), "--fail-on-slower"]) == 0
    assert "no pair: no point was timed in both in the same way" in " ".join(capsys.readouterr().out.split())
    assert "No point was timed in both runs in the same way." in (runs[1] / "compare-a.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_points_of_one_run_only_come_before_ratios(tmp_path: Path) -> None:
    a = rows_of()
    found = compared(tmp_path, a[1:], rerun(a)[:-1])
    assert verdict(found, a[-1].point)[0] == "only in A"
    assert verdict(found, a[0].point)[0] == "only in B"
    assert found.table["verdict"].iloc[:2].tolist() == ["only in A", "only in B"]
    ranks = found.table["verdict"].map(VERDICTS.index)
    assert ranks.is_monotonic_increasing


@pytest.mark.parametrize(
    ("kind", "factor", "expected"),
    [("cuda", 3.0, "slower"), ("cuda", 1 / 3, "faster"), ("cuda", 1.5, "unclear"), ("cpu", 200.0, "unclear")],
)
def test_only_an_overwhelming_effect_outweighs_noise(tmp_path: Path, kind: str, factor: float, expected: str) -> None:
    """On a CPU none does: other processes make medians hundreds of times as long."""
    a = rows_of(kind)
    place = next(i for i, row in enumerate(a) if row.median_s is not None)
    b = rerun(a)
    b[place] = timed(a[place], factor, status="noisy", reason="did not settle")
    assert verdict(compared(tmp_path, a, b, kind), a[place].point)[0] == expected


@pytest.mark.parametrize(
    ("assumed", "single", "said"), [(CPU, [True, False], True), (CPU, [False], False), (CPU, [], False), (GPU, [True], False)]
)
def test_an_interval_of_one_run_on_a_cpu_is_not_how_far_runs_differ(assumed: Assumed, single: list[bool], said: bool) -> None:
    """With several runs a side their spread is in the interval."""
    line = one_run_line(cast(Comparison, SimpleNamespace(assumed=assumed, pairs=pd.DataFrame({"single": pd.Series(single, dtype=bool)}))))
    expected = "Each run's interval holds for that run: runs of the same code on a shared CPU differ by 1% in some points"
    assert line.startswith(expected) if said else line == ""


@pytest.mark.slow
def test_a_cpus_comparison_says_how_far_runs_differ(tmp_path: Path) -> None:
    rows = rows_of("cpu")
    found = compared(tmp_path, rows, rerun(rows), "cpu")
    assert one_run_line(found) + "." in [remark.text for remark in remarks(found)]
    show(found, Console(file=(terminal := io.StringIO()), width=80))
    assert one_run_line(found) in " ".join(terminal.getvalue().split())


@pytest.mark.slow
def test_what_differs_in_a_pair_is_noted(tmp_path: Path) -> None:
    """The source only where its hashes follow the same rules, and the machine code is not known in both runs."""
    known, same = {"source_hash": "v2:1", "machine_code_hash": "a"}, {"config": "128x128x64", "source_hash": "v2:1"}
    cases = [
        (same, {"config": "64x64x64", "source_hash": "v2:2"}, "kernel config, source"),
        (same, {"source_hash": "v3:2"}, ""),
        ({"source_hash": "1"}, {"source_hash": "v2:1"}, ""),
        ({"source_hash": "1"}, {"source_hash": "2"}, "source"),
        (same, {"source_hash": None}, ""),
        (known, {"source_hash": "v2:2"}, ""),
        (known, {"source_hash": "v2:2", "machine_code_hash": "b"}, "machine code"),
        (known, {"source_hash": "v2:2", "machine_code_hash": None}, "source"),
    ]
    a = rows_of()
    places = [i for i, row in enumerate(a) if row.median_s is not None][: len(cases)]
    for place, (before, _, _) in zip(places, cases, strict=True):
        a[place] = a[place].model_copy(update=before)
    b = rerun(a)
    for place, (_, after, _) in zip(places, cases, strict=True):
        b[place] = b[place].model_copy(update=after)
    noted = compared(tmp_path, a, b).table.set_index("point")["noted"]
    assert [noted[a[place].point] for place in places] == [expected for _, _, expected in cases]
    assert set(noted.drop([a[place].point for place in places])) == {""}


@pytest.mark.slow
def test_processes_stand_for_the_spread_between_runs(tmp_path: Path) -> None:
    """Five processes that agree to 0.02% narrow the interval to what moves a whole run; medians that scatter widen it."""
    a = rows_of()
    place = next(i for i, row in enumerate(a) if row.median_s is not None)
    median = a[place].median_s or 0.0

    def width(spread: float) -> float:
        medians = [median * (1 + spread * step) for step in (-2, -1, 0, 1, 2)]
        before, after = list(a), rerun(a, noise=0.02)
        before[place] = after[place] = a[place].model_copy(update={"process_medians_s": medians})
        row = compared(tmp_path / str(spread), before, after).table.set_index("point").loc[a[place].point]
        return math.log(row["high"] / row["low"]) / 2

    assert width(1e-4) == pytest.approx(1.96 * math.sqrt(2) * 0.004, rel=0.05)
    assert width(0.02) > 0.03


@pytest.mark.slow
def test_the_shift_of_the_whole_run_is_said_and_not_removed(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    a = rows_of()
    runs = both(tmp_path, a, rerun(a, slower=lambda row: 1.25), driver="580.1")
    found = compare(*([load_report(run)] for run in runs))
    assert found.shift
    assert found.shift.median == pytest.approx(1.25, rel=0.01)
    assert len(found.of("slower")) > 0.9 * len(found.pairs)
    assert found.pairs["against_run"].median() == pytest.approx(1, abs=1e-9)
    assert main(["compare", *map(str, runs)]) == 0
    assert "B takes 1.25× A's time in the median" in " ".join(capsys.readouterr().out.split())
    assert "Most pairs moved: driver 575.57.08 → 580.1." in (runs[1] / "compare-a.html").read_text(encoding="utf-8")


@pytest.mark.slow
def test_differences_of_the_environments_come_first_and_passing_ones_not_at_all(tmp_path: Path) -> None:
    a = rows_of()
    changes = {
        "versions": {**VERSIONS, "torch": "2.14.0", "numpy": "2.4.0"},
        "commit": "f" * 40,
        "seed": 2,
        "load_1m": 3.0,
        "started_utc": "2026-11-24",
    }
    found = compared(tmp_path, a, rerun(a), **changes)
    short = COMMON["commit"][:10]
    assert list(found.differs) == ["torch 2.13.0 → 2.14.0", f"commit {short} → ffffffffff", "seed 1 → 2", "versions numpy 2.3.1 → 2.4.0"]
    fields = {field.name: field for field in found.environment}
    assert fields["load_1m"].differs
    assert not fields["load_1m"].counts
    assert fields["driver"].a == fields["driver"].b == "575.57.08"


@pytest.mark.parametrize(
    ("before", "now", "differ"),
    [
        ({}, {"cudnn": 91900, "vbios": "96.00", "variables": {"OMP_NUM_THREADS": "4"}}, []),  # an older file matches any
        ({"cudnn": 91900}, {"cudnn": 92000}, ["cuDNN 91900 → 92000"]),
        ({"cudnn": None}, {"cudnn": 92000}, ["cuDNN not known → 92000"]),
        ({"cuda_runtime": "12.8"}, {"cuda_runtime": "13.0"}, ["CUDA runtime 12.8 → 13.0"]),
        ({"vbios": "96.00"}, {"vbios": "97.00"}, ["VBIOS 96.00 → 97.00"]),
        ({"variables": {}}, {"variables": {"CUDA_LAUNCH_BLOCKING": "1"}}, ["CUDA_LAUNCH_BLOCKING not set → 1"]),
        ({"variables": {"NVIDIA_TF32_OVERRIDE": "0"}}, {"variables": {}}, ["NVIDIA_TF32_OVERRIDE 0 → not set"]),
        ({"variables": {"CUDA_VISIBLE_DEVICES": "0"}}, {"variables": {"CUDA_VISIBLE_DEVICES": "1"}}, []),
        ({"power_source": "instant", "notes": []}, {"power_source": "1 s average", "notes": ["no peaks"]}, []),
    ],
)
def test_what_later_versions_record_differs_only_where_both_runs_have_it(before: dict, now: dict, differ: list[str]) -> None:
    assert differences(fields(before, now)) == differ


@pytest.mark.slow
def test_clocks_that_differ_are_said(tmp_path: Path) -> None:
    a = rows_of()
    slow = [row.model_copy(update={"conditions": row.conditions.model_copy(update={"sm_clock_hz": 1.41e9})}) for row in rerun(a)]
    assert compared(tmp_path, a, slow).differs == ["SM clock 1755 → 1410 MHz (median of the pairs)"]


@pytest.mark.slow
@pytest.mark.parametrize(
    ("case", "words"),
    [
        ("simulated", "a simulated run can only be compared with simulated runs"),
        ("nothing in common", "no point in common"),
        ("itself", "named twice"),
        ("missing", "no such run directory"),
        ("empty", "no rows"),
        ("no place for the page", "no such directory"),
    ],
)
def test_what_cannot_be_compared_is_one_line_and_exit_2(tmp_path: Path, capsys: pytest.CaptureFixture[str], case: str, words: str) -> None:
    rows, out = rows_of(), tmp_path / "page.html"
    a, b = both(tmp_path, rows, rows)
    if case == "simulated":
        write_run(b, rows, ENVIRONMENTS["simulated"])
    elif case == "nothing in common":
        write_run(b, [row.model_copy(update={"point": f"other-{row.point}"}) for row in rows], ENVIRONMENTS["cuda"])
    elif case == "itself":
        b = a
    elif case == "missing":
        b = tmp_path / "nowhere"
    elif case == "empty":
        (b / "rows.jsonl").write_text("", encoding="utf-8")
    elif case == "no place for the page":
        out = tmp_path / "nowhere" / "page.html"
    assert main(["compare", str(a), str(b), "-o", str(out)]) == 2
    captured = capsys.readouterr()
    assert captured.out == ""
    assert words in captured.err
    assert len(captured.err.splitlines()) == 1
    assert not out.exists()


@pytest.mark.slow
def test_two_simulated_runs_are_compared_and_say_so(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of("simulated")
    a, b = both(tmp_path, rows, rerun(rows), "simulated")
    assert main(["compare", str(a), str(b)]) == 0
    assert "SIMULATED" in capsys.readouterr().out
    assert "<strong>SIMULATED</strong>" in (b / "compare-a.html").read_text(encoding="utf-8")


@pytest.mark.slow
@pytest.mark.parametrize(("factor", "code"), [(1.0, 0), (1.3, 1), (1 / 1.3, 0)])
def test_fail_on_slower(tmp_path: Path, factor: float, code: int) -> None:
    rows = rows_of()
    a, b = both(tmp_path, rows, rerun(rows, slower=lambda row: factor if row.impl == "triton" else 1.0))
    assert main(["compare", str(a), str(b), "--fail-on-slower"]) == code
    assert main(["compare", str(a), str(b)]) == 0


@pytest.mark.slow
def test_fail_on_slower_sees_what_fails_now_and_what_only_the_mean_shows(tmp_path: Path) -> None:
    rows = rows_of()
    place = next(i for i, row in enumerate(rows) if row.median_s is not None)
    broken = rerun(rows)
    broken[place] = broken[place].model_copy(update={"status": "wrong", "reason": "element (0, 0)", **UNTIMED})
    assert main(["compare", *map(str, both(tmp_path / "wrong", rows, broken)), "--fail-on-slower"]) == 1
    assert main(["compare", *map(str, both(tmp_path / "right", broken, rows)), "--fail-on-slower"]) == 0
    many = [row.model_copy(update={"point": f"{row.point}-{i}"}) for i in range(12) for row in rows]
    slow = rerun(many, noise=0.02, slower=lambda row: 1.05 if row.impl == "triton" else 1.0)
    found = compared(tmp_path / "mean", many, slow)
    assert any(family.verdict == "slower" for family in found.families)
    assert len(found.of("slower")) < 0.5 * found.pairs["impl"].eq("triton").sum()
    assert found.worse


@pytest.mark.slow
def test_the_threshold_is_the_users(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of()
    a, b = both(tmp_path, rows, rerun(rows, slower=lambda row: 1.1 if row.impl == "triton" else 1.0))
    assert main(["compare", str(a), str(b), "--threshold", "20%", "--fail-on-slower"]) == 0
    assert "(threshold 20%)" in capsys.readouterr().out
    with pytest.raises(SystemExit, match="2"):
        main(["compare", str(a), str(b), "--threshold", "-1"])


@pytest.mark.slow
def test_eighty_columns_are_enough_and_all_prints_every_point(
    tmp_path: Path, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("COLUMNS", "80")
    rows = rows_of()
    a, b = both(tmp_path, rows, rerun(rows, slower=lambda row: 1.1 if row.impl == "triton" else 1.0))
    main(["compare", str(a), str(b)])
    short = capsys.readouterr().out
    assert max(len(line) for line in short.splitlines()[:-1]) <= 80
    assert re.search(r"^\d+ pairs: \d+ slower", short, re.MULTILINE)
    assert short.splitlines()[-1] == str(b / "compare-a.html")
    main(["compare", str(a), str(b), "--all"])
    joined = re.sub(r"\s+", "", capsys.readouterr().out)
    assert all(row.point in joined for row in rows)


@pytest.mark.slow
def test_the_page_holds_every_point_and_refers_to_nothing_outside(tmp_path: Path) -> None:
    rows = rows_of()
    a, b = both(tmp_path, rows, rerun(rows[1:]))
    main(["compare", str(a), str(b)])
    page = (b / "compare-a.html").read_text(encoding="utf-8")
    data, plain = embedded(page), without_bundles(page)
    assert set(data["rows"]["values"]["point"]) == {row.point for row in rows}
    assert data["rows"]["values"]["status"][0] == "only in A"
    assert set(re.findall(r'data-chart="(\w+)"', page)) == set(data["charts"]) == {"pairs"}
    assert "samples_s_a" not in data["rows"]["values"]
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#)[^"']""", plain)
    assert list(MARKS) == list(VERDICTS)


@pytest.mark.slow
def test_hostile_names_stay_text(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    rows = rows_of()
    rows[1] = rows[1].model_copy(update={"point": f"matmul-{HOSTILE}", "impl": HOSTILE, "op": f"[red]{HOSTILE}[/nothing]"})
    rows[2] = rows[2].model_copy(update={"status": "wrong", "reason": HOSTILE, **UNTIMED})
    a, b = both(tmp_path, rows, rerun(rows), host=HOSTILE, device_name="[/bold]")
    b = write_run(b, [*rerun(rows)[:2], *rows_of()[2:]], {**ENVIRONMENTS["cuda"], "host": HOSTILE, "device_name": "[/bold]"})
    assert main(["compare", str(a), str(b), "--all"]) == 0
    visible = without_bundles((b / "compare-a.html").read_text(encoding="utf-8"))
    assert "<img" not in visible
    assert visible.count("</script>") == 1, "the page's own"
    assert "[red]" in capsys.readouterr().out


@pytest.mark.parametrize(("low", "high"), [(0.97, 1.03), (0.8, 1.5), (0.5, 2.2), (0.01, 300.0), (0.999, 1.001), (0.3, 40)])
def test_ticks_lie_within_and_one_is_among_them(low: float, high: float) -> None:
    ticks = ratio_ticks(low, high)
    assert 1.0 in ticks
    assert ticks == sorted(ticks)
    assert len(ticks) <= MOST_TICKS


@pytest.mark.slow
def test_neither_torch_nor_triton_is_imported(tmp_path: Path) -> None:
    rows = rows_of()
    a, b = both(tmp_path, rows, rerun(rows))
    code = "import sys; from reports.__main__ import main; main(sys.argv[1:]); assert not {'torch', 'triton'} & set(sys.modules)"
    done = subprocess.run(
        [sys.executable, "-c", code, "compare", str(a), str(b)], cwd=ROOT, capture_output=True, encoding="utf-8", check=False
    )
    assert done.returncode == 0, done.stderr


def test_the_same_for_programs_and_for_a_pull_request(tmp_path: Path) -> None:
    rows = rows_of()
    a, b = both(tmp_path, rows, rerun(rows, slower=lambda row: 1.5 if row.impl == "triton" else 1.0))
    paths = {name: tmp_path / f"out.{name}" for name in ("json", "markdown", "csv")}
    arguments = [part for name, path in paths.items() for part in (f"--{name}", str(path))]
    assert main(["compare", str(a), str(b), *arguments]) == 0
    found = json.loads(paths["json"].read_text(encoding="utf-8"))
    frame = pd.read_csv(paths["csv"])
    assert frame["point"].tolist() == [point["point"] for point in found["points"]]
    assert found["counts"]["slower"] == (frame["status"] == "slower").sum() > 0
    assert found["worse"] is True
    text = paths["markdown"].read_text(encoding="utf-8")
    assert text.startswith("## ❌ ")
    assert f"### Slower: {found['counts']['slower']}" in text
    assert len(text) < 65_536
    assert "`matmul-triton" in text
