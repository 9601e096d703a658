"""The page: structure, escaping, size; its data unpacked as the browser does."""

import base64
import gzip
import json
import re
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from benches.row import new_row
from kernels.registry import OPS
from reports.build import build_report, write_report
from reports.pick import pairs
from reports.report import load_report
from reports.sections import SECTIONS
from reports.sections.summary import _duration, summary
from tests.reports.conftest import CPU_CEILINGS

pytestmark = pytest.mark.slow

HOSTILE = "</script><script>alert('x')</script><img src=x onerror=alert(1)>&\"{{7*7}}"


FOUND = {
    "gpu": "h100_sxm5",
    "kernels": [
        {"id": "a", "status": "pass", "reason": "", "op": "matmul", "registers": 168, "instructions": {"HGMMA": 64, "STL": 0}},
        {"id": "b", "status": "fail", "reason": "spills <b>", "op": "matmul", "registers": None, "instructions": None},
    ],
}


def embedded(page: str) -> dict[str, Any]:
    packed = re.search(r'<script type="application/gzip;base64" id="data">([^<]*)</script>', page)
    assert packed
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


def page_of(run: Path) -> str:
    return build_report(run).read_text(encoding="utf-8")


def without_bundles(page: str) -> str:
    return re.sub(r'<script type="application/gzip;base64".*?</script>', "", page, flags=re.DOTALL)


@pytest.mark.parametrize("kind", ["cpu", "cuda", "simulated"])
def test_every_point_is_embedded_and_every_chart_has_its_place(made_page: Callable[[str], Path], kind: str) -> None:
    path = made_page(kind)
    page = path.read_text(encoding="utf-8")
    data = embedded(page)
    frame = load_report(path.parent).frame
    assert data["rows"]["values"]["point"] == frame["point"].tolist()
    assert data["rows"]["values"]["status"] == frame["status"].tolist()
    assert set(re.findall(r'data-chart="(\w+)"', page)) == set(data["charts"])
    assert {"roofline", "heatmap", "parity"} <= set(data["charts"])
    for views in data["charts"].values():
        for view in views:
            assert len(view["figure"]["data"]) > 0


def test_simulated_is_said_in_plain_sight_and_only_there(made_page: Callable[[str], Path]) -> None:
    assert "<strong>SIMULATED</strong>" in made_page("simulated").read_text(encoding="utf-8")
    assert "<strong>SIMULATED</strong>" not in made_page("cuda").read_text(encoding="utf-8")


def test_each_section_says_how_to_read_it_and_an_empty_one_why(make_run: Callable[..., Path]) -> None:
    report = load_report(make_run("cpu"))
    skipped = [row for row in _rows(make_run("cpu")) if row.status in ("skipped", "wrong")]
    bare = load_report(make_run("cpu", "bare", rows=skipped))
    for made in (report, bare):
        sections = list(filter(None, (make(made) for make in SECTIONS)))
        assert len(sections) > 1
        for section in sections:
            assert section.lead.endswith(".")
            assert bool(section.body) != bool(section.empty)
            assert not section.empty or section.empty.endswith(".") or ":" in section.empty


def _rows(run: Path) -> list[Any]:
    from benches.run.journal import read_journal

    return read_journal(run).rows


def test_h100_section_is_on_a_cpu_only(made_page: Callable[[str], Path]) -> None:
    assert 'id="h100"' in made_page("cpu").read_text(encoding="utf-8")
    assert 'id="h100"' not in made_page("cuda").read_text(encoding="utf-8")


def test_a_cpu_says_that_triton_was_checked_and_at_which_shape(made_page: Callable[[str], Path]) -> None:
    page = made_page("cpu").read_text(encoding="utf-8")
    assert "Triton is not timed on a CPU" in page
    assert "129×131×137" in page, "the shape that matmul's rule shrinks 1024×1024×1024 to"


def test_a_cpu_says_that_an_interval_is_of_one_run_and_how_far_runs_differ(make_run: Callable[..., Path]) -> None:
    said = "An ok and its interval apply to this run only: runs of the same code on a shared CPU differ by 1% in some points"
    nothing_ok = [row for row in _rows(make_run("cpu")) if row.status != "ok"]
    runs = make_run("cpu"), make_run("cuda"), make_run("cpu", "doubtful", rows=nothing_ok)
    assert [said in summary(load_report(run)).body for run in runs] == [True, False, False]


def test_pairs_differ_in_the_implementation_alone(make_run: Callable[..., Path]) -> None:
    timed = load_report(make_run("cuda")).timed
    paired = pairs(timed)
    by_case = timed[timed["impl"] == "torch"].set_index(["op", "precision", "dims", "options"])["median_s"]
    assert len(paired) > 10
    assert set(paired["impl"]) == {"triton"}
    for index, row in paired.iterrows():
        assert row["point"] == timed.loc[index, "point"]
        assert row["speedup"] == by_case[(row["op"], row["precision"], row["dims"], row["options"])] / row["median_s"]


def test_hostile_names_stay_text(make_run: Callable[..., Path]) -> None:
    rows = [row.model_copy(update={"label": HOSTILE, "reason": HOSTILE}) for row in _rows(make_run("cpu"))]
    rows[1] = rows[1].model_copy(update={"point": f"matmul-{HOSTILE}", "precision": HOSTILE, "impl": HOSTILE, "op": HOSTILE})
    environment = {
        "host": HOSTILE,
        "device_kind": "cpu",
        "device_name": HOSTILE,
        "sweeps": [HOSTILE],
        "versions": {HOSTILE: HOSTILE},
        HOSTILE: 1,
    }
    page = page_of(make_run("cpu", "hostile", rows=rows, environment=environment))
    visible = without_bundles(page)
    assert "<img" not in visible
    assert "alert('x')" not in visible
    assert visible.count("</script>") == 1, "the page's own"
    assert "{{7*7}}" in visible
    assert HOSTILE in embedded(page)["rows"]["values"]["label"]


