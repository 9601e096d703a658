"""`python -m reports validation`: a first contact's output as a folder of docs/validation, and the proof table read from there."""

from __future__ import annotations

import json
import re
import xml.etree.ElementTree as ET
from dataclasses import asdict
from pathlib import Path
from typing import Any

import pytest

from benches.first_contact.check import Check
from benches.first_contact.output import append, write_summary
from benches.row import Row, new_row
from benches.run.journal import Journal, read_journal
from kernels.guard import ROOT
from kernels.registry import OPS
from reports.__main__ import main
from reports.validation.contact import medians
from reports.validation.figure import measured_over_predicted
from reports.validation.proof import CLAIMS, HEADING, Claim, Evidence, cell, load_evidence, update
from reports.validation.validation_command import PROOF_TABLE, VALIDATION

CHECKS = [
    Check("clockwork", "queue: the launch that waits", 1022, "launches", "818 to 1226", "pass"),
    Check("kernels", "matmul-triton-bf16-4096x4096x4096: error over tolerance", 0.98, "", "0 to 1", "pass"),
    Check("kernels", "matmul-torch-bf16-4096x4096x4096: peak memory", 536.0, "MB", "1 to 2", "fail", "a | b"),
    Check("summary", "constants of the cost model", None, "", "fitted", "skipped", "later"),
]
ENVIRONMENT = {
    "started_utc": "2026-11-26T18:34:14+00:00",
    "host": "secret-host",
    "device_uuid": "GPU-917ba812",
    "device_kind": "cuda",
    "device_name": "NVIDIA H100 80GB HBM3",
    "gpu": "h100_sxm5",
    "driver": "580.1",
    "variables": {"CUDA_HOME": "/home/secret"},
    "versions": {"torch": "2.11.0", "numpy": None},
}


def row(impl: str, size: int, seconds: float, status: Any = "ok") -> Row:
    point = OPS["matmul"].point(impl, "bf16", {"m": size, "n": size, "k": size})
    timed = {"median_s": seconds, "samples_s": [seconds] * 30, "mode": "graph", "cache": "cold", "error_over_tolerance": 0.5}
    return new_row(point, OPS["matmul"].cost(point, "cuda"), status, None, **timed)


@pytest.fixture
def contact(tmp_path: Path) -> Path:
    folder = tmp_path / "contact"
    folder.mkdir()
    write_summary(folder, CHECKS, "title")
    append(folder, "events", {"empty": {"seconds": [1e-6, 3e-6, 2e-6, 9e-6, 4e-6], "late": 0}})
    (folder / "environment.json").write_text(json.dumps(ENVIRONMENT), encoding="utf-8")
    journal = Journal(folder)
    for found in (row("torch", 4096, 200e-6), row("triton", 4096, 260e-6, "noisy"), row("torch", 1024, 6e-6)):
        journal.append(found)
    journal.close()
    return folder


