"""A verdict for machines: JSON, JUnit XML and Markdown."""

from __future__ import annotations

import json
import xml.etree.ElementTree as ET
from dataclasses import asdict

from kernels.escaping import code, markdown, printable
from kernels.listed import and_more
from reports.nightly.model import Verdict
from reports.nightly.words import cause, change_line, commits_line, rerun_command, status_line, warning_line
from reports.units import show

JSON_VERSION = 2  # grows where a field changes its meaning or goes; new fields may come. 2: statuses hold what is still broken
LISTED = 20  # of each list in the Markdown


def to_json(verdict: Verdict) -> str:
    """All fields of model.Verdict under their names, with `version`, `headline` and `exit_code`."""
    fields = {"version": JSON_VERSION, "exit_code": verdict.exit_code, "headline": verdict.headline, **asdict(verdict)}
    return json.dumps(fields, indent=2, allow_nan=False) + "\n"


def to_junit(verdict: Verdict) -> str:
    """A test case for each confirmed regression and broken point, which fails; for each improvement, which passes; and one for the run.

    Texts are `printable`: XML 1.0 allows no control characters.
    """
    suite = ET.Element("testsuite", name="microbench nightly", tests="0", failures="0", errors="0", skipped="0")
    run = ET.SubElement(suite, "testcase", classname="nightly", name=printable(f"run {verdict.run}"))
    if verdict.suspect:
        ET.SubElement(run, "skipped", message=printable("; ".join(verdict.suspect)))
    for change in verdict.confirmed:
        case = ET.SubElement(suite, "testcase", classname=printable(f"nightly.{change.op}"), name=printable(change.point))
        if change.direction == "slower":
            failure = ET.SubElement(case, "failure", message=printable(change_line(change)), type="slower")
            failure.text = printable(
                "\n".join([cause(change), *change.attribution.evidence, commits_line(change), rerun_command(change.point, verdict.run_dir)])
            )
    for status in verdict.broken:
        case = ET.SubElement(suite, "testcase", classname="nightly.status", name=printable(status.point))
        ET.SubElement(case, "failure", message=printable(status_line(status)), type=printable(str(status.after)))
    suite.set("tests", str(len(suite.findall("testcase"))))
    suite.set("failures", str(len(suite.findall("testcase/failure"))))
    suite.set("skipped", str(len(suite.findall("testcase/skipped"))))
    ET.indent(suite)
    return ET.tostring(suite, encoding="unicode", xml_declaration=True) + "\n"


def to_markdown(verdict: Verdict) -> str:
    """A summary for a pull request or a job's page."""
    sign = {0: "✅", 1: "❌", 3: "⚠️"}[verdict.exit_code]
    parts = ["> **SIMULATED**: these times come from a model of a GPU.\n"] if verdict.simulated else []
    parts.append(f"## {sign} {markdown(verdict.headline)}\n")
    parts.append(f"{markdown(verdict.device_name)}, {len(verdict.nights)} nights, run {code(verdict.run)}\n")
    parts += [f"- ⚠️ {markdown(line)}" for line in verdict.suspect] + [""] * bool(verdict.suspect)
    if verdict.confirmed:
        parts += ["| confirmed | point | change | since | likeliest cause |", "|---|---|---|---|---|"]
        parts += [
            f"| {change.direction} | {code(change.point, in_table=True)} | {show(change.ratio, 'change')} | {change.first_night} "
            f"| {markdown('; '.join([change.attribution.cause, *change.attribution.evidence]))} |"
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
            parts += ["", f"### {title}", "", *(f"- {markdown(line)}" for line in lines[:LISTED]), *_rest(len(lines))]
    return "\n".join(parts).rstrip() + "\n"


def _rest(count: int) -> list[str]:
    return ["", f"…{and_more(count - LISTED)}"] if count > LISTED else []
