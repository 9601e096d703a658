"""The last column of docs/evidence.md: what boards showed of each claim, read from docs/validation. Pure but for reading it."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from fnmatch import fnmatchcase
from pathlib import Path

from benches.first_contact.check import Check
from benches.run.json_file import read_json
from reports.validation.contact import load_checks

HEADING = "| claim | proof | on a GPU |"
NOT_YET = "not yet run on a GPU"
SIX_RUNS = "validation/2026-11-26-h100_sxm5-six-runs/README.md"
CHECKS = "checks.json"
RIGHT = "error over tolerance"


@dataclass(frozen=True)
class Claim:
    """patterns: the checks of a first contact that test it, as "step: check". seen: what else boards showed, with a link. left: what no
    board has shown."""

    patterns: tuple[str, ...] = ()
    seen: str = ""
    left: str = ""


# By the first cell of the table. A claim that needs no GPU is not here.
CLAIMS: dict[str, Claim] = {
    "Triton kernels compute the right numbers": Claim((f"kernels: *-triton-*: {RIGHT}", "selftest: *-triton-*")),
    "Triton kernels use the tensor cores, spill nothing, fit shared memory": Claim(("compile: *-triton-*",)),
    "PyTorch calls are accepted": Claim(("kernels: *-torch*: status", "torch.compile: *: status", "selftest: *-torch*")),
    "the correctness check catches wrong kernels": Claim((f"kernels: *fp8*: {RIGHT}", "selftest: *fp8*")),
    "the median's interval covers": Claim(
        seen=f"[six runs]({SIX_RUNS}) of the same code: an `ok` interval of ±0.02 to ±0.07% is of one process, runs differ by 0.02 to 1.2%"
    ),
    "the sampler's median is right and its interval covers": Claim(
        ("clockwork: events*", "clockwork: graph*", "clockwork: product*"), left="noise and heat over hours"
    ),
    "the CUDA device takes samples in that way": Claim(("clockwork: *", "counters: *", "kernels: *: mode")),
    "a bad kernel costs its point and no other": Claim(("faults: *",)),
    "views are views, and copies copies": Claim(("kernels: layout-*", "kernels: einops-*", "selftest: layout-*", "selftest: einops-*")),
    "number formats": Claim(("selftest: elementwise-*-cast-*", "selftest: elementwise-*fp8*")),
    "the CUDA allocator's rounding explains measured memory": Claim(("kernels: *: peak memory", "torch.compile: *: peak memory")),
    "optimizer steps are right, and hold what the formula says": Claim(("kernels: optimizer-*", "selftest: optimizer-*")),
    "Triton AdamW": Claim(("compile: optimizer-triton-*", "kernels: optimizer-triton-*")),
    "parameters, FLOPs, activations and peak memory of models, gradients and train steps": Claim(
        ("kernels: gradient-*: peak memory", "kernels: transformer-*: peak memory", "kernels: train_step-*: peak memory")
    ),
    "gradients and train steps are right": Claim(
        (f"kernels: gradient-*: {RIGHT}", f"kernels: transformer-*: {RIGHT}", f"kernels: train_step-*: {RIGHT}", "selftest: gradient-*")
    ),
    "the loop trains": Claim(("kernels: train_step-*: status",), seen=f"[300 steps in bf16, 100 in fp8]({SIX_RUNS})"),
    "`calibrate` finds planted constants and refuses those that rows do not determine": Claim(
        ("cost model: *",), left="rows of the sweep calibrate"
    ),
    "`compare` rarely calls the same code changed, finds what is planted, and its intervals cover": Claim(
        seen=f"[3 runs against 3]({SIX_RUNS}) of the same code: none of 18 points called"
    ),
    "`compare` on real CPU runs of the same code": Claim(left="runs of the same code"),
    "the nightly verdict's false alarms and what it finds": Claim(left="nights' real noise"),
    "attribution": Claim(left="a changed kernel"),
    "`doctor` finds what disturbs a measurement": Claim(("facts: *",)),
    "the cost model predicts an H100": Claim(("cost model: *",)),
}


@dataclass(frozen=True)
class Evidence:
    """A folder of docs/validation."""

    name: str
    checks: Sequence[Check]


def load_evidence(folder: Path) -> list[Evidence]:
    """Every board's folder by name, oldest first; folders without checks, and those of simulated boards, are left out."""
    found = []
    for path in sorted(folder.glob(f"*/{CHECKS}"), key=lambda path: path.parent.name[-10:]):
        environment = read_json(path.parent / "environment.json")
        if environment.get("device_kind") == "cuda":
            found.append(Evidence(path.parent.name, load_checks(path)[0]))
    return found


def cell(claim: Claim, evidence: Sequence[Evidence]) -> str:
    """What boards showed of a claim, and what none has."""
    shown = [text for one in evidence if (text := _shown(claim, one))] + [claim.seen] * bool(claim.seen)
    if not shown and not claim.left:
        return NOT_YET
    return "; ".join([*shown, *([f"{claim.left}: {NOT_YET}"] if claim.left else [])])


def _shown(claim: Claim, evidence: Evidence) -> str | None:
    names = [(check, f"{check.step}: {check.check}") for check in evidence.checks if check.verdict in ("pass", "fail")]
    bearing = [check for check, name in names if any(fnmatchcase(name, pattern) for pattern in claim.patterns)]
    if not bearing:
        return None
    passed = sum(check.verdict == "pass" for check in bearing)
    return f"{passed} of {len(bearing)} checks as expected on [{evidence.name}](validation/{evidence.name}/README.md)"


def update(text: str, evidence: Sequence[Evidence]) -> str:
    """docs/evidence.md with the last column of its proof table made anew."""
    lines = text.split("\n")
    if HEADING not in lines:
        return text
    for i in range(lines.index(HEADING) + 2, len(lines)):
        if not lines[i].startswith("|"):
            break
        cells = lines[i].strip("|").split(" | ")
        claim = CLAIMS.get(cells[0].strip())
        if claim is not None:
            lines[i] = "| " + " | ".join([*(part.strip() for part in cells[:-1]), cell(claim, evidence)]) + " |"
    return "\n".join(lines)
