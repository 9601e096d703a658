"""Links in the documentation lead somewhere, and the commands that it shows are accepted. No command is run."""

from __future__ import annotations

import argparse
import re
import shlex
import sys
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from importlib import import_module
from importlib.util import find_spec
from pathlib import Path
from urllib.parse import unquote

import pytest

from benches.sweep.load import sweep_names
from kernels.gpus import gpu_names
from kernels.guard import ROOT
from kernels.registry import OPS
from reports.napkin.question import question_names

PAGES = [path for name in ("README.md", "CONTRIBUTING.md", "CHANGELOG.md") if (path := ROOT / name).exists()]
PAGES += sorted((ROOT / "docs").rglob("*.md"))
IDS = [page.relative_to(ROOT).as_posix() for page in PAGES]

FENCE = re.compile(r"\s*(```|~~~)")
LINK = re.compile(r"!?\[(?:[^\[\]]|!\[[^\]]*\]\([^)]*\))*\]\(([^()\s]+)(?: \"[^\"]*\")?\)")
INLINE = re.compile(r"`([^`]+)`")
HEADING = re.compile(r"#{1,6} +(.*?)(?: +#+)?$")
COMMAND = re.compile(
    r"(?:- run: |\$ )?(?:[A-Z_]+=\S* )*(?:\.venv/bin/)?"
    r"((?:python3? -m )?pytest (?=.*benches/)|python3? -m (?:benches|kernels|reports|studies[\w.]*)\b|make (?=[\w$]))(.*)"
)
PLACEHOLDER = re.compile(r"<[\w .]+>|\$\{\{[^}]*\}\}|…")
CHOICE = re.compile(r"(?<=\s)([a-z0-9_]+)(?:\|[a-z0-9_]+)+")
NUMBER = re.compile(r"(?<=\s)[A-Z](?=\s|$)")  # N stands for a number, which a name would not be taken for
OPTIONAL = re.compile(r"(?<=\s)\[([^\]]*)\]")
ENDS = {"|", "||", "&&", ";", "&", ">", ">>", "2>&1", "2>", "<"}  # of a command on its line
BARE = re.compile(r"[a-z][a-z0-9_-]*")  # a name; DIR, "$run" and runs/mine stand for something of the reader's


@dataclass(frozen=True)
class Line:
    """A line of a page, from 1, and whether it stands in a block of code."""

    number: int
    text: str
    code: bool


def lines_of(text: str) -> Iterator[Line]:
    """The lines of a page; those that end in a backslash are joined with the next, as a shell does."""
    fenced, begun, begin = False, "", 0
    for number, line in enumerate(text.splitlines(), 1):
        if FENCE.match(line):
            fenced = not fenced
            continue
        begun, begin = begun + line, begin or number
        if begun.endswith("\\"):
            begun = begun[:-1]
            continue
        yield Line(begin, begun, fenced or begun.startswith(("    ", "\t")))
        begun, begin = "", 0


def links_of(text: str) -> Iterator[tuple[int, str]]:
    """The line and the target of every link to a file or an anchor of the repository."""
    for line in lines_of(text):
        if not line.code:
            targets = (match[1] for match in LINK.finditer(INLINE.sub("", line.text)))
            yield from ((line.number, target) for target in targets if not re.match(r"[a-z][a-z0-9+.-]*:", target))


def anchors_of(text: str) -> set[str]:
    """The anchors that GitHub gives the headings of a page."""
    seen: Counter[str] = Counter()
    found = set()
    for line in lines_of(text):
        if not line.code and (match := HEADING.match(line.text)):
            words = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", match[1])
            slug = re.sub(r"[^\w\- ]", "", words.lower()).replace(" ", "-")
            found.add(f"{slug}-{seen[slug]}" if seen[slug] else slug)
            seen[slug] += 1
    return found


def dead_link(page: Path, target: str) -> str | None:
    """Why a link of a page leads nowhere, or None."""
    name, _, anchor = unquote(target).partition("#")
    path = (page.parent / name).resolve() if name else page
    if not path.is_relative_to(ROOT) or not path.exists():
        return f"{target}: there is no such file"
    if anchor and anchor not in anchors_of(path.read_text(encoding="utf-8")):
        return f"{target}: {path.name} has no heading with this anchor"
    return None


@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_link_leads_somewhere(page: Path) -> None:
    found = ((number, dead_link(page, target)) for number, target in links_of(page.read_text(encoding="utf-8")))
    dead = [f"{page.relative_to(ROOT)}:{number}: {why}" for number, why in found if why]
    assert not dead, "\n".join(dead)


