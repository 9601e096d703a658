"""Compiles the Triton kernels of points for a GPU that is not there, each kind of launch once, and reads their main loops."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence

from kernels.ahead_of_time import Finding, examine_all
from kernels.compilation import Compilation, compiling_for
from kernels.gpus import Gpu
from kernels.inspect import compiling_progress
from kernels.kernel_bound import work_of
from kernels.launches import recorded_launches
from kernels.loop_work import LoopWork
from kernels.op import Point
from kernels.registry import OPS, impl_of


def compile_loops(points: Sequence[Point], gpu: Gpu, jobs: int) -> tuple[dict[str, tuple[LoopWork, ...]], list[str]]:
    """The main loops of each point's kernels by its id, and a line for each point whose kernels cannot be compiled here. Verdicts that are
    kept are taken, the rest is compiled in `jobs` processes. A kernel without a loop of products adds none."""
    launched, problems = launches_of(points, gpu)
    distinct = {_key(launch): launch for launches in launched.values() for launch in launches}
    findings = dict(zip(distinct, examine_all(list(distinct.values()), gpu, jobs, compiling_progress(gpu, len(distinct))), strict=True))
    loops = {}
    for name, launches in launched.items():
        found = [findings[_key(launch)] for launch in launches]
        failed = [one for one in found if one.code is None]
        problems += [f"{name}: {one.compilation.kernel.rpartition(':')[2]}: {'; '.join(one.reasons)}" for one in failed]
        if not failed:
            loops[name] = tuple(_loops(found))
    return loops, problems


def _loops(found: Iterable[Finding]) -> Iterator[LoopWork]:
    for one in found:
        work = one.code and one.code.loop and work_of(one.code.loop, one.compilation.num_warps)
        if work:
            yield work


def launches_of(points: Sequence[Point], gpu: Gpu) -> tuple[dict[str, list[Compilation]], list[str]]:
    """What each point launches by its id, from tensors without memory, and a line for each point that cannot be built so."""
    found: dict[str, list[Compilation]] = {}
    problems: list[str] = []
    with compiling_for(gpu):
        for point in points:
            try:
                found[point.id] = _launches(point)
            except Exception as error:  # whatever an implementation's own code raises on the meta device
                problems.append(f"{point.id}: {type(error).__name__}: {str(error).partition(chr(10))[0]}")
    return found, problems


def _launches(point: Point) -> list[Compilation]:
    def run() -> None:
        impl_of(point).load()(point, OPS[point.op].load("make_inputs")(point, "meta", None)).run()

    return recorded_launches(run)


def _key(launch: Compilation) -> str:
    """Equal for launches that compile to the same code."""
    return repr((launch.kernel, launch.signature, launch.constexprs, launch.aligned, launch.num_warps, launch.num_stages, launch.options))
