"""A question: YAML to the values that an answer rests on, every mistake at once with its line."""

from __future__ import annotations

import os
import re
from functools import partial
from pathlib import Path

from kernels.gpus import BARE, Gpu, GpuError, find_gpu, gpu_names
from kernels.napkin.memory import optimizer_names
from kernels.napkin.setup import Split
from kernels.parameter_copies import SCHEMES, Scheme
from kernels.strict_yaml.nodes import Map, Node, read_text, read_yaml
from kernels.strict_yaml.problems import Problems, Spot, quote, valid_names
from kernels.strict_yaml.values import chosen, integer, number, word
from reports.napkin.asked import Question, Recipe
from reports.napkin.keys import ASKS, KEYS
from reports.napkin.question_parts import (
    MAX_GPUS,
    check_division,
    read_adapter,
    read_batch,
    read_peak,
    read_price,
    read_recipe,
    read_run,
    read_serving,
    read_split,
    read_subject,
    read_timing,
)
from reports.napkin.reader import Reader, one_of

QUESTIONS = Path(__file__).parents[2] / "configs" / "napkin"
SCHEME_KEYS = ("weights", "gradients", "master", "state")


def question_names() -> list[str]:
    """The shipped questions."""
    return sorted(path.stem for path in QUESTIONS.glob("*.yaml"))


def load_question(name_or_path: str) -> Question:
    """The question of a file, or of a bare name: configs/napkin/NAME.yaml. Raises SweepError, which holds every mistake found."""
    problems = Problems()
    path, file = _find(name_or_path, problems)
    root = read_yaml(read_text(path, Spot(file, 1), "question", problems), file, problems, "question")
    return question_of(root, path.stem, file, path.parent, problems)


def question_of(node: Map, name: str, file: str, folder: Path, problems: Problems) -> Question:
    """The question of a mapping; paths in it are relative to `folder`. Raises SweepError, which holds every mistake found."""
    ask = Reader(node, problems).required("ask", one_of(ASKS))
    root = Reader(node, problems, ask or "")
    if not ask:
        root.known_keys()
        problems.check()
        raise AssertionError("a question without ask was noted as a problem")
    root.known_keys()
    root.value("ask", one_of(ASKS))
    gpus = root.value("gpus", partial(integer, high=MAX_GPUS))
    gpu = root.optional("gpu", partial(_gpu, folder))
    memory = root.value("memory", one_of(("datasheet", "board"))) or "datasheet"
    scheme = root.value("scheme", _scheme)
    optimizer = root.value("optimizer", one_of(optimizer_names()))
    reserve = root.value("reserve", partial(number, low=0))
    split = read_split(root, gpus)
    if gpu and memory == "board" and not gpu.board_memory_bytes:
        problems.add(root.spot("memory"), "memory", f"{gpu.name}'s file has no board_memory_bytes: nobody has read it from a driver")
    if gpu and reserve is not None and reserve >= gpu.memory_bytes:
        problems.add(root.spot("reserve"), "reserve", f"is all of the GPU's {gpu.memory_bytes:.3g} bytes, or more")
    subject = read_subject(root, folder)
    adapter = read_adapter(root, subject)
    batch = read_batch(root)
    recipe = read_recipe(root)
    check_division(root, split, subject, batch)
    timing = read_timing(root, subject, gpu, batch)
    peak = read_peak(root, gpu, timing.measured if timing else None)
    run = read_run(root, gpus, batch)
    serving = read_serving(root, subject)
    write = root.value("write_bytes_per_s", number)
    price = read_price(root)
    problems.check()
    if gpu is None:
        raise AssertionError("a value that is None was noted as a problem")
    kinds = {key: place for place, key in enumerate(KEYS)}
    return Question(
        name,
        file,
        ask,
        float(gpus or 1),
        gpu,
        memory,
        scheme or SCHEMES["mixed"],
        optimizer or "adamw",
        split or Split(),
        reserve or 0.0,
        recipe or Recipe(),
        peak or 0.0,
        subject,
        adapter,
        batch,
        timing,
        run,
        serving,
        write,
        price,
        tuple(sorted(root.taken, key=lambda taken: kinds[taken.key])),
    )


def _find(name: str, problems: Problems) -> tuple[Path, str]:
    """The file, and what messages call it: a path as given, a shipped question as seen from here."""
    if not re.fullmatch(r"[\w-]+", name):
        return Path(name), name
    path = QUESTIONS / f"{name}.yaml"
    file = os.path.relpath(path) if path.is_relative_to(Path.cwd()) else str(path)
    if name not in question_names():
        problems.fail(Spot(file, 1), "question", f"unknown question {quote(name)}{valid_names(name, question_names())}")
    return path, file


def _gpu(folder: Path, node: Node, key: str, problems: Problems) -> Gpu | None:
    """Returns the GPU of a name in configs/gpus, or of a file whose path is relative to the question's folder."""
    text = word(node, key, problems)
    if text is None or (BARE.fullmatch(text) and chosen(node, key, gpu_names(), problems) is None):
        return None
    try:
        return find_gpu(text, folder)
    except GpuError as error:
        problems.add(node.spot, key, str(error))
        return None


def _scheme(node: Node, key: str, problems: Problems) -> Scheme | None:
    """A name of SCHEMES, or the bytes a parameter themselves."""
    if not isinstance(node, Map):
        name = chosen(node, key, SCHEMES, problems)
        return SCHEMES[name] if name else None
    before = len(problems)
    for unknown in node.items.keys() - set(SCHEME_KEYS):
        problems.add(node.items[unknown].spot, f"{key}.{unknown}", f"unknown key{valid_names(unknown, SCHEME_KEYS)}")
    for absent in [part for part in SCHEME_KEYS if part not in node.items]:
        problems.add(node.spot, f"{key}.{absent}", "missing: bytes a parameter, 0 where there is none")
    given = {part: item.value for part, item in node.items.items() if part in SCHEME_KEYS}
    bytes_ = {part: number(value, f"{key}.{part}", problems, 0.125 if part == "weights" else 0, 64) for part, value in given.items()}
    return Scheme(**{part: size or 0.0 for part, size in bytes_.items()}) if len(problems) == before else None
