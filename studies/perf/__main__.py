"""Prints one line a figure: what was measured in this run on this machine, the limit, and whether it was met. Exit 1 where not."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import dataclass

from rich.table import Table

from benches.devices.cpu import cpu_model
from kernels.console import open_console
from studies.perf import collection, kernels_on_cpu, nightly_page, overhead, page, planning


@dataclass(frozen=True)
class Figure:
    """One measured figure. `limit` is the largest allowed value; `unit` says what both count."""

    name: str
    value: float
    limit: float
    unit: str

    @property
    def met(self) -> bool:
        return self.value <= self.limit


PARTS: dict[str, Callable[[], list[tuple[str, float, float, str]]]] = {
    "collection": collection.figures,
    "planning": planning.figures,
    "overhead": overhead.figures,
    "page": page.figures,
    "nightly_page": nightly_page.figures,
    "kernels": kernels_on_cpu.figures,
}


def main(names: list[str]) -> int:
    unknown = [name for name in names if name not in PARTS]
    if unknown:
        print(f"error: no part {unknown[0]!r}; one of {', '.join(PARTS)}", file=sys.stderr)
        return 2
    table = Table("figure", "measured", "limit", "", title=f"on {cpu_model()}, shared; all in one run")
    met = True
    for name in names or PARTS:
        for figure in (Figure(*fields) for fields in PARTS[name]()):
            met &= figure.met
            table.add_row(figure.name, f"{figure.value:.3g} {figure.unit}", f"{figure.limit:g}", "met" if figure.met else "NOT MET")
    open_console().print(table)
    return 0 if met else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
