"""`python -m benches fleet SWEEP --address auto|local|HOST:PORT|ray://…`: a sweep on every GPU of a Ray cluster.

Exit code 0: every point has its rows and none failed; 1: something failed or is missing; 2: refused, nothing was measured; 3: it ended
before its last point, and `--resume` continues it.
"""

from __future__ import annotations

import argparse
import getpass
import shlex
import sys
import tempfile
import uuid
from collections.abc import Sequence
from dataclasses import dataclass
from importlib.util import find_spec
from pathlib import Path
from typing import Any

from rich.console import Console

from benches.devices.node_gpus import GpuChoiceError
from benches.fleet.driver import Agents, Driver, HeadLost, described, silent_limit_s
from benches.fleet.fleet_file import NAME as FLEET
from benches.fleet.fleet_file import FleetFile, read_fleet, write_fleet
from benches.fleet.messages import Order, Slot
from benches.fleet.ray_variables import LOCAL, set_variables
from benches.fleet.run_writers import RunWriter, ShardWriter, SurveyWriter
from benches.fleet.schedule import Schedule
from benches.fleet.shipping import ship
from benches.fleet.shown import Shown
from benches.run import environment, resume
from benches.run.interrupts import deferred_interrupt
from benches.run.journal import JournalError
from benches.run.order import DEFAULT_SEED, shuffled
from benches.run.resume import SHARD, SURVEY
from benches.run.run import Request, RunError, default_run_dir
from benches.run.workers import POINT_TIMEOUT_S, Workers, settings_of
from benches.shards.split import point_seconds
from benches.sweep.load import Sweep, SweepError, load_sweep
from kernels import interpreter
from kernels.console import open_console
from kernels.escaping import one_line
from kernels.guard import CANNOT
from kernels.imports import Imported, ImportProblem, load_imports, specs
from kernels.imports import add_option as add_import_option

NEEDS = "ray is not installed: pip install 'ray>=2.60' on this machine and on every node"
NOT_COMPLETE, FAILED, DONE = 3, 1, 0
NAMED = 5
OPTIONS = ("mode", "device", "seed", "cache", "regime", "energy", "point_timeout", "node_dir")  # which a resumed run has from its beginning


class Refusal(Exception):
    """The run cannot start: one line each."""


@dataclass(frozen=True)
class Plan:
    """A run as it was asked for, before anything is written."""

    dir: Path
    sweep: Sweep
    file: FleetFile
    imports: tuple[Imported, ...]
    resuming: bool
    retry: bool

    @property
    def shared(self) -> bool:
        """Whether GPUs share the points."""
        return self.file.mode == SHARD

    def order(self) -> Order:
        """Returns what every agent is given. Raises Refusal."""
        settings = settings_of(self.file.device_kind, self.file.settings, self.file.point_timeout_s)
        request = Request(
            resolved=self.sweep.resolved,
            sweeps=[self.sweep.name],
            seed=self.file.seed,
            settings=settings,
            resuming=self.resuming,
            retry=self.retry,
            imports=self.imports,
            mode=self.file.mode,
            source=(self.file.commit, self.file.dirty),
        )
        workers = Workers(self.file.device_kind, self.file.seed, settings, limit_s=self.file.point_timeout_s)
        try:
            shipped = tuple(map(ship, self.imports))
        except OSError as e:
            raise Refusal(f"error: --import: {e.filename}: cannot be read ({e.strerror})") from None
        return Order(self.file.run_id, request, workers, shipped, self.file.node_dir)

    def ordered(self) -> list[str]:
        """Returns the points at random, so that a drift falls on no one; where GPUs share them the longest first."""
        names = shuffled([point.id for point in self.sweep.points], self.file.seed)
        if not self.shared:
            return names
        seconds = point_seconds(self.sweep)
        return sorted(names, key=lambda name: -seconds[name])


def default_node_dir() -> str:
    """Returns the folder that each machine keeps rows in."""
    return str(Path(tempfile.gettempdir()) / f"microbench-fleet-{getpass.getuser()}")