@pytest.mark.slow
def test_a_folder_is_made_without_host_names_or_samples(contact: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validation", str(contact), "-o", str(tmp_path / "out")]) == 0
    made = tmp_path / "out" / "h100_sxm5-2026-11-26"
    assert capsys.readouterr().out == f"{made}\n"
    names = {"README.md", "checks.json", "environment.json", "measured.json", "measured.svg", "rows.jsonl"}
    assert {path.name for path in made.iterdir()} == names
    assert not [path.name for path in made.iterdir() if "secret" in path.read_text(encoding="utf-8")]
    rows = read_journal(made).rows
    assert [(r.point, r.median_s, r.samples_s) for r in rows] == [(r.point, r.median_s, []) for r in read_journal(contact).rows]
    checks = json.loads((made / "checks.json").read_text())
    assert checks[: len(CHECKS) - 1] == [asdict(check) for check in CHECKS[:-1]]
    (model,) = [check for check in checks if check["check"].startswith("matmul bf16: predicted by the shipped constants")]
    assert (model["step"], model["verdict"]) == ("cost model", "pass")
    assert json.loads((made / "environment.json").read_text())["driver"] == "580.1"
    text = (made / "README.md").read_text()
    assert text.startswith("# NVIDIA H100 80GB HBM3, 2026-11-26\n")
    assert "Not everything is as expected." in text
    assert "| kernels | matmul-torch-bf16-4096x4096x4096: peak memory | 536 MB | 1 to 2 | a \\| b |" in text
    assert "| `matmul-triton-bf16-4096x4096x4096` | noisy | graph | 260 us | 528.6 TFLOP/s |" in text  # 2·4096³ / 260e-6
    assert "| matmul bf16 | efficiency | 0.8079 |" in text


@pytest.mark.slow
def test_the_same_contact_replaces_its_folder_and_another_gets_its_own(contact: Path, tmp_path: Path) -> None:
    arguments = ["validation", str(contact), "-o", str(tmp_path / "out")]
    assert [main(arguments), main(arguments)] == [0, 0]
    (contact / "environment.json").write_text(json.dumps({**ENVIRONMENT, "started_utc": "2026-11-26T19:00:00+00:00"}), encoding="utf-8")
    assert main(arguments) == 0
    assert sorted(path.name for path in (tmp_path / "out").iterdir()) == ["h100_sxm5-2-2026-11-26", "h100_sxm5-2026-11-26"]


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"device_kind": "simulated"}, "comes from a simulated board, which is not evidence"),
        ({"started_utc": None}, "environment.json has no started_utc"),
    ],
)
def test_what_is_no_evidence_is_refused(contact: Path, change: dict[str, Any], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    before = PROOF_TABLE.read_text(encoding="utf-8")
    (contact / "environment.json").write_text(json.dumps({**ENVIRONMENT, **change}), encoding="utf-8")
    assert main(["validation", str(contact)]) == 2
    assert message in capsys.readouterr().err
    assert PROOF_TABLE.read_text(encoding="utf-8") == before


@pytest.mark.parametrize("text", ["", "{}", "[1]", '[{"step": 1}]', "[" * 5000])
def test_a_damaged_summary_is_a_line(contact: Path, tmp_path: Path, text: str, capsys: pytest.CaptureFixture[str]) -> None:
    (contact / "summary.json").write_text(text, encoding="utf-8")
    assert main(["validation", str(contact), "-o", str(tmp_path / "out")]) == 2
    assert capsys.readouterr().err.count("\n") == 1


def test_a_folder_that_is_none(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["validation", str(tmp_path)]) == 2
    assert "not the output of `python -m benches first-contact`" in capsys.readouterr().err


def test_raw_samples_become_medians() -> None:
    found = medians({"a": [3.0, 1.0, 2.0, 5.0, 4.0], "b": [{"c": [1, 2]}], "d": "text"})
    assert found == {"a": {"median": 3.0, "count": 5, "least": 1.0, "most": 5.0}, "b": [{"c": [1, 2]}], "d": "text"}


def test_the_figure_places_points_by_logarithms_and_keeps_them_inside() -> None:
    points = {"a": ("matmul", 1e-5, 1.0), "b<": ("copy", 1e-4, 100.0), "c": ("copy", 1e-6, 0.5)}
    root = ET.fromstring(measured_over_predicted(points))
    circles = [node for node in root.iter("{http://www.w3.org/2000/svg}circle") if len(node)]
    x, y = ([float(circle.get(name, "")) for circle in circles] for name in ("cx", "cy"))
    assert x[0] - x[2] == pytest.approx(x[1] - x[0])  # a factor of ten each
    assert y[1] < y[0] < y[2]
    assert all(0 <= value <= 360 for value in y)
    ET.fromstring(measured_over_predicted({}))


ONE_BOARD = Evidence("h100_sxm5-2026-11-26", CHECKS)
SHOWN = "1 of 1 checks as expected on [h100_sxm5-2026-11-26](validation/h100_sxm5-2026-11-26/README.md)"


@pytest.mark.parametrize(
    ("claim", "evidence", "expected"),
    [
        (Claim(), [ONE_BOARD], "not yet run on a GPU"),
        (Claim(left="heat"), [ONE_BOARD], "heat: not yet run on a GPU"),
        (Claim(("clockwork: *",)), [], "not yet run on a GPU"),
        (Claim(("clockwork: *",)), [ONE_BOARD], SHOWN),
        (Claim(("clockwork: *",), left="heat"), [ONE_BOARD], f"{SHOWN}; heat: not yet run on a GPU"),
        (Claim(seen="six runs"), [], "six runs"),
        (Claim(("clockwork: *",), "six runs", "heat"), [ONE_BOARD], f"{SHOWN}; six runs; heat: not yet run on a GPU"),
        (Claim(("kernels: *",)), [ONE_BOARD], SHOWN.replace("1 of 1", "1 of 2")),
        (Claim(("summary: *",)), [ONE_BOARD], "not yet run on a GPU"),  # what was skipped shows nothing
        (Claim(("faults: *",)), [ONE_BOARD], "not yet run on a GPU"),
    ],
)
def test_a_cell_of_the_proof_table(claim: Claim, evidence: list[Evidence], expected: str) -> None:
    assert cell(claim, evidence) == expected


def test_what_boards_showed_is_in_a_file_of_the_tree() -> None:
    places = [place for claim in CLAIMS.values() for place in re.findall(r"\]\((\S+)\)", claim.seen)]
    assert places
    assert [place for place in places if not (ROOT / "docs" / place).is_file()] == []


def test_only_the_last_column_of_the_proof_table_changes() -> None:
    table = [HEADING, "|---|---|---|", "| Triton AdamW | proof `a` | by hand |", "| bad input is a line | proof | – |"]
    text = "\n".join(["intro", "", *table, "", "| Triton AdamW | x | y |", ""])
    assert update(text, []) == text.replace("by hand", "not yet run on a GPU")
    assert update("no table", []) == "no table"


def test_the_proof_table_says_what_lies_in_docs_validation() -> None:
    """Nothing in its last column is written by hand, and every claim there is known."""
    text = PROOF_TABLE.read_text(encoding="utf-8")
    assert update(text, load_evidence(VALIDATION)) == text
    lines = text.split("\n")
    start = lines.index(HEADING) + 2
    table = lines[start : start + lines[start:].index("")]
    cells = {line.strip("|").split(" | ")[0].strip(): line.strip("| ").split(" | ")[-1] for line in table}
    assert {claim for claim, last in cells.items() if last != "–"} == set(CLAIMS)


def test_every_pattern_of_a_claim_names_a_step() -> None:
    from benches.first_contact.steps import STEPS

    steps = {step.name for step in STEPS} | {"cost model"}
    assert {pattern.split(":")[0] for claim in CLAIMS.values() for pattern in claim.patterns} <= steps


def test_every_figure_of_docs_validation_has_its_source_beside_it() -> None:
    found = list(VALIDATION.glob("*/checks.json"))
    assert found
    for path in found:
        assert {"README.md", "environment.json", "rows.jsonl"} <= {other.name for other in path.parent.iterdir()}
        assert "host" not in json.loads((path.parent / "environment.json").read_text())
    assert VALIDATION.is_relative_to(ROOT)
