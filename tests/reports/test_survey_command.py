"""`python -m reports survey RUN`: what it prints, its exit codes and its JSON, on surveys written as `--gpus` writes them."""

from __future__ import annotations

import json
import re
import shlex
import sys
from collections.abc import Mapping
from pathlib import Path
from types import SimpleNamespace
from typing import Any, cast

import numpy as np
import pandas as pd
import pytest

from benches.run.survey_file import SurveyFile, read_survey, write_survey
from kernels.guard import ROOT
from reports import pytest_plugin
from reports.__main__ import main
from reports.pytest_plugin import NAMED, OTHERS, REPORT, SUMMARY, UNJUDGED, gpu_lines, survey_reports
from reports.survey import survey_page
from reports.survey.families import ALL, MEMORY
from reports.survey.judge import judge
from reports.survey.survey_files import to_json
from reports.survey.survey_run import SurveyRun
from reports.survey.survey_text import survey_text
from reports.survey.survey_verdict import SurveyVerdict, judge_survey
from reports.survey.thresholds import load_thresholds
from reports.survey.words import whereof
from studies.fleets.simulate import EVERYTHING, World, simulate
from tests.reports.surveys import Planted, make_survey, uuid_of

SLOW = {3: Planted({ALL: 1.2}, {"pcie_width": 8})}
SCREEN = 45  # lines of a terminal


