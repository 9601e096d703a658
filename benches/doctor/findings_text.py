"""Findings for people (80 columns are enough; plain text when piped) and for programs."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.markup import escape
from rich.table import Table

from benches.doctor.machine_facts import LEVELS, Facts, Finding, Level
from benches.doctor.rules import can_measure
from kernels.writing import write_text

STYLE: dict[Level, str] = {"ok": "green", "note": "cyan", "warning": "yellow", "blocks": "bold red"}


def show(findings: Sequence[Finding], console: Console) -> None:
    """What blocks comes last, next to the verdict: that is where a reader looks. Piped, a finding is one line."""
    ordered = sorted(findings, key=lambda finding: LEVELS.index(finding.level))
    if console.is_terminal:
        console.print(_table(ordered))
    else:
        for finding in ordered:
            console.print(line(finding), markup=False, highlight=False, soft_wrap=True)
    console.print(verdict(findings), highlight=False, markup=False, soft_wrap=True)


def line(finding: Finding) -> str:
    """level  where: text → do"""
    return f"{finding.level:8}{finding.where}: {finding.text}" + (f" → {finding.do}" if finding.do else "")


def _table(findings: Sequence[Finding]) -> Table:
    table = Table(box=None, pad_edge=False, show_header=False, padding=(0, 1))
    table.add_column(no_wrap=True)
    table.add_column(no_wrap=True)
    table.add_column(overflow="fold")
    for finding in findings:
        style = STYLE[finding.level]
        do = f"\n[bold]→ {escape(finding.do)}[/bold]" if finding.do else ""
        table.add_row(f"[{style}]{finding.level}[/{style}]", escape(finding.where), escape(finding.text) + do)
    return table


def verdict(findings: Sequence[Finding]) -> str:
    counts = {level: sum(finding.level == level for finding in findings) for level in LEVELS}
    named = f"{counts['blocks']} blocking, {_plural(counts['warning'], 'warning')}, {_plural(counts['note'], 'note')}"
    return f"{'This machine can measure' if can_measure(findings) else 'This machine cannot measure'}: {named}"


def _plural(count: int, word: str) -> str:
    return f"{count} {word}{'' if count == 1 else 's'}"


def write_json(path: Path, facts: Facts, findings: Sequence[Finding], checks: Sequence[dict[str, Any]] | None) -> None:
    """`checks`: the self-test's points, null where it did not run. Raises OSError."""
    found = {
        "can_measure": can_measure(findings),
        "findings": [asdict(finding) for finding in findings],
        "facts": asdict(facts),
        "selftest": checks,
    }
    write_text(path, json.dumps(found, indent=2, allow_nan=False) + "\n")