def add_command(commands: Any) -> None:
    """Adds `fleet` to the commands."""
    parser = commands.add_parser("fleet", help="measure a sweep on every GPU of a Ray cluster, or of this node")
    parser.add_argument("sweep", nargs="?", metavar="SWEEP", help="a name in configs/sweeps, or a YAML file; with --resume that of the run")
    parser.add_argument(
        "--address", default=LOCAL, metavar="auto|local|HOST:PORT|ray://…", help="the Ray cluster (default: local, this machine alone)"
    )
    parser.add_argument("--mode", choices=(SURVEY, SHARD), help="every point on every GPU (default), or each point on one")
    parser.add_argument("--max-gpus", type=int, metavar="N", help="use at most N GPUs")
    place = parser.add_mutually_exclusive_group()
    place.add_argument("--out", type=Path, metavar="RUN", help="where to write the run (default: runs/<time>-<host>-<commit>)")
    place.add_argument("--resume", type=Path, metavar="RUN", help="continue a run: only what has no row is measured")
    parser.add_argument("--retry-failed", action="store_true", help="with --resume: measure failed points again")
    parser.add_argument("--device", choices=("cuda", "simulated"), help="simulated: boards in virtual time on every node (default: cuda)")
    parser.add_argument("--seed", type=int, metavar="N", help=f"seed of inputs and order (default: {DEFAULT_SEED})")
    parser.add_argument("--cache", choices=("cold", "hot"), help="state of the caches when a sample starts (default: cold)")
    parser.add_argument("--regime", choices=("sustained", "boost"), help="back to back (default) or short bursts after idling")
    parser.add_argument("--energy", action="store_true", default=None, help="also run each point for 3 s to read the energy of a call")
    parser.add_argument(
        "--point-timeout", type=float, metavar="S", help=f"seconds after which a point is given up (default: {POINT_TIMEOUT_S:g})"
    )
    folder = "<temporary folder>/microbench-fleet-<user>"
    parser.add_argument(
        "--node-dir", metavar="DIR", help=f"folder on each node for rows until the run is complete, variables allowed (default: {folder})"
    )
    add_import_option(parser)
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Returns the exit code."""
    try:
        plan = make_plan(given)
        if find_spec("ray") is None:
            raise Refusal(f"error: {NEEDS}")
        set_variables(given.address)
        from benches.fleet import ray_agents

        try:
            ray_agents.connect(given.address)
        except Exception as e:  # Ray raises ConnectionError, RuntimeError and ValueError, each for much
            raise Refusal(f"error: --address {given.address}: {no_cluster(e)}") from None
        try:
            slots = ray_agents.slots(plan.file.device_kind, given.max_gpus)
            if not slots:
                raise Refusal(
                    f"error: --address {given.address}: the cluster has no GPU: start Ray where GPUs are, or use --device simulated"
                )
            order = plan.order()
            agents = ray_agents.RayAgents(given.address, order)
            code = measured(plan, slots, order, agents, open_console())
            if agents.head_lost:
                ray_agents.end_without_head(code)
            return code
        except GpuChoiceError as e:
            raise Refusal(f"error: {e}") from None
        finally:
            ray_agents.disconnect()
    except SweepError as e:
        return refuse(*e.problems)
    except Refusal as e:
        return refuse(*str(e).splitlines())
    except (RunError, ImportProblem, RuntimeError) as e:
        return refuse(f"error: {e}")


def refuse(*lines: str) -> int:
    for line in lines:
        print(one_line(line), file=sys.stderr)
    return CANNOT


def no_cluster(error: Exception) -> str:
    """Returns what keeps a driver from a cluster, and what to do."""
    first = next((line.strip() for line in str(error).splitlines() if line.strip()), type(error).__name__)
    return f"no cluster to join ({first}): start one with `ray start --head`, or use --address local"


def make_plan(given: argparse.Namespace) -> Plan:
    """Returns what the command line asks for. Raises Refusal, SweepError, ImportProblem and RuntimeError."""
    if given.max_gpus is not None and given.max_gpus < 1:
        raise Refusal(f"error: --max-gpus {given.max_gpus}: give 1 or more")
    if given.point_timeout is not None and not given.point_timeout > 0:
        raise Refusal(f"error: --point-timeout {given.point_timeout:g}: give more than 0 seconds")
    if given.retry_failed and not given.resume:
        raise Refusal("error: --retry-failed: it is for a run that is resumed: name that with --resume")
    before = begun(given) if given.resume else None
    if given.sweep is None and before is None:
        raise Refusal("error: name a sweep: `python -m benches list` shows them")
    kind = before.device_kind if before else given.device or "cuda"
    interpreter.choose(kind)
    imports = load_imports(specs(given.imports))
    run_dir = (given.resume or given.out or default_run_dir()).absolute()
    sweep = load_sweep(given.sweep or run_dir / "sweep.yaml")
    recorded = [one.recorded() for one in imports]
    if before is not None:
        refuse_changes(given.resume, {"imports": before.imports}, {"imports": recorded})
    return Plan(run_dir, sweep, before or fresh(given, recorded), imports, before is not None, given.retry_failed)


def refuse_changes(run_dir: Path, before: dict[str, Any], now: dict[str, Any]) -> None:
    """Raises Refusal where something changed since the run began."""
    if changes := resume.differences(before, now):
        raise Refusal(f"error: {run_dir} cannot be resumed, since this changed: {'; '.join(changes)}")


def fresh(given: argparse.Namespace, imports: list[dict[str, str]]) -> FleetFile:
    """Returns what fleet.json holds of a run that begins."""
    commit, _ = environment.commit()
    settings = {name: value for name in ("cache", "regime", "energy") if (value := getattr(given, name)) is not None}
    return FleetFile(
        run_id=uuid.uuid4().hex,
        mode="shard" if given.mode == SHARD else "survey",
        device_kind=given.device or "cuda",
        node_dir=given.node_dir or default_node_dir(),
        seed=DEFAULT_SEED if given.seed is None else given.seed,
        settings=settings,
        point_timeout_s=given.point_timeout or POINT_TIMEOUT_S,
        commit=commit,
        dirty=environment.dirty(),
        imports=imports,
    )


def begun(given: argparse.Namespace) -> FleetFile:
    """Returns how the run to resume was started. Raises Refusal."""
    named = [f"--{name.replace('_', '-')}" for name in OPTIONS if getattr(given, name) is not None]
    if named:
        raise Refusal(f"error: {', '.join(named)} with --resume: the run keeps what it was started with: leave it out")
    try:
        before = read_fleet(given.resume)
    except FileNotFoundError:
        here = "a run of pytest continues with `pytest benches/ --benchmark-only --resume`"
        raise Refusal(f"error: --resume {given.resume}: holds no {FLEET}, which `fleet` writes; {here}") from None
    except (OSError, ValueError) as e:
        raise Refusal(f"error: --resume {given.resume}: not a run of `fleet` to continue ({e})") from None
    now = {"commit": environment.commit()[0], "dirty": environment.dirty()}
    refuse_changes(given.resume, {"commit": before.commit, "dirty": before.dirty}, now)
    return before


def measured(plan: Plan, slots: Sequence[Slot], order: Order, agents: Agents, console: Console, shown: Shown | None = None) -> int:
    """Measures, writes the run and prints how it ended. Returns the exit code. Raises RunError. shown: the progress, if not as usual."""
    points = {point.id: point for point in plan.sweep.points}
    writer: RunWriter = (
        ShardWriter(plan.dir, order.request) if plan.shared else SurveyWriter(plan.dir, order.request, plan.file.device_kind)
    )
    write_fleet(plan.dir, plan.file)
    schedule = Schedule(plan.ordered(), plan.shared, writer.done)
    say(console, *(f"note: {note}" for note in writer.notes))
    say(console, f"{len(points):,} points, {len(slots)} {'GPU' if len(slots) == 1 else 'GPUs'}, run: {plan.dir}")
    cut: str | None = None
    with shown or Shown(console) as show:
        silent_s = silent_limit_s(plan.file.point_timeout_s)
        driver = Driver(agents, slots, points, schedule, writer, plan.shared, silent_s, show)
        try:
            driver.run()
        except (KeyboardInterrupt, HeadLost, JournalError) as e:
            cut = str(e) or "interrupted"
            if isinstance(e, KeyboardInterrupt):
                try:
                    driver.stop()
                except (KeyboardInterrupt, HeadLost, JournalError) as again:
                    cut = str(again) or cut
    with deferred_interrupt():
        missing = sum(len(schedule.missing(journal)) for journal in writer.journals())
        writer.close(interrupted=cut is not None or bool(missing))
        write_fleet(plan.dir, plan.file.model_copy(update={"left_out": driver.left_out}))
    return ending(plan, driver, missing, cut, console)


def ending(plan: Plan, driver: Driver, missing: int, cut: str | None, console: Console) -> int:
    """Prints what was measured, what was not and why, and what to do next. Returns the exit code."""
    progress = driver.progress
    say(console, *(f"note: {note}" for note in [*driver.notes[:NAMED], *more(driver.notes)]))
    say(console, *(f"left out: {line}" for line in described(driver.left_out)))
    say(console, f"{progress.done:,} of {progress.total:,} rows, {progress.failed:,} failed in this part")
    if cut is not None:
        say(console, f"error: {cut}")
    if cut is not None or missing:
        again = ["python", "-m", "benches", "fleet", "--resume", str(plan.dir), *(["--retry-failed"] if driver.device_lost else [])]
        imports = [word for one in plan.imports for word in ("--import", one.again)]
        say(console, f"{missing:,} {'row is' if missing == 1 else 'rows are'} missing: {shlex.join([*again, *imports])} --address …")
    say(console, f"run: {plan.dir}")
    say(console, f"python -m reports {'html' if plan.shared else 'survey'} {shlex.quote(str(plan.dir))}")
    if cut is not None:
        return NOT_COMPLETE
    return FAILED if missing or progress.failed or driver.left_out else DONE


def more(notes: Sequence[str]) -> list[str]:
    return [f"{len(notes) - NAMED} more notes"] if len(notes) > NAMED else []


def say(console: Console, *lines: str) -> None:
    for line in lines:
        console.print(one_line(line), markup=False, highlight=False, soft_wrap=True)