@pytest.fixture(scope="module")
def eight(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return make_survey(tmp_path_factory.mktemp("survey") / "run", planted=SLOW)


def ran(capsys: pytest.CaptureFixture[str], *arguments: str | Path) -> tuple[int, str, str]:
    code = main(["survey", *map(str, arguments)])
    out, err = capsys.readouterr()
    return code, out.replace("\u00a0", " "), err


def test_the_answer_comes_first(eight: Path, capsys: pytest.CaptureFixture[str]) -> None:
    code, out, err = ran(capsys, eight)
    lines = out.splitlines()
    assert (code, err) == (1, "")
    assert lines[0].startswith("SIMULATED")
    assert re.fullmatch(r"1 of 8 GPUs is slow: node-000 GPU 3, (19|20|21)\.\d% slower overall\.", lines[1])
    assert re.fullmatch(r"slow +node-000 GPU 3 (19|20|21)\.\d% slower overall", lines[3].strip())
    assert lines[4].strip() == uuid_of(3)
    assert "PCIe x8 instead of x16" in out
    assert [line.split()[0] for line in lines[-4:]] == ["all", "memory", "tensor", "launch"]


def edited(run: Path, **fields: Any) -> None:
    write_survey(run, SurveyFile(**{**read_survey(run).model_dump(), **fields}))


@pytest.mark.parametrize(
    ("gpus", "planted", "lost", "fields", "code", "said"),
    [
        (5, {}, (), {}, 0, "No slow GPU among 5 GPUs: one that is"),
        (3, {}, (), {}, 0, "No slow GPU among 3 GPUs: so few that one which is slow may not be found."),
        (5, {}, (2,), {}, 3, "1 of 5 GPUs could not be judged: lost: CUDA error: GPU is lost"),
        (5, {}, (), {"finished_utc": None}, 3, "the survey is not finished"),
        (5, {}, (), {"interrupted": True}, 3, "the survey was interrupted"),
        (5, SLOW, (), {"finished_utc": None}, 1, "the survey is not finished"),
        (2, {}, (), {}, 3, "which of 2 GPUs is slow cannot be judged"),
        (1, {}, (), {}, 3, "No verdict: one GPU has no others to be compared with. 1 unusable"),
        (1, {}, (), {}, 3, "a GPU that is the only one of its kind cannot be judged: a verdict needs 3 of a kind (simulated NVIDIA H100"),
        (6, {1: Planted(environment={"driver": "535.1"})}, (), {}, 3, "driver differs among GPUs of one model"),
    ],
)
def test_exit_codes(
    gpus: int,
    planted: Mapping[int, Planted],
    lost: tuple[int, ...],
    fields: dict[str, Any],
    code: int,
    said: str,
    tmp_path: Path,
    capsys: pytest.CaptureFixture[str],
) -> None:
    run = make_survey(tmp_path / "run", gpus, 3, planted, spread=0.001, lost=lost)
    edited(run, **fields)
    found, out, err = ran(capsys, run)
    assert (found, err) == (code, "")
    assert said in " ".join(out.split())
    assert all(len(line.rstrip()) <= 80 for line in out.splitlines())


@pytest.mark.parametrize(
    ("name", "text", "said"),
    [
        (None, "", "no such directory"),
        ("rows.jsonl", "", "a run, and a survey needs several GPUs that measured the same points: measure with --gpus all"),
        ("notes.txt", "", "holds no survey.json: name the folder that `pytest benches/ --gpus all` or `python -m benches fleet` wrote"),
        ("survey.json", "", "survey.json: "),
        ("survey.json", "{", "survey.json: "),
        ("survey.json", "[]", "survey.json: "),
        ("survey.json", '{"schema_version": 9}', "of version 9, which a newer version of this suite wrote"),
        ("survey.json", '{"device_kind": "cuda", "sweeps": [], "seed": 1, "started_utc": "", "gpus": []}', "names no GPU"),
    ],
)
def test_what_is_not_a_survey_is_one_line(
    name: str | None, text: str, said: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = tmp_path / "run"
    if name:
        run.mkdir()
        (run / name).write_text(text, encoding="utf-8")
    code, out, err = ran(capsys, run)
    assert (code, out) == (2, "")
    assert err.count("\n") == 1
    assert said in err


@pytest.mark.parametrize(
    ("beside", "said", "tone"),
    [
        (1.001, "GPUs side by side do not disturb one another;", "neutral"),
        (1.05, "GPUs side by side disturb one another;", "caution"),
    ],
)
def test_whether_gpus_disturb_one_another_is_said(
    beside: float, said: str, tone: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    run = make_survey(tmp_path / "run", 5, 3, {i: Planted(beside=beside if i == 2 else 1.0) for i in range(4)}, spread=0.001)
    page, data = tmp_path / "survey.html", tmp_path / "verdict.json"
    _, out, _ = ran(capsys, run, "-o", page, "--json", data)
    change = f"copy 1024 MiB +0.0% ({beside - 1:+.1%} node-000 GPU 2)"
    assert f"note {said} change of time while the others work (and of the most disturbed GPU): {change}" in " ".join(out.split())
    assert json.loads(data.read_text(encoding="utf-8"))["side_by_side"] == [
        {"name": "copy 1024 MiB", "ratio": 1.0, "most": beside, "gpu": uuid_of(2), "gpus": 4}
    ]
    lines = [line for line in page.read_text(encoding="utf-8").splitlines() if said in line]
    assert any(tone in line for line in lines), lines


def test_a_survey_without_rows_is_suspect(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_survey(tmp_path / "run", 3, 2, lost=(0, 1, 2))
    code, out, _ = ran(capsys, run)
    assert code == 3
    assert "No verdict: none of 3 GPUs could be compared with the others." in out


def test_mistakes_in_options_are_one_line_each(eight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "mine.yaml").write_text("slower: 2%\naccused: 3\nwatched: 2\n", encoding="utf-8")
    code, _, err = ran(capsys, eight, "--thresholds", tmp_path / "mine.yaml")
    assert code == 2
    assert err.splitlines() == [
        f"{tmp_path}/mine.yaml:1: slower: '2%' is not a number (write it as 70e9, 0.5 or 1024)",
        f"{tmp_path}/mine.yaml:3: watched: 2 must be larger than accused, 3",
    ]
    assert ran(capsys, eight, "--json", tmp_path / "none" / "x.json")[::2] == (2, f"error: {tmp_path}/none: no such directory\n")
    assert ran(capsys, eight, "--inventory", tmp_path / "none.csv")[0] == 2


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("slower: 0.02\n", "1: accused: missing"),
        ("slower: 0.02\naccused: 0.1\nwatched: 1\nfamilies: {memry: 0.1}\n", "4: families.memry: unknown family (did you mean memory?)"),
        ("slower: 0.02\naccused: 0.1\nwatched: 1\nfamilies: 3\n", "4: families: needs a mapping of families, not '3'"),
        ("slower: 0.02\naccused: 0\nwatched: 1\n", "2: accused: '0' is too small: at least 0.001"),
        ("slowr: 0.02\n", "1: slowr: unknown key in a thresholds file of surveys (did you mean slower?)"),
    ],
)
def test_a_mistake_in_thresholds_names_its_line(
    text: str, said: str, eight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "mine.yaml").write_text(text, encoding="utf-8")
    code, _, err = ran(capsys, eight, "--thresholds", tmp_path / "mine.yaml")
    assert code == 2
    assert f"{tmp_path}/mine.yaml:{said}" in err.splitlines()


def test_places_from_the_inventory(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_survey(tmp_path / "run", 24, 6, {3: Planted({ALL: 1.2}), 12: Planted({ALL: 1.3})}, hosts_of=4)
    racks = "\n".join(f"node-{host:03d},,R{'1' if host in (0, 3) else '2'},{host}" for host in range(6))
    (tmp_path / "hosts.csv").write_text(f"host,gpu,rack,slot\n{racks}\n", encoding="utf-8")
    code, out, _ = ran(capsys, run, "--inventory", tmp_path / "hosts.csv")
    assert code == 1
    assert f"rack R1, slot 3; {uuid_of(12)}" in out
    assert "All 2 are in rack R1." in out


def test_a_history_knows_who_was_slow_before(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    history = tmp_path / "history"
    for night, planted in (("25", SLOW), ("26", {}), ("27", SLOW)):
        make_survey(tmp_path / night, 8, 3, planted, started=f"2026-11-{night}T02:00:00+00:00", spread=0.001)
    assert "earlier" not in ran(capsys, tmp_path / "25", "--history", history)[1]
    for _ in range(2):  # a survey that is added again counts once
        ran(capsys, tmp_path / "26", "--history", history)
    (history / "surveys" / "20200101T000000Z-bad.parquet").write_text("no", encoding="utf-8")
    code, out, _ = ran(capsys, tmp_path / "27", "--history", history)
    assert code == 1
    assert f"{uuid_of(3)}; slow before as well (1 of 2 earlier surveys)" in " ".join(out.split())
    assert "20200101T000000Z-bad.parquet: left out: damaged" in "".join(line.strip() for line in out.splitlines())
    assert len(list((history / "surveys").iterdir())) == 4


def keys_of(value: Any) -> set[str]:
    if isinstance(value, dict):
        return set(value) | set().union(*map(keys_of, value.values()))
    return set().union(*map(keys_of, value)) if isinstance(value, list) else set()


def test_the_json_holds_what_the_docs_describe(eight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    path = tmp_path / "verdict.json"
    assert ran(capsys, eight, "--json", path, "--history", tmp_path / "history")[0] == 1
    found = json.loads(path.read_text(encoding="utf-8"))
    assert (found["version"], found["exit_code"], found["simulated"]) == (1, 1, True)
    by_uuid = {gpu["gpu"]: gpu for gpu in found["gpus"]}
    slow = by_uuid[uuid_of(3)]
    assert (slow["state"], slow["slow_in"], slow["host"], slow["index"]) == ("slow", "overall", "node-000", 3)
    assert slow["differs"] == ["PCIe x8 instead of x16"]
    assert slow["slower_low"] < slow["slower"] < slow["slower_high"]
    assert [gpu["state"] for gpu in found["gpus"]].count("fine") == 7
    assert [family["family"] for family in found["groups"][0]["families"]] == ["all", "memory", "tensor cores", "launch"]
    described = (ROOT / "docs" / "fleet.md").read_text(encoding="utf-8")
    data = {"memory", "tensor cores", "launch", "other"}  # families are keys too
    missing = {name for name in keys_of(found) - data if f"`{name}`" not in described and f"].{name}`" not in described}
    assert not missing, "docs/fleet.md, JSON: describe these fields"


def test_a_json_that_cannot_be_written_leaves_the_verdict(tmp_path: Path, eight: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "folder").mkdir()
    code, out, err = ran(capsys, eight, "--json", tmp_path / "folder")
    assert (code, "1 of 8 GPUs is slow" in out) == (1, True)
    assert f"{tmp_path}/folder was not written" in err


@pytest.mark.parametrize(
    ("families", "tested", "said"),
    [
        ((), ("memory", "launch"), "overall"),
        (("memory", "launch"), ("memory", "launch"), "overall"),
        (("memory",), ("memory", "launch"), "in memory"),
        (("memory", "launch"), ("memory", "tensor cores", "launch"), "in memory and launch"),
        ((), ("memory",), "in memory"),
        (("memory",), ("memory",), "in memory"),
    ],
)
def test_what_a_gpu_is_slow_in(families: tuple[str, ...], tested: tuple[str, ...], said: str) -> None:
    assert whereof(families, tested) == said


def in_memory(gpus: int, slow: Mapping[int, tuple[str, float]], name: str = "host") -> SurveyVerdict:
    """A verdict on a simulated fleet without files."""
    rows = simulate(World(gpus=gpus, spread=0.005), 7).slowed(slow).rows()
    uuids = list(rows["gpu"].cat.categories)
    boards = pd.DataFrame(
        {"gpu": uuids, "host": [f"{name}{i // 8:03d}" for i in range(gpus)], "index": np.arange(gpus) % 8, "model": "B200"}
    )
    about: dict[str, Any] = {"device_kind": "cuda", "sweeps": ["x"], "seed": 1, "started_utc": "2026-11-27T02:00:00+00:00", "gpus": []}
    judged = judge(rows, load_thresholds(), boards)
    run = SurveyRun(Path("run"), SurveyFile(**about, finished_utc="2026-11-27T03:00:00+00:00"), rows, boards)
    return SurveyVerdict(run, judged, {gpu: [f"difference {i} of this GPU" for i in range(9)] for gpu in judged.accused["gpu"]})


@pytest.mark.slow
@pytest.mark.parametrize("slow", [1, 2, 150])
def test_a_thousand_gpus_are_a_screen_of_80_columns(slow: int) -> None:
    verdict = in_memory(1024, {5 * i: ((EVERYTHING, MEMORY)[i % 2], 0.06) for i in range(slow)})
    text = survey_text(verdict)
    assert len(text.splitlines()) <= SCREEN
    assert max(map(len, text.splitlines())) <= 80
    assert f"{slow:,} of 1,024 GPUs" in text
    assert len(json.loads(to_json(verdict))["gpus"]) == 1024


def test_names_cannot_command_the_terminal() -> None:
    text = survey_text(in_memory(9, {2: (EVERYTHING, 0.5)}, "[red]\x1b]0;x\x07host"))
    assert "[red]" in text
    assert "\x1b" not in text


def test_the_readers_entry_takes_the_same_survey(eight: Path) -> None:
    verdict = judge_survey(eight)
    assert survey_text(verdict).startswith("SIMULATED")
    assert "\x1b" in survey_text(verdict, colour=True)


def test_points_that_no_verdict_rests_on_are_counted(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_survey(tmp_path / "run", 5, 3, spread=0.001)
    assert "5 fine; 3 points compared; begun" in ran(capsys, run)[1]
    for gpu in read_survey(run).gpus:
        journal = run / gpu.directory / "rows.jsonl"
        first, *others = [json.loads(line) for line in journal.read_text(encoding="utf-8").splitlines()]
        failed = first | {"status": "timeout", "reason": "late", "median_s": None, "ci_low_s": None, "ci_high_s": None, "samples_s": []}
        journal.write_text("".join(json.dumps(row) + "\n" for row in [failed, *others]), encoding="utf-8")
    assert "5 fine; 2 of 3 points compared; begun" in ran(capsys, run)[1]


def test_gpus_that_were_lost_for_one_reason_share_a_line(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run = make_survey(tmp_path / "run", 6, 3, spread=0.001)
    gpus = [gpu.model_dump() for gpu in read_survey(run).gpus]
    reasons = {0: "fell off the bus", 1: "no answer", 4: "fell off the bus"}
    edited(run, gpus=[gpu | ({"status": "lost", "reason": reasons[i]} if i in reasons else {}) for i, gpu in enumerate(gpus)])
    code, out, _ = ran(capsys, run)
    text = " ".join(out.split())
    assert code == 3
    assert "suspect lost during the survey: node-000 GPU 0, node-000 GPU 4 (fell off the bus) suspect lost" in text
    assert "lost during the survey: node-000 GPU 1 (no answer)" in text


@pytest.mark.parametrize(
    ("missing", "line"),
    [
        (None, "no verdict on the survey (RunError: "),
        ("reports.survey.survey_text", "no verdict on the survey (reports.survey.survey_text is not installed): pip install -r"),
    ],
)
def test_a_run_of_which_no_verdict_can_be_made_keeps_its_summaries(
    missing: str | None, line: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    if missing:
        monkeypatch.setitem(sys.modules, missing, None)

    def made(folder: Path, config: pytest.Config) -> str:
        config.stash[SUMMARY] = f"the table of {folder.name}"
        return f"report: {folder}"

    monkeypatch.setattr(pytest_plugin, "report", made)
    config = cast("pytest.Config", SimpleNamespace(stash=pytest.Stash()))
    run = tmp_path / "run"
    survey_reports(run, [run / f"gpu{i}" for i in range(UNJUDGED + 1)], config)
    *pages, others, shown = config.stash[REPORT].splitlines()
    assert pages == [f"report: {run / f'gpu{i}'}" for i in range(UNJUDGED)]
    assert others == OTHERS
    assert config.stash[SUMMARY].splitlines()[:2] == ["gpu0", "the table of gpu0"]
    assert shown.startswith(line)
    assert shown.endswith(f"python -m reports survey {shlex.quote(str(run))}")


def test_a_disk_without_room_for_the_page_costs_no_verdict(eight: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def full(*given: Any) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(survey_page, "write_page", full)
    monkeypatch.setattr(pytest_plugin, "report", lambda folder, config: f"report: {folder / 'report.html'}")
    config = cast("pytest.Config", SimpleNamespace(stash=pytest.Stash(), pluginmanager=SimpleNamespace(get_plugin=lambda name: None)))
    survey_reports(eight, [eight / gpu.directory for gpu in read_survey(eight).gpus], config)
    assert "1 of 8 GPUs is slow" in config.stash[SUMMARY]
    assert config.stash[REPORT].splitlines() == [
        f"no report (OSError: [Errno 28] No space left on device); try: python -m reports html {shlex.quote(str(eight))}",
        f"of each GPU: {eight}/*/report.html",
        f"survey: python -m reports survey {shlex.quote(str(eight))}",
    ]


@pytest.mark.parametrize(
    ("made", "failed", "each", "lines"),
    [
        (8, 0, True, ["of each GPU: run/*/report.html"]),
        (7, 1, True, ["of each GPU: run/*/report.html", "no report (why)"]),
        (0, 1, True, ["no report (why)"]),
        (2, 0, False, ["of GPUs that need a look: gpu0/report.html, gpu1/report.html", OTHERS]),
        (5, 0, False, ["of GPUs that need a look: gpu0/report.html, gpu1/report.html, gpu2/report.html and 2 more", OTHERS]),
        (0, 0, False, [OTHERS]),
        (1, 1, False, ["of GPUs that need a look: gpu0/report.html", OTHERS, "no report (why)"]),
    ],
)
def test_the_end_of_a_survey_is_a_few_lines_for_any_number_of_gpus(made: int, failed: int, each: bool, lines: list[str]) -> None:
    assert NAMED == 3
    pages = [f"report: run/gpu{i}/report.html" for i in range(made)] + ["no report (why)"] * failed
    assert gpu_lines(pages, Path("run"), each) == lines


@pytest.mark.parametrize(
    "command", [["nightly", "RUN", "--history", "{tmp}/h"], ["compare", "RUN", "RUN"], ["table", "RUN"], ["explain", "RUN", "x"]]
)
def test_a_command_for_a_run_names_what_a_survey_has_instead(
    command: list[str], eight: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([part.replace("RUN", str(eight)).format(tmp=tmp_path) for part in command]) == 2
    error = capsys.readouterr().err
    assert "the folder holds a survey: name the folder of one of its GPUs in it, or see `python -m reports survey`" in error
    assert error.count("\n") == 1
