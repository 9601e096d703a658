"""How many rows a second the driver of a fleet brings to the disk, and the memory that it takes; with `--write`, into docs/fleet.md.

    python -m studies.fleet_driver [--gpus 16,128,1024] [--points 500] [--write]

Sixteen actors stand for the GPUs and send ready-made rows of 2.5 kB. Each size runs in a process of its own. Exit 1 where the largest
size does not reach 2,000 rows a second or takes more than 2 GB.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from benches.devices.cpu import cpu_model
from benches.fleet import fleet_command
from benches.fleet.driver import Progress
from benches.fleet.fleet_file import FleetFile
from benches.fleet.messages import Slot
from benches.fleet.ray_variables import LOCAL, set_variables
from benches.fleet.shown import Shown
from benches.run.journal import NAME as JOURNAL
from benches.sweep.load import load_sweep
from kernels.console import text_console
from kernels.guard import ROOT
from studies.marked import replace_between

ACTORS, ROW_BYTES = 16, 2500
LEAST_ROWS_PER_S, MOST_BYTES = 2000, 2e9
PAGE = ROOT / "docs" / "fleet.md"
BEGIN, END = "<!-- made by python -m studies.fleet_driver --write -->", "<!-- end of driver -->"


class Timed(Shown):
    """Keeps when rows began to come and when the last one was on the disk."""

    first_s = last_s = 0.0

    def __call__(self, progress: Progress) -> None:
        now = time.perf_counter()
        self.first_s = self.first_s or (now if progress.gpus else 0.0)
        if 0 < progress.done == progress.total and not self.last_s:
            self.last_s = now


def figures(gpus: int, points: int) -> dict[str, Any]:
    """Runs a survey of so many GPUs and points in this process."""
    set_variables(LOCAL)
    from benches.fleet import ray_agents
    from studies.fleet_driver.ready import ReadyAgents

    with tempfile.TemporaryDirectory(prefix="fleet-driver-") as folder:
        sweep_file = Path(folder, "sweep.yaml")
        dims = f"{{m: {{range: [1, {points}, 1]}}, n: 512, k: 512}}"
        sweep_file.write_text(f"name: ready\nsweeps:\n  - {{op: matmul, impl: torch, precision: bf16, dims: {dims}}}\n", encoding="utf-8")
        file = FleetFile(run_id="r", mode="survey", device_kind="simulated", node_dir="", seed=1, settings={}, point_timeout_s=300.0)
        plan = fleet_command.Plan(Path(folder, "run"), load_sweep(sweep_file), file, (), False, False)
        ray_agents.connect(LOCAL)
        quiet = text_console(io.StringIO(), 80, colour=False)
        shown = Timed(quiet)
        begin = time.perf_counter()
        try:
            order = plan.order()
            agents = ReadyAgents(LOCAL, order, ACTORS, ROW_BYTES)
            slots = [Slot("", "") for _ in range(gpus)]
            code = fleet_command.measured(plan, slots, order, agents, quiet, shown)
            end = time.perf_counter()
        finally:
            ray_agents.disconnect()
        sizes = [path.stat().st_size for path in plan.dir.rglob(JOURNAL)]
    return {
        "gpus": gpus,
        "rows": gpus * points,
        "complete": code == 0,
        "bytes": sum(sizes),
        "open_s": shown.first_s - begin,
        "rows_s": shown.last_s - shown.first_s,
        "end_s": end - shown.last_s,
        "driver_bytes": resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024,
    }


def table(found: Sequence[dict[str, Any]]) -> str:
    """Returns the figures as Markdown."""
    lines = ["| GPUs | rows | MB | rows/s | until GPUs are open, s | rows, s | closing, s | driver's memory, MB |", "|" + "---|" * 8]
    for one in found:
        rate = one["rows"] / one["rows_s"]
        seconds = " | ".join(f"{one[name]:.1f}" for name in ("open_s", "rows_s", "end_s"))
        megabytes = [one[name] / 1e6 for name in ("bytes", "driver_bytes")]
        lines.append(f"| {one['gpus']:,} | {one['rows']:,} | {megabytes[0]:,.0f} | {rate:,.0f} | {seconds} | {megabytes[1]:,.0f} |")
    return "\n".join(lines)


def main(arguments: list[str]) -> int:
    parser = argparse.ArgumentParser(prog="python -m studies.fleet_driver", description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--gpus", default="16,128,1024", metavar="N,N", help="sizes of the fleet (default: 16,128,1024)")
    parser.add_argument("--points", type=int, default=500, metavar="N", help="points of the survey (default: 500)")
    parser.add_argument("--one", action="store_true", help="measure the only size in this process and print JSON")
    parser.add_argument("--write", action="store_true", help="put the table into docs/fleet.md")
    given = parser.parse_args(arguments)
    sizes = [int(size) for size in given.gpus.split(",")]
    if given.one:
        print(json.dumps(figures(sizes[0], given.points)))
        return 0
    found = []
    for size in sizes:
        command = [sys.executable, "-m", "studies.fleet_driver", "--one", "--gpus", str(size), "--points", str(given.points)]
        done = subprocess.run(command, cwd=ROOT, stdout=subprocess.PIPE, encoding="utf-8", check=True)
        found.append(json.loads(done.stdout.splitlines()[-1]))
    about = f"{given.points} points of {ROW_BYTES / 1e3:g} kB, {ACTORS} actors, on {cpu_model()}"
    made = f"{table(found)}\n\n{about}, {os.cpu_count()} cores that other work shared."
    print(made)
    if given.write:
        replace_between(PAGE, BEGIN, END, [made])
    last = found[-1]
    met = last["complete"] and last["rows"] / last["rows_s"] >= LEAST_ROWS_PER_S and last["driver_bytes"] <= MOST_BYTES
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
