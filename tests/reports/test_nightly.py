"""The nightly verdict end to end on the demonstration history, whose truth is known; and its parts by table."""

from __future__ import annotations

import json
import re
import shutil
import xml.etree.ElementTree as ET
from datetime import date
from pathlib import Path

import pandas as pd
import pytest

from benches.row import Row
from benches.run.sentinels import Reading
from reports.__main__ import main
from reports.history.schema import SCHEMA
from reports.history.store import add_run
from reports.nightly import demo, files, suspect
from reports.nightly.attribution import Step, attribute, effect
from reports.nightly.model import Attribution, Change, NodeShift, StatusChange, Verdict, Warned
from reports.nightly.rerun import with_rerun
from reports.nightly.statuses import status_changes
from reports.nightly.words import change_line, commits_line, summary
from reports.verdict.accepted import Accepted
from reports.verdict.thresholds import load_thresholds

pytestmark = pytest.mark.slow

FATES = demo.plan(demo.points())


@pytest.fixture(scope="module")
def made(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The demonstration, made once; tests that change it take a copy."""
    folder = tmp_path_factory.mktemp("demo")
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(demo, "JUDGED", 3)  # from the night that confirms BETTER on; each takes as long as six that are only added
        assert main(["demo-history", str(folder / "it")]) == 1
    return folder / "it"


@pytest.fixture
def last(made: Path) -> Path:
    return max((made / "runs").iterdir())


def judged(run: Path, history: Path, out: Path, *more: str) -> tuple[int, dict[str, object]]:
    """Exit code, and the verdict's JSON."""
    code = main(["nightly", str(run), "--history", str(history), "--json", str(out / "v.json"), *more])
    return code, json.loads((out / "v.json").read_text(encoding="utf-8"))


def test_what_was_planted_is_found_and_nothing_else(last: Path, made: Path, tmp_path: Path) -> None:
    code, verdict = judged(last, made / "history", tmp_path)
    assert (code, verdict["exit_code"], verdict["simulated"], verdict["version"]) == (1, 1, True, files.JSON_VERSION)
    found = {(c["point"], c["direction"]): c for c in verdict["changes"]}  # type: ignore[attr-defined]
    assert set(found) == {(FATES.slower, "slower"), (FATES.faster, "faster")}
    slower, faster = found[FATES.slower, "slower"], found[FATES.faster, "faster"]
    for change, planted in ((slower, demo.STEP), (faster, demo.BETTER)):  # a few nights of 0.6% noise, on two GPUs
        assert change["ratio"] == pytest.approx(planted, rel=0.01)
        assert change["ratio_low"] < change["ratio"] < change["ratio_high"]
    assert slower["tonight"] is True
    first = (demo.FIRST + pd.Timedelta(days=demo.STEP_NIGHT - 1)).date()  # the night began at noon of the day before
    assert slower["first_night"] == str(first)
    assert slower["attribution"]["cause"] == "kernel code"
    assert slower["commits"] == list(demo.COMMITS)
    assert [w["point"] for w in verdict["warnings"]] == [FATES.unusual]  # type: ignore[attr-defined]
    statuses = {s["point"]: (s["before"], s["after"]) for s in verdict["statuses"]}  # type: ignore[attr-defined]
    assert statuses == {FATES.broken: ("ok", "wrong"), FATES.vanished: ("ok", None)}
    assert any("shifted together: +5" in line or "shifted together: +4" in line for line in verdict["suspect"])  # type: ignore[attr-defined]


def test_a_change_is_said_once_and_an_accepted_one_fails_nothing(made: Path, tmp_path: Path) -> None:
    shutil.copytree(made, tmp_path / "it")
    last = max((tmp_path / "it" / "runs").iterdir())
    text = f"accepted:\n  - {{point: '{FATES.slower}', since: 2026-11-06, change: slower, why: checks its bounds now}}\n"
    (tmp_path / "accepted.yaml").write_text(text, encoding="utf-8")
    rows = [Row.model_validate_json(line) for line in (last / "rows.jsonl").read_text(encoding="utf-8").splitlines()]
    mended = [row.model_copy(update={"status": "ok"}) if row.status == "wrong" else row for row in rows]
    (last / "rows.jsonl").write_text("".join(row.model_dump_json() + "\n" for row in mended), encoding="utf-8")
    code, verdict = judged(last, tmp_path / "it" / "history", tmp_path, "--accepted", str(tmp_path / "accepted.yaml"))
    assert code == 3  # the second GPU moved, which is suspect
    accepted = [c["accepted"] for c in verdict["changes"] if c["point"] == FATES.slower]  # type: ignore[attr-defined]
    assert accepted == ["checks its bounds now"]


def test_first_night(made: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    first = min((made / "runs").iterdir())
    assert main(["nightly", str(first), "--history", str(tmp_path / "new")]) == 0
    assert "No verdict yet: 1 night of history is too little" in " ".join(capsys.readouterr().out.split())


def test_a_changed_driver_begins_new_series_and_says_so(made: Path, tmp_path: Path) -> None:
    runs = sorted((made / "runs").iterdir())
    *before, last_before = runs[: 2 * demo.DRIVER_NIGHT]
    for run in before:
        add_run(tmp_path / "h", run)
    main(["nightly", str(last_before), "--history", str(tmp_path / "h"), "--webhook-text"])
    code, verdict = judged(runs[2 * demo.DRIVER_NIGHT], tmp_path / "h", tmp_path)
    assert code == 3
    assert verdict["environment"] == [f"driver: {demo.DRIVERS[0]} → {demo.DRIVERS[1]}"]
    assert verdict["nights"] == ["2026-10-06"]
    told = [note for note in verdict["notes"] if note.startswith("Since driver: ")]  # type: ignore[attr-defined]
    assert told == [
        f"Since driver: {demo.DRIVERS[0]} → {demo.DRIVERS[1]}, in the mean, of one night: no family moved by more than matters."
    ]


def test_what_an_upgrade_did_is_told_by_family(tmp_path: Path) -> None:
    """Matmuls of torch take 1.1 times as long, on one point in two even 1.2 times; the others nothing."""

    def levels(*log_s: float) -> pd.DataFrame:
        points = [{"point": f"p{i}", "op": "matmul" if i < 2 else "einsum", "impl": "torch", "precision": "bf16"} for i in range(4)]
        return pd.DataFrame(points).assign(regime="sustained", cache=None, mode=None, log_s=log_s)

    told = effect(levels(0, 0, 1, 1), levels(0.1, 0.3, 1.001, 0.999), ["torch: 2.11 → 2.13"], load_thresholds())
    assert told == ["Since torch: 2.11 → 2.13, in the mean, of one night: matmul torch bf16 +22.1% (2 points)."]
    assert effect(levels(0, 0, 1, 1), levels(0, 0, 1, 1).assign(point="other"), ["torch: 2.11 → 2.13"], load_thresholds()) == []


@pytest.mark.parametrize(
    ("before", "tonight", "points"),
    [("events", "events", 2), (None, "events", 2), ("events", None, 2), (None, None, 2), ("events", "graph", None)],
)
def test_an_upgrade_is_not_told_by_times_of_another_mode(before: str | None, tonight: str | None, points: int | None) -> None:
    one = {"op": "matmul", "impl": "torch", "precision": "bf16", "regime": "sustained", "cache": "cold"}
    old, new = (pd.DataFrame([one | {"point": p, "mode": mode, "log_s": s} for p in "ab"]) for mode, s in ((before, 0.0), (tonight, 0.1)))
    told = effect(old, new, ["driver: 1 → 2"], load_thresholds())
    assert [f"({points} points)" in line for line in told] == ([True] if points else [])


def test_missing_nights_are_said(made: Path, tmp_path: Path) -> None:
    runs = sorted((made / "runs").iterdir())
    for run in (runs[20], runs[22]):
        main(["nightly", str(run), "--history", str(tmp_path / "h")])
    _, verdict = judged(runs[30], tmp_path / "h", tmp_path)
    assert "No run in the 3 nights before this one." in verdict["notes"]  # type: ignore[operator]


@pytest.mark.parametrize(
    ("arguments", "line"),
    [
        (["{tmp}/nothing", "--history", "{tmp}/h"], "no readable rows.jsonl"),
        (["{run}", "--history", "{tmp}/h", "--accepted", "{tmp}/no.yaml"], "no.yaml"),
        (["{run}", "--history", "{tmp}/h", "--thresholds", "{tmp}/bad.yaml"], "bad.yaml:1: "),
        (["{run}", "--history", "{tmp}/bad.yaml"], "error: "),
        (["{run}", "--history", "{tmp}/h", "--prune", "1"], "--prune deleted it"),
    ],
)
def test_unusable_input_is_a_line_and_exit_2(
    arguments: list[str], line: str, last: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "bad.yaml").write_text("defualt: 1\n", encoding="utf-8")
    if "--prune" in arguments:
        fields = json.loads((last / "environment.json").read_text(encoding="utf-8"))
        last = Path(shutil.copytree(last, tmp_path / "old"))
        (last / "environment.json").write_text(json.dumps(fields | {"started_utc": "2020-01-01T00:00:00+00:00"}), encoding="utf-8")
    assert main(["nightly", *(one.format(tmp=tmp_path, run=last) for one in arguments)]) == 2
    captured = capsys.readouterr()
    assert line in captured.err
    assert "Traceback" not in captured.err
    assert captured.out == ""


def test_files_for_machines(last: Path, made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GITHUB_STEP_SUMMARY", str(tmp_path / "summary.md"))
    judged(last, made / "history", tmp_path, "--junit", str(tmp_path / "v.xml"), "--markdown", str(tmp_path / "v.md"))
    suite = ET.parse(tmp_path / "v.xml").getroot()
    assert (suite.get("tests"), suite.get("failures"), suite.get("skipped")) == ("3", "2", "1")
    assert {case.get("name") for case in suite.findall("testcase[failure]")} == {FATES.slower, FATES.broken}
    markdown = (tmp_path / "v.md").read_text(encoding="utf-8")
    assert markdown.startswith("> **SIMULATED**")
    (percent,) = re.findall(rf"\| slower \| `{re.escape(FATES.slower)}` \| \+([\d.]+)% \|", markdown)
    assert float(percent) == pytest.approx(100 * (demo.STEP - 1), abs=1)  # as in the table's test: a few nights of 0.6% noise
    assert (tmp_path / "summary.md").read_text(encoding="utf-8") == markdown


def test_webhook_text_is_all_that_is_printed(last: Path, made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    main(["nightly", str(last), "--history", str(made / "history"), "--webhook-text"])
    lines = capsys.readouterr().out.splitlines()
    assert lines[0].startswith("SIMULATED: 1 confirmed slower; 1 broke")
    assert len(lines) < 8


def test_demo_refuses_a_folder_that_is_used(made: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["demo-history", str(made)]) == 2
    assert "already holds runs" in capsys.readouterr().err


# --- attribution


def lines(**columns: list[object]) -> pd.DataFrame:
    """Four nights of a series: n1, n2 before a step and n3, n4 after it, on one GPU unless `gpu` says otherwise."""
    base = {name: [None] * 4 for name in SCHEMA.names} | {
        "night": ["n1", "n2", "n3", "n4"],
        "gpu": ["a"] * 4,
        "median_s": [1.0, 1.0, 1.1, 1.1],
    }
    frame = pd.DataFrame(base | columns)
    for name in ("sm_clock_hz", "memory_clock_hz", "power_w", "temperature_c", "median_s"):
        frame[name] = frame[name].astype(float)
    return frame


def sentinel(*seconds: float) -> pd.DataFrame:
    return pd.DataFrame({"night": ["n1", "n2", "n3", "n4"], "gpu": ["a"] * 4, "name": ["copy"] * 4, "seconds": seconds})


QUIET = sentinel(1.0, 1.001, 0.999, 1.0)
NODE = [NodeShift("a", "n3", 1.05, 100)]
INCOMPARABLE = "the source cannot be compared: its hashes before and after follow different rules"


@pytest.mark.parametrize(
    ("frame", "sentinels", "shifts", "cause", "evidence"),
    [
        (lines(), QUIET, [], "unknown", ()),
        (lines(config=["x", "x", "y", "y"]), QUIET, [], "kernel code", ("the chosen configuration changed: x → y",)),
        (
            lines(machine_code_hash=["1", "1", "2", "2"], sm_clock_hz=[2e9, 2e9, 1e9, 1e9]),
            QUIET,
            NODE,
            "kernel code",
            ("the machine code changed: 1 → 2",),
        ),
        (lines(source_hash=["1", "1", None, "2"]), QUIET, [], "kernel code", ("the source changed: 1 → 2",)),
        (lines(source_hash=["v2:1", "v2:1", "v2:2", None]), QUIET, [], "kernel code", ("the source changed: v2:1 → v2:2",)),
        (lines(source_hash=["1", "1", "v2:1", "v2:1"]), QUIET, [], "unknown", (INCOMPARABLE,)),
        (lines(source_hash=["v2:1", "v2:1", "v3:1", "v3:1"]), QUIET, [], "unknown", (INCOMPARABLE,)),
        (lines(source_hash=["1", "v2:1", "v2:1", "v2:1"]), QUIET, [], "unknown", ()),  # the same by the rules that both sides have
        (lines(source_hash=["1", "v2:1", "v2:2", "v2:2"]), QUIET, [], "kernel code", ("the source changed: v2:1 → v2:2",)),
        (lines(source_hash=["1", "1", "1", "v2:1"]), QUIET, [], "unknown", ()),
        (lines(source_hash=[None, None, "v2:1", "v2:1"]), QUIET, [], "unknown", ()),
        (lines(source_hash=["1", "1", "v2:1", "v2:1"], cublas=["1", "1", "2", "2"]), QUIET, [], "software", ("cuBLAS changed: 1 → 2",)),
        (lines(source_hash=["1", "1", "v2:1", "v2:1"]), QUIET, NODE, "the node", ("every series on a moved that night: +5.0%",)),
        (lines(source_hash=["v2:1", "v2:1", "v2:2", "v2:2"], machine_code_hash=["a"] * 4), QUIET, [], "unknown", ()),  # the same code ran
        (
            lines(source_hash=["v2:1", "v2:1", "v2:2", "v2:2"], machine_code_hash=["a", "a", "b", "b"]),
            QUIET,
            [],
            "kernel code",
            ("the machine code changed: a → b",),
        ),
        (
            lines(source_hash=["v2:1", "v2:1", "v2:2", "v2:2"], machine_code_hash=[None, None, "b", "b"]),
            QUIET,
            [],
            "kernel code",
            ("the source changed: v2:1 → v2:2",),
        ),
        (lines(cublas=["12.8", "12.8", "12.9", "12.9"]), QUIET, [], "software", ("cuBLAS changed: 12.8 → 12.9",)),
        (lines(cudnn=["91900", "91900", "92000", "92000"]), QUIET, [], "software", ("cuDNN changed: 91900 → 92000",)),
        (lines(cuda_runtime=["12.8", "12.8", "13.0", None]), QUIET, [], "software", ("the CUDA runtime changed: 12.8 → 13.0",)),
        (
            lines(variables=["{}", "{}", '{"CUDA_LAUNCH_BLOCKING": "1"}', '{"CUDA_LAUNCH_BLOCKING": "1"}']),
            QUIET,
            [],
            "software",
            ("environment variable CUDA_LAUNCH_BLOCKING: not set → 1",),
        ),
        (lines(variables=[None, None, '{"CUDA_LAUNCH_BLOCKING": "1"}', None]), QUIET, [], "unknown", ()),  # older files match any
        (lines(sm_clock_hz=[1.98e9, 1.98e9, 1.7e9, 1.7e9]), QUIET, [], "this GPU", ("SM clock moved: 1980 → 1700 MHz",)),
        (lines(sm_clock_hz=[1.98e9, 1.98e9, 1.97e9, 1.97e9]), QUIET, [], "unknown", ()),
        (lines(sm_clock_hz=[1.7e9, 1.7e9, 1.98e9, 1.98e9]), QUIET, [], "unknown", ()),  # a higher clock makes nothing slower
        (lines(power_w=[500.0, 500.0, 700.0, 700.0]), QUIET, [], "unknown", ()),  # power says why a clock moved, and this one did not
        (lines(), sentinel(1.0, 1.0, 1.04, 1.04), [], "this GPU", ("sentinel copy moved: +4.0%",)),
        (lines(), sentinel(1.0, 1.0, 0.9, 0.9), [], "unknown", ()),  # faster, where the series became slower
        (lines(), QUIET, NODE, "the node", ("every series on a moved that night: +5.0%",)),
        (lines(), QUIET, [NodeShift("a", "n1", 1.05, 100)], "unknown", ()),  # another night
    ],
)
def test_attribution(frame: pd.DataFrame, sentinels: pd.DataFrame, shifts: list[NodeShift], cause: str, evidence: tuple[str, ...]) -> None:
    assert attribute(Step(["n1", "n2"], ["n3", "n4"], 0.095), frame, sentinels, shifts) == Attribution(cause, evidence)  # type: ignore[arg-type]


def test_one_gpu_of_two() -> None:
    two = pd.concat([lines(), lines(gpu=["b"] * 4, median_s=[1.0, 1.0, 1.0, 1.0])])
    found = attribute(Step(["n1", "n2"], ["n3", "n4"], 0.095), two, QUIET, [])
    assert found == Attribution("this GPU", ("only on a; not on b",))


def test_what_a_whole_gpu_moved_by_is_no_difference_between_gpus() -> None:
    """b became 10% slower as a whole in the night in which the series became 10% slower on both."""
    two = pd.concat([lines(), lines(gpu=["b"] * 4, median_s=[1.0, 1.0, 1.21, 1.21])])
    shifts = [NodeShift("b", night, 1.1, 100) for night in ("n3", "n4")]
    assert attribute(Step(["n1", "n2"], ["n3", "n4"], 0.095), two, QUIET, []).evidence == ()
    assert "not on" not in "".join(attribute(Step(["n1", "n2"], ["n3", "n4"], 0.095), two, QUIET, shifts).evidence)


# --- statuses, suspects, words


def status_frame(status: str | None) -> pd.DataFrame:
    return pd.DataFrame({"point": ["p"], "status": [status], "reason": ["why"]}).dropna(subset="status")


def earlier(*statuses: str) -> pd.DataFrame:
    """Nights 2026-11-01, 02, … in which a point ended so."""
    nights = [f"2026-11-{i + 1:02}" for i in range(len(statuses))]
    return pd.DataFrame({"point": ["p"] * len(statuses), "status": statuses, "night": nights})


@pytest.mark.parametrize(
    ("before", "after", "expected"),
    [
        ("ok", "ok", None),
        ("ok", "noisy", None),
        ("ok", "throttled", None),
        ("ok", "wrong", ("ok", "wrong", True)),
        ("verified", "crashed", ("verified", "crashed", True)),
        ("oom", "ok", ("oom", "ok", False)),
        ("oom", "wrong", ("oom", "wrong", False)),
        (None, "ok", (None, "ok", False)),
        (None, "wrong", (None, "wrong", False)),
        ("ok", None, ("ok", None, False)),
        ("ok", "skipped", ("ok", "skipped", False)),
    ],
)
def test_statuses(before: str | None, after: str | None, expected: tuple[str | None, str | None, bool] | None) -> None:
    past = earlier(*[before] if before else [])
    changes = status_changes(status_frame(before), past, status_frame(after), "2026-11-09")
    assert [(one.before, one.after, one.broke) for one in changes] == ([expected] if expected else [])


@pytest.mark.parametrize(
    ("past", "since"),
    [
        (["ok"], "2026-11-09"),
        (["ok", "wrong", "wrong"], "2026-11-02"),  # still, and said until it works or is accepted
        (["ok", "skipped"], "2026-11-09"),  # what lies between says nothing
        (["ok", "unsupported", "oom", "skipped"], "2026-11-03"),
        (["wrong", "wrong"], None),  # it never worked
        ([], None),
    ],
)
def test_a_point_that_worked_is_broken_until_it_works_again(past: list[str], since: str | None) -> None:
    found = status_changes(status_frame(past[-1] if past else None), earlier(*past), status_frame("wrong"), "2026-11-09")
    assert [one.since for one in found if one.broke] == ([since] if since else [])
    verdict = Verdict(**(vars(VERDICT) | {"statuses": found, "night": "2026-11-09"}))
    assert verdict.exit_code == (1 if since else 0)
    assert ("still broken" in verdict.headline) == (since is not None and since != "2026-11-09")
    if since:
        entry = Accepted("p*", date.fromisoformat(since), "wrong", "known", "f:1")
        assert not any(one.broke for one in status_changes(None, earlier(*past), status_frame("wrong"), "2026-11-09", [entry]))
        other = Accepted("p*", date.fromisoformat(since), "crashed", "known", "f:1")
        assert any(one.broke for one in status_changes(None, earlier(*past), status_frame("wrong"), "2026-11-09", [other]))


A_RUN = dict.fromkeys(SCHEMA.names) | {"device_uuid": "GPU-0", "driver": "570.1", "torch": "2.11.0"}


@pytest.mark.parametrize(
    ("before", "tonight", "changes"),
    [
        ({}, {}, ()),
        ({"driver": "570.1"}, {"driver": "580.2"}, ("driver: 570.1 → 580.2",)),
        ({"triton": None}, {"triton": "3.6.0"}, ("triton: None → 3.6.0",)),
        ({}, {"cudnn": "91900", "cuda_runtime": "13.0", "vbios": "96.00", "variables": '{"OMP_NUM_THREADS": "4"}'}, ()),  # an older file
        ({"cudnn": "91900"}, {"cudnn": "92000"}, ("cudnn: 91900 → 92000",)),
        ({"tuned": "53af6e2e"}, {"tuned": "0c91d7aa"}, ("tuned: 53af6e2e → 0c91d7aa",)),
        ({"tuned": None}, {"tuned": "0c91d7aa"}, ("tuned: no file → 0c91d7aa",)),
        ({"tuned": "53af6e2e"}, {"tuned": None}, ("tuned: 53af6e2e → no file",)),
        ({"cuda_runtime": "12.8"}, {"cuda_runtime": "13.0"}, ("cuda_runtime: 12.8 → 13.0",)),
        ({"vbios": "96.00"}, {"vbios": "97.00"}, ("vbios: 96.00 → 97.00",)),
        ({"vbios": "96.00"}, {"vbios": "97.00", "device_uuid": "GPU-1"}, ()),  # another board
        ({"variables": "{}"}, {"variables": "{}"}, ()),
        ({"variables": "{}"}, {"variables": '{"CUDA_LAUNCH_BLOCKING": "1"}'}, ("CUDA_LAUNCH_BLOCKING: not set → 1",)),
        ({"variables": '{"A": "1", "B": "1"}'}, {"variables": '{"B": "2", "C": ""}'}, ("A: 1 → not set", "B: 1 → 2", "C: not set → ")),
    ],
)
def test_changes_of_the_environment(before: dict[str, str], tonight: dict[str, str], changes: tuple[str, ...]) -> None:
    assert suspect.environment_changes(A_RUN | before, A_RUN | tonight) == changes


TIMED = pd.DataFrame({"median_s": [1.0] * 10, "status": ["ok"] * 10})


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, ""),
        ({"environment": ["driver: 1 → 2"]}, "The environment changed (driver: 1 → 2)"),
        ({"lines": TIMED.assign(status=["throttled"] * 2 + ["ok"] * 8)}, "2 of 10 timed points were throttled"),
        ({"readings": [Reading("copy", i, "", 1 + 0.05 * (i >= 3)) for i in range(6)]}, "The device drifted"),
        ({"environment": ["cublas: 1 → 2"]}, "The environment changed (cublas: 1 → 2): check this first."),
        ({"shifts": [NodeShift("a", "n", 1.05, 50, 1.03)]}, "Every series on a shifted together: +3.0% from the usual level there"),
        ({"shifts": [NodeShift("a", "n", 1.05, 50, 1.03)], "sentinels": 1.001}, "look for a change in the code that most points share"),
        ({"shifts": [NodeShift("a", "n", 1.05, 50, 1.03)], "sentinels": 1.028}, "so did the sentinels, by +2.8%: look at the machine"),
        ({"shifts": [NodeShift("a", "n", 1.05, 50, 0.95)], "sentinels": 1.05}, "look for a change in the code that most points share"),
        ({"shifts": [NodeShift("a", "n", 1.05, 50, 1.005)]}, ""),  # that GPU is always slower than another
        ({"shifts": [NodeShift("a", "n", 1.05, 50, None)]}, ""),  # its first nights do not tell what is usual
        ({"shifts": [NodeShift("a", "n", 1.05, 50, 1.03)], "usual": suspect.usual_for("cpu", 0.01)}, ""),
        ({"lines": TIMED.assign(median_s=float("nan"), status="crashed")}, "No point was timed."),
        ({"lines": TIMED.assign(median_s=float("nan"), status="verified")}, ""),
        (
            {"modes": {"events → graph": ["a"]}},
            "1 point is timed in another mode than before (events → graph: a): its series begins anew tonight, unless it was timed in t",
        ),
        (
            {"modes": {"events → graph": list("abcde"), "graph → host": ["f"]}},
            "6 points are timed in another mode than before (events → graph: a, b, c and 2 more; graph → host: f): their series begin anew",
        ),
        ({"interrupted": True}, "did not finish"),
    ],
)
def test_suspects(given: dict[str, object], words: str) -> None:
    usual = {
        "environment": [],
        "modes": {},
        "lines": TIMED,
        "readings": [],
        "shifts": [],
        "usual": suspect.usual_for("cuda", 0.01),
        "interrupted": False,
    }
    found = suspect.reasons(**(usual | given))  # type: ignore[arg-type]
    assert len(found) == bool(words)
    assert words in "".join(found)


CHANGE = Change(
    **{"series": 0, "point": "p|<b>", "op": "matmul", "impl": "torch", "precision": "bf16", "direction": "slower"},  # type: ignore[arg-type]
    **{"ratio": 1.05, "ratio_low": 1.03, "ratio_high": 1.07, "before_s": 1e-5, "after_s": 1.05e-5, "p": 1e-6, "q": 1e-4},  # type: ignore[arg-type]
    **{"first_night": "2026-11-01", "last_night_before": "2026-10-31", "confirmed_night": "2026-11-03", "nights": 3, "tonight": True},  # type: ignore[arg-type]
)
VERDICT = Verdict("r", "runs/r", "2026-11-03", False, "NVIDIA H100", ("a",), ("2026-11-03",), 9, 8, (), (), (), (), (), ())


@pytest.mark.parametrize(
    ("fields", "code"),
    [
        ({}, 0),
        ({"changes": (CHANGE,)}, 1),
        ({"changes": (CHANGE,), "suspect": ("hot",)}, 1),
        ({"suspect": ("hot",)}, 3),
        ({"statuses": (StatusChange("p", "ok", "oom", since="2026-11-03"),)}, 1),
        ({"statuses": (StatusChange("p", "ok", "oom", since="2026-11-03", accepted="known"),)}, 0),
        ({"statuses": (StatusChange("p", None, "oom"),)}, 0),
        ({"statuses": (StatusChange("p", "ok", None),)}, 0),
        ({"warnings": (Warned(0, "p", 1.2, 9.0, 1e-5),)}, 0),
    ],
)
def test_exit_codes(fields: dict[str, object], code: int) -> None:
    verdict = Verdict(**(vars(VERDICT) | fields))
    assert verdict.exit_code == code
    assert verdict.headline.endswith("8 of 9 series judged, night of 2026-11-03")
    assert json.loads(files.to_json(verdict))["exit_code"] == code


def test_names_are_text_everywhere() -> None:
    verdict = Verdict(**(vars(VERDICT) | {"changes": (CHANGE,)}))
    assert "`p\\|<b>`" in files.to_markdown(verdict)
    assert ET.fromstring(files.to_junit(verdict)).find("testcase[failure]").get("name") == "p|<b>"  # type: ignore[union-attr]
    assert summary(verdict)[1].startswith("slower: p|<b>  +5.0% (+3.0% … +7.0%)")
    assert "since 2026-11-01" in change_line(CHANGE)
    assert commits_line(CHANGE) == ""


def test_a_rerun_tells_what_repeats() -> None:
    verdict = Verdict(**(vars(VERDICT) | {"warnings": tuple(Warned(0, name, 1.2, 9.0, 1e-5) for name in "abc")}))
    again = with_rerun(verdict, {"a": 1.19e-5, "b": 1.01e-5}, None).warnings
    assert [one.again for one in again] == [
        "seen again in a fresh process: +19.0%",
        "not seen again in a fresh process: +1.0%",
        "could not be measured again",
    ]