@pytest.mark.parametrize(
    "environment", [{}, {"versions": None, "cpu": None, "sweeps": None, "started_utc": None}, {"gpu": "h1000", "started_utc": 7}]
)
def test_a_thin_environment_is_not_known(make_run: Callable[..., Path], environment: dict[str, Any]) -> None:
    page = page_of(make_run("cuda", environment=environment))
    assert "not known" in page
    assert "no peaks for this device" in page


@pytest.mark.parametrize("text", [None, "", "{", "[1]", "\x00"])
def test_a_damaged_environment_is_said(make_run: Callable[..., Path], text: str | None) -> None:
    run = make_run("cuda")
    path = run / "environment.json"
    path.unlink() if text is None else path.write_text(text, encoding="utf-8")
    assert "environment.json" in page_of(run)


def test_the_machine_code_section_appears_with_its_file(make_run: Callable[..., Path], made_page: Callable[[str], Path]) -> None:
    run = make_run("cpu")
    assert 'id="inspection"' not in made_page("cpu").read_text(encoding="utf-8")
    (run / "inspect.json").write_text(json.dumps(FOUND), encoding="utf-8")
    page = page_of(run)
    assert "1 fail, 1 pass, compiled for h100_sxm5" in page
    assert page.index("spills &lt;b&gt;") < page.index("HGMMA 64 STL 0"), "failures first"
    (run / "inspect.json").write_text("{", encoding="utf-8")
    assert "inspect.json cannot be read" in page_of(run)


def test_nothing_outside_is_referred_to(made_page: Callable[[str], Path]) -> None:
    page = without_bundles(made_page("cpu").read_text(encoding="utf-8"))
    assert "default-src 'none'" in page
    assert not re.findall(r"""(?:src|href)=["'](?!#)[^"']""", page)
    assert "http:" not in page
    assert "https:" not in page


def test_ten_thousand_points_fit_in_eight_megabytes(make_run: Callable[..., Path]) -> None:
    report = load_report(make_run("cuda", "large"))
    assert len(report.frame) == 10_000
    path = write_report(report)
    assert path.stat().st_size < 8_000_000


def test_a_clock_that_was_set_back_gives_no_duration() -> None:
    times = {"started_utc": "2026-01-01T12:00:00+00:00", "finished_utc": "2026-01-01T11:00:00+00:00"}
    report = SimpleNamespace(environment=SimpleNamespace(fields=times))
    assert _duration(report) == ""  # type: ignore[arg-type]
    report.environment.fields = {**times, "finished_utc": "2026-01-01T13:01:00+00:00"}
    assert _duration(report) == " · in 1 h 1 min"  # type: ignore[arg-type]


def test_at_most_ten_remarks_stand_out_and_noise_is_one_of_them(make_run: Callable[..., Path]) -> None:
    run = make_run("cpu")
    rows = [
        r.model_copy(update={"status": "noisy", "cause": "disturbed"}) if r.status == "ok" and i % 2 else r
        for i, r in enumerate(_rows(run))
    ]
    body = str(summary(load_report(make_run("cpu", "noise", rows=rows))).body)
    remarks = re.findall(r'<li class="\w+">(.*?)</li>', body, re.DOTALL)
    assert 0 < len(remarks) <= 10
    (noise,) = (remark for remark in remarks if "noisy" in remark)
    assert "other processes took the CPU" in noise
    assert "the median did not settle" in noise
    assert "python -m benches doctor" in noise
    assert not [remark for remark in remarks if remark.startswith("Best")]


def test_a_chart_of_two_marks_is_a_sentence(make_run: Callable[..., Path]) -> None:
    rows = [row for row in _rows(make_run("cuda")) if row.status == "ok" and row.op == "matmul" and row.flops][:2]
    page = page_of(make_run("cuda", "two", rows=rows))
    assert 'data-chart="roofline"' not in page
    assert "Roofline of 2 points: achieved FLOP/s" in page
    assert not {"roofline", "parity"} & set(embedded(page)["charts"])


def test_a_name_that_is_cut_has_its_whole_text(make_run: Callable[..., Path]) -> None:
    body = str(summary(load_report(make_run("cuda"))).body)
    for title, head, tail in re.findall(
        r'<a class="point" title="([^"]*)"[^>]*><span class="head">([^<]*)</span><span class="tail">([^<]*)</span>', body
    ):
        assert head + tail == title
        assert len(tail) <= 20


@pytest.mark.slow
@pytest.mark.parametrize(("faster", "expected"), [(1.0, False), (1000.0, True)])
def test_a_share_that_no_machine_can_reach_is_explained(make_run: Callable[..., Path], faster: float, expected: bool) -> None:
    point = OPS["matmul"].point("torch", "fp32", {"m": 1009, "n": 127, "k": 129})
    cost = OPS["matmul"].cost(point, "cpu")
    row = new_row(point, cost, "ok", median_s=2 * cost.flops / CPU_CEILINGS["peak_flops_per_s"]["fp32"] / faster)
    text = summary(load_report(make_run("cpu", "one", rows=[row]))).body
    assert ("1 point exceeds the peaks or bandwidths that were measured as the run began" in text) == expected
