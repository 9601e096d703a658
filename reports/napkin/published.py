"""Published runs beside the napkin's answers: configs/published/runs.yaml, each with the question that asks for its figure."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from kernels.strict_yaml.nodes import Map, Seq, describe, read_text, read_yaml
from kernels.strict_yaml.problems import Problems, Spot
from kernels.strict_yaml.values import known_keys, missing, number, word
from reports.napkin.answer import answer
from reports.napkin.question import question_of
from reports.units import compact

RUNS = Path(__file__).parents[2] / "configs" / "published" / "runs.yaml"
FIELDS = ("id", "source", "place", "read", "quantity", "value", "unit", "result", "allowed", "cause", "question")
EXPLAIN = 0.03  # a larger deviation needs its cause


@dataclass(frozen=True)
class Published:
    """A figure of a paper beside the answer. `read`: the address at which it was read, or "not checked". `allowed`: the relative deviation
    that a test holds it to; `cause`: what it comes from."""

    id: str
    source: str
    place: str
    read: str
    quantity: str
    value: float
    unit: str
    answered: float
    allowed: float
    cause: str

    @property
    def deviation(self) -> float:
        """Relative, of the answer."""
        return self.answered / self.value - 1


def published(path: Path = RUNS) -> list[Published]:
    """Every run of the file, answered. Raises SweepError, which holds every mistake found."""
    problems = Problems()
    file = str(path)
    root = read_yaml(read_text(path, Spot(file, 1), "runs", problems), file, problems, "table of runs")
    known_keys(root, ("runs",), "a table of runs", problems)
    listed = root.items["runs"].value if "runs" in root.items else root
    if not isinstance(listed, Seq) or not listed.items:
        problems.fail(root.spot, "runs", f"needs a list of runs, not {describe(listed)}")
    found = []
    for node in listed.items:
        if isinstance(node, Map):
            found.append(_run(node, file, path.parent, problems))
        else:
            problems.add(node.spot, "runs", f"a run is a mapping with {', '.join(FIELDS)}, not {describe(node)}")
    problems.check()
    return [one for one in found if one]


def _run(node: Map, file: str, folder: Path, problems: Problems) -> Published | None:
    known_keys(node, FIELDS, "a run", problems)
    absent = [field for field in FIELDS if field not in node.items]
    if absent:
        missing(node.spot, "runs", absent, problems)
        return None
    words = {key: word(node.items[key].value, key, problems) for key in FIELDS if key not in ("value", "allowed", "question")}
    value = number(node.items["value"].value, "value", problems)
    allowed = partial(number, low=0, high=1)(node.items["allowed"].value, "allowed", problems)
    asked = node.items["question"].value
    if not isinstance(asked, Map):
        problems.add(asked.spot, "question", f"needs a mapping of keys, not {describe(asked)}")
        return None
    question = question_of(asked, str(words["id"]), file, folder, problems)
    results = answer(question).results
    if words["result"] not in results:
        problems.add(node.items["result"].value.spot, "result", f"{question.ask} has none of this name; valid: {', '.join(results)}")
        return None
    if value is None or allowed is None or None in words.values():
        return None
    texts = {key: str(text) for key, text in words.items() if key != "result"}
    return Published(**texts, value=value, answered=results[str(words["result"])], allowed=allowed)


def markdown(runs: Sequence[Published]) -> str:
    """The runs as a table."""
    head = ["| source | quantity | published | answered | deviation | cause | read |", "|---|---|--:|--:|--:|---|---|"]
    return "\n".join([*head, *(f"| {' | '.join(cells(run))} |" for run in runs)])


def cells(run: Published) -> tuple[str, ...]:
    """The cells of a run in a table."""
    value, answered = (f"{compact(number_)} {run.unit}".strip() for number_ in (run.value, run.answered))
    return f"{run.source}, {run.place}", run.quantity, value, answered, f"{100 * run.deviation:+z.1f}%", run.cause, run.read
