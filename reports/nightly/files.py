"""A verdict for machines: JSON, JUnit XML and Markdown."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import asdict

from reports.nightly.model import Verdict
from reports.nightly.words import cause, change_line, commits_line, rerun_command, status_line, warning_line

JSON_VERSION = 2  # grows where a field changes its meaning or goes; new fields may come. 2: statuses hold what is still broken
LISTED = 20  # of each list in the Markdown


def to_json(verdict: Verdict) -> str:
    """All fields of model.Verdict under their names, with `version`, `headline` and `exit_code`."""
    fields = {"version": JSON_VERSION, "exit_code": verdict.exit_code, "headline": verdict.headline, **asdict(verdict)}
    return json.dumps(fields, indent=2, allow_nan=False) + "\n"


def to_junit(verdict: Verdict) -> str:
    """A test case for each confirmed regression and broken point, which fails; for each improvement, which passes; and one for the run."""
    suite = ET.Element("testsuite", name="microbench nightly", tests="0", failures="0", errors="0", skipped="0")
    run = ET.SubElement(suite, "testcase", classname="nightly", name=f"run {verdict.run}")
    if verdict.suspect:
        ET.SubElement(run, "skipped", message=_xml("; ".join(verdict.suspect)))
    for change in verdict.confirmed:
        case = ET.SubElement(suite, "testcase", classname=f"nightly.{change.op}", name=_xml(change.point))
        if change.direction == "slower":
            failure = ET.SubElement(case, "failure", message=_xml(change_line(change)), type="slower")
            failure.text = _xml(
                "\n".join([cause(change), *change.attribution.evidence, commits_line(change), rerun_command(change.point, verdict.run_dir)])
            )
    for status in verdict.broken:
        case = ET.SubElement(suite, "testcase", classname="nightly.status", name=_xml(status.point))
        ET.SubElement(case, "failure", message=_xml(status_line(status)), type=str(status.after))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def _xml(text: str) -> str:
    """Without the control characters that XML 1.0 has no place for."""
    return "".join(c if c in "\t\n" or ord(c) >= 32 else "�" for c in text)


def to_markdown(verdict: Verdict) -> str:
    """A summary for a pull request or a job's page."""
    sign = {0: "✅", 1: "❌", 3: "⚠️"}[verdict.exit_code]
    parts = ["> **SIMULATED**: these times come from a model of a GPU.\n"] if verdict.simulated else []
    parts.append(f"## {sign} {_escaped(verdict.headline)}\n")
    parts.append(f"{_escaped(verdict.device_name)}, {len(verdict.nights)} nights, run `{verdict.run}`\n")
    parts += [f"- ⚠️ {_escaped(line)}" for line in verdict.suspect] + [""] * bool(verdict.suspect)
    if verdict.confirmed:
        parts += ["| confirmed | point | change | since | likeliest cause |", "|---|---|---|---|---|"]
        parts += [
            f"| {change.direction} | `{_escaped(change.point)}` | {change.ratio - 1:+.1%} | {change.first_night} "
            f"| {_escaped('; '.join([change.attribution.cause, *change.attribution.evidence]))} |"
            for change in verdict.confirmed[:LISTED]
        ]
        parts += _rest(len(verdict.confirmed))
    for title, lines in (
        ("Changed status", [status_line(one) for one in verdict.statuses]),
        ("Unusual tonight, not confirmed", [warning_line(one) for one in verdict.warnings]),
        ("Accepted", [f"{change_line(change)}: {change.accepted}" for change in verdict.accepted]),
        ("Notes", list(verdict.notes)),
    ):
        if lines:
            parts += ["", f"### {title}", "", *(f"- {_escaped(line)}" for line in lines[:LISTED]), *_rest(len(lines))]
    return "\n".join(parts).rstrip() + "\n"


def _rest(count: int) -> list[str]:
    return ["", f"… and {count - LISTED} more"] if count > LISTED else []


def _escaped(text: str) -> str:
    """Names come from sweeps and machines: neither a table's bars nor HTML."""
    return text.replace("&", "&amp;").replace("<", "&lt;").replace("|", "\\|").replace("\n", " ")
