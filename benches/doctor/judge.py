"""All findings about a machine."""

from __future__ import annotations

from collections.abc import Sequence

from benches.doctor.facts import Facts
from benches.doctor.finding import Finding
from benches.doctor.gpu_rules import gpu_findings
from benches.doctor.host_rules import RULES
from benches.doctor.visible import visible_gpus


def judge(facts: Facts) -> list[Finding]:
    """Boards first, those that a run would measure on, then the rest; each in the order of its rules."""
    return [finding for gpu in visible_gpus(facts) for finding in gpu_findings(gpu)] + [
        finding for rule in RULES if (finding := rule(facts)) is not None
    ]


def can_measure(findings: Sequence[Finding]) -> bool:
    return not any(finding.level == "blocks" for finding in findings)