def commands_of(text: str) -> Iterator[tuple[int, str, list[str]]]:
    """The line, the program and the arguments of every command in a block of code; what `[…]` makes optional is among the arguments."""
    for line in lines_of(text):
        if line.code and (match := COMMAND.match(line.text.strip())):
            yield line.number, match[1].strip().removeprefix("python -m ").removeprefix("python3 -m "), words(match[2])


def words(text: str) -> list[str]:
    """The words of a command line up to a pipe, a redirection or a comment; of `auto|cuda` the first, 1 for N."""
    plain = NUMBER.sub("1", CHOICE.sub(r"\1", OPTIONAL.sub(r"\1", PLACEHOLDER.sub("NAME", text))))
    lexer = shlex.shlex(plain, posix=True, punctuation_chars=False)
    lexer.whitespace_split, lexer.commenters = True, "#"
    found = list(lexer)
    end = next((i for i, word in enumerate(found) if word in ENDS), len(found))
    return found[:end]


class Parsed(Exception):
    """Raised in the place of running a command."""


@pytest.fixture
def parsed_only(monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands end when their arguments have been read."""
    parse = argparse.ArgumentParser.parse_args

    def parse_and_stop(parser: argparse.ArgumentParser, *given: object) -> None:
        raise Parsed(parse(parser, *given))  # type: ignore[call-overload]

    monkeypatch.setattr(argparse.ArgumentParser, "parse_args", parse_and_stop)


def refusal(program: str, arguments: list[str], pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str]) -> str | None:
    """Why a command would not be accepted, or None."""
    if program == "make":
        targets = set(re.findall(r"^([\w-]+):", (ROOT / "Makefile").read_text(encoding="utf-8"), re.MULTILINE))
        return next((f"make has no target {word}" for word in arguments if "=" not in word and word not in targets), None)
    if program == "pytest":
        try:
            given = pytestconfig._parser.parse(arguments)
        except pytest.UsageError as error:
            return next(line for line in str(error).splitlines() if "error: " in line)
        return unknown_name("sweep", given.sweep or [], sweep_names())
    return refusal_of_module(program, arguments, capsys)


def refusal_of_module(module: str, arguments: list[str], capsys: pytest.CaptureFixture[str]) -> str | None:
    """Why `python -m` would not accept these arguments, or None. A module without a parser takes words and no options."""
    spec = find_spec(module)
    if spec is None:
        return f"there is no module {module}"
    found = import_module(f"{module}.__main__" if spec.submodule_search_locations else module)
    if not hasattr(found, "argparse"):
        return next((f"{module} takes no options" for word in arguments if word.startswith("-")), None)
    takes = found.main.__code__.co_argcount
    try:
        sys.argv[1:] = arguments  # of the programs whose main takes none
        found.main(arguments) if takes else found.main()
    except Parsed as parsed:
        return unknown_names(parsed.args[0])
    except SystemExit:
        return capsys.readouterr().err.strip().splitlines()[-1]
    return f"{module} ran without reading its arguments"


def unknown_names(given: argparse.Namespace) -> str | None:
    """Which name among a command's arguments is not one of the repository's, or None. What a file for --import registers is not known."""
    known = {"sweep": sweep_names(), "gpu": gpu_names(), "op": tuple(OPS), "question": question_names()}
    for kind, names in known.items():
        if kind == "op" and getattr(given, "imports", None):
            continue
        value = getattr(given, kind, None)
        if why := unknown_name(kind, value if isinstance(value, list) else [value] if value else [], names):
            return why
    return None


def unknown_name(kind: str, given: list[str], known: list[str] | tuple[str, ...]) -> str | None:
    """Which of the names, paths and placeholders given is a name and not known, or None."""
    return next((f"there is no {kind} {name}" for name in given if BARE.fullmatch(name) and name not in known), None)


@pytest.mark.slow
@pytest.mark.usefixtures("parsed_only")
@pytest.mark.parametrize("page", PAGES, ids=IDS)
def test_every_command_is_accepted(
    page: Path, pytestconfig: pytest.Config, capsys: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(sys, "argv", [""])
    text = page.read_text(encoding="utf-8")
    found = ((number, program, refusal(program, arguments, pytestconfig, capsys)) for number, program, arguments in commands_of(text))
    wrong = [f"{page.relative_to(ROOT)}:{number}: {program}: {why}" for number, program, why in found if why]
    assert not wrong, "\n".join(wrong)


def test_the_documentation_shows_commands() -> None:
    """Else nothing would be checked."""
    programs = Counter(program for page in PAGES for _, program, _ in commands_of(page.read_text(encoding="utf-8")))
    assert {"pytest", "make", "benches", "kernels", "reports"} <= set(programs)


@pytest.mark.parametrize(
    ("line", "program", "arguments"),
    [
        ("python -m benches plan nightly # why", "benches", ["plan", "nightly"]),
        (".venv/bin/python -m studies.aa --write", "studies.aa", ["--write"]),
        ('pytest benches/ -k "bf16 and triton"', "pytest", ["benches/", "-k", "bf16 and triton"]),
        ("python -m pytest benches/ --sweep a \\\n      -q", "pytest", ["benches/", "--sweep", "a", "-q"]),
        ("python -m reports html runs/<a run> [-o FILE]", "reports", ["html", "runs/NAME", "-o", "FILE"]),
        ('python -m reports nightly "$run" > "$run.txt" 2>&1', "reports", ["nightly", "$run"]),
        ("python -m benches kernel FILE [--device auto|cpu] [--seed N]", "benches", ["kernel", "FILE", "--device", "auto", "--seed", "1"]),
        ("- run: python -m benches doctor || exit 3", "benches", ["doctor"]),
        ("OMP_NUM_THREADS=1 make test JOBS=1", "make", ["test", "JOBS=1"]),
        ("python -m reports nightly /srv/${{ github.run_id }} --rerun", "reports", ["nightly", "/srv/NAME", "--rerun"]),
    ],
)
def test_a_command_is_seen(line: str, program: str, arguments: list[str]) -> None:
    for text in (f"x\n\n    {line}\n", f"```sh\n{line}\n```\n"):
        assert list(commands_of(text)) == [(1 + 2 * text.startswith("x") + text.startswith("`"), program, arguments)]


@pytest.mark.parametrize("line", ["python -m pytest tests/", "makes 3", "pip install -r requirements.txt", "rm -rf benches/"])
def test_other_lines_are_no_commands(line: str) -> None:
    assert not list(commands_of(f"    {line}\n"))
    assert not list(commands_of("python -m benches doctor, in the text\n"))


@pytest.mark.usefixtures("parsed_only")
@pytest.mark.parametrize(
    ("program", "arguments", "why"),
    [
        ("make", ["tset"], "make has no target tset"),
        ("make", ["test", "JOBS=1"], None),
        ("pytest", ["benches/", "--sweep", "nightyl"], "there is no sweep nightyl"),
        ("pytest", ["benches/", "--swep", "nightly"], "unrecognized arguments: --swep"),
        ("pytest", ["benches/", "--sweep", "mine.yaml", "-k", "a and b", "--resume", "RUN_DIR"], None),
        ("benches", ["plan", "nightly", "--gpu", "h100"], "there is no gpu h100"),
        ("benches", ["plan", "SWEEP", "--gpu", "./mine.yaml"], None),
        ("benches", ["plann"], "invalid choice: 'plann'"),
        ("kernels", ["inspect", "--op", "matmull"], "there is no op matmull"),
        ("kernels", ["inspect", "--op", "mine", "--import", "mine.py"], None),
        ("reports", ["napkin", "train_71b"], "there is no question train_71b"),
        ("reports", ["nightly", "RUN_DIR"], "the following arguments are required: --history"),
        ("studies.aa", ["--wirte"], "unrecognized arguments: --wirte"),
        ("studies.campaign", ["--points", "3"], None),
        ("studies.perf", ["--all"], "takes no options"),
        ("studies.none", [], "there is no module studies.none"),
    ],
)
def test_a_command_is_judged(
    program: str,
    arguments: list[str],
    why: str | None,
    pytestconfig: pytest.Config,
    capsys: pytest.CaptureFixture[str],
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setattr(sys, "argv", [""])
    found = refusal(program, arguments, pytestconfig, capsys)
    assert found is None if why is None else why in (found or "")


@pytest.mark.parametrize(
    ("target", "why"),
    [
        ("README.md", None),
        ("docs/nightly.md#what-is-blamed", None),
        ("docs/nowhere.md", "docs/nowhere.md: there is no such file"),
        ("docs/nightly.md#nothing", "docs/nightly.md#nothing: nightly.md has no heading with this anchor"),
        ("../elsewhere.md", "../elsewhere.md: there is no such file"),
    ],
)
def test_a_link_is_judged(target: str, why: str | None) -> None:
    assert dead_link(ROOT / "README.md", target) == why


def test_links_and_anchors() -> None:
    text = "# A *title*, `code`\n## Twice\n## Twice\n[a](b.md#c) ![d](e.png) [f](https://x.org) `[g](h)`\n\n    [i](j)\n# [k](l.md) & m\n"
    assert list(links_of(text)) == [(4, "b.md#c"), (4, "e.png"), (7, "l.md")]
    assert anchors_of(text) == {"a-title-code", "twice", "twice-1", "k--m"}
