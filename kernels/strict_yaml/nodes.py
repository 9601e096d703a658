"""YAML with line numbers, read within limits: nodes that know where they stand.

Nodes are composed here from the parser's events rather than by `yaml.compose`, because depth, aliases and size must be bounded
while reading: libyaml's own composer recurses in C, and a document of a few lines can stand for more nodes than memory holds.
"""

from __future__ import annotations

import codecs
import re
import stat
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import yaml

from kernels.strict_yaml.problems import Problems, Spot, quote

MAX_BYTES = 4_000_000  # of a file; 100,000 listed points take about 2 MB
MAX_NODES = 150_000  # with every alias written out; 20,000 listed shapes of three dims are 140,000
MAX_DEPTH = 20  # a sweep needs 7
UTF_16 = (codecs.BOM_UTF16_LE, codecs.BOM_UTF16_BE)
LOADER = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
TAGS = {None} | {f"tag:yaml.org,2002:{kind}" for kind in ("str", "int", "float", "bool", "null", "seq", "map")}


# The nodes are not frozen: that takes three times as long to make, and there may be 150,000.
@dataclass(slots=True)
class Scalar:
    """A single value as written. `plain`: without quotes, so that digits mean a number."""

    spot: Spot
    text: str
    plain: bool
    size: int = 1


@dataclass(slots=True)
class Seq:
    """A YAML sequence, with where it stands."""

    spot: Spot
    items: tuple[Node, ...]
    size: int  # nodes in it, aliases written out


@dataclass(slots=True)
class Map:
    """A YAML mapping, with where it stands."""

    spot: Spot
    items: dict[str, Item]  # in the order written, `<<` merged in
    size: int


Node = Scalar | Seq | Map


@dataclass(slots=True)
class Item:
    """One `key: value` of a mapping."""

    spot: Spot  # of the key
    value: Node


def describe(node: Node) -> str:
    """What a node is, as a message names it."""
    if isinstance(node, Scalar):
        return quote(node.text) if node.text else "nothing"
    return "a list" if isinstance(node, Seq) else "a mapping"


def read_text(path: Path, spot: Spot, key: str, problems: Problems, file: str | None = None) -> str:
    """The text of a regular file of UTF-8, within MAX_BYTES. Anything else is a problem at `spot`, and raises SweepError.

    file: the file name for problems in the text itself, which have their own line; None for spot's.
    """
    name = quote(str(path))
    try:
        mode = path.stat().st_mode
        if stat.S_ISDIR(mode):
            problems.fail(spot, key, f"{name} is a directory, not a file")
        if not stat.S_ISREG(mode):  # opening a pipe would wait for ever
            problems.fail(spot, key, f"{name} is not a regular file")
        with path.open("rb") as opened:
            data = opened.read(MAX_BYTES + 1)
    except FileNotFoundError:
        problems.fail(spot, key, f"file not found: {name}")
    except (OSError, ValueError) as error:  # ValueError: a NUL in the name
        problems.fail(spot, key, f"cannot read {name}: {getattr(error, 'strerror', None) or error}")
    if len(data) > MAX_BYTES:
        problems.fail(spot, key, f"{name} is larger than {MAX_BYTES} bytes")
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        found = "is UTF-16" if data.startswith(UTF_16) else f"is not UTF-8 (byte {error.start})"
        problems.fail(Spot(file or spot.file, _line(data, error.start)), key, f"{name} {found}: save it as UTF-8")
    if "\0" in text:  # libyaml would take it for the end of the document
        place = data.index(b"\0")
        problems.fail(Spot(file or spot.file, _line(data, place)), key, f"{name} is UTF-16 or no text: it holds a NUL byte (byte {place})")
    return text


def _line(data: bytes, place: int) -> int:
    """The line, from 1, that a byte is on."""
    return len(re.findall(rb"\r\n|\r|\n", data[:place])) + 1


def read_yaml(text: str, file: str, problems: Problems, what: str = "sweep") -> Map:
    """The mapping that `text` holds, a `what`. Raises SweepError at once where reading cannot go on; duplicate keys and tags are only
    noted."""
    directive = re.search(r"^%", text, re.MULTILINE)
    if directive:  # libyaml compares every pair of them
        problems.fail(Spot(file, text.count("\n", 0, directive.start()) + 1), "YAML", "directives (%…) are not accepted")
    try:
        root = _Composer(yaml.parse(text, Loader=LOADER), file, problems).document()
    except yaml.reader.ReaderError as error:
        line = text.encode().count(b"\n", 0, error.position) + 1
        problems.fail(Spot(file, line), "YAML", f"a character that YAML does not allow ({error.reason})")
    except yaml.MarkedYAMLError as error:
        first, last = error.context_mark, error.problem_mark or error.context_mark
        since = f" since line {first.line + 1}" if error.context and first and last and first.line < last.line else ""
        line = min(last.line if last else 0, text.count("\n"))  # at its end libyaml counts a line too many
        problems.fail(Spot(file, line + 1), "YAML", ", ".join(filter(None, (error.context and error.context + since, error.problem))))
    if root is None:
        problems.fail(Spot(file, 1), what, "the file is empty")
    if not isinstance(root, Map):
        problems.fail(root.spot, what, f"the file must hold a mapping of keys, not {describe(root)}")
    return root


class _Composer:
    """Events to nodes."""

    def __init__(self, events: Iterator[yaml.Event], file: str, problems: Problems):
        self.events = events
        self.file = file
        self.last = Spot(file, 1)
        self.problems = problems
        self.anchors: dict[str, Node | None] = {}  # None while its node is still being read

    def document(self) -> Node | None:
        next(self.events)  # the stream's start
        if isinstance(next(self.events), yaml.StreamEndEvent):
            return None
        root = self.node(next(self.events), 0)
        next(self.events)  # the document's end
        following = next(self.events)
        if not isinstance(following, yaml.StreamEndEvent):
            self.problems.fail(self.spot(following), "YAML", "a second document: a file holds one sweep")
        return None if isinstance(root, Scalar) and root.plain and not root.text else root

    def spot(self, event: Any) -> Spot:  # Any: the stubs let a mark be None
        line = event.start_mark.line + 1
        if line != self.last.line:
            self.last = Spot(self.file, line)
        return self.last

    def alias(self, name: str, spot: Spot) -> Node:
        node = self.anchors.get(name)
        if node is None:
            why = "is inside the value that it refers to" if name in self.anchors else "refers to an anchor that does not precede it"
            self.problems.fail(spot, "YAML", f"alias *{name} {why}")
        return node

    def node(self, event: Any, depth: int) -> Node:  # Any: nor do they say which events have a tag
        spot = self.spot(event)
        if isinstance(event, yaml.AliasEvent):
            return self.alias(str(event.anchor), spot)
        if depth > MAX_DEPTH:
            self.problems.fail(spot, "YAML", f"nested deeper than {MAX_DEPTH}")
        if event.tag not in TAGS:
            self.problems.add(spot, "YAML", f"tag {quote(event.tag)} is not accepted: values are plain text, lists and mappings")
        if event.anchor:
            self.anchors[event.anchor] = None
        node: Node
        if isinstance(event, yaml.ScalarEvent):
            node = Scalar(spot, event.value.strip(), event.implicit[0])
        elif isinstance(event, yaml.SequenceStartEvent):
            node = self.sequence(spot, depth)
        else:
            node = self.mapping(spot, depth)
        if event.anchor:
            self.anchors[event.anchor] = node
        return node

    def bounded(self, size: int, spot: Spot) -> int:
        if size > MAX_NODES:
            self.problems.fail(spot, "YAML", f"more than {MAX_NODES} values, aliases written out (longer lists of shapes go into a CSV)")
        return size

    def sequence(self, spot: Spot, depth: int) -> Seq:
        items, size = [], 1
        while not isinstance(event := next(self.events), yaml.SequenceEndEvent):
            items.append(self.node(event, depth + 1))
            size = self.bounded(size + items[-1].size, spot)
        return Seq(spot, tuple(items), size)

    def mapping(self, spot: Spot, depth: int) -> Map:
        items: dict[str, Item] = {}
        merged: dict[str, Item] = {}
        size = 1
        while not isinstance(event := next(self.events), yaml.MappingEndEvent):
            key = self.node(event, depth + 1)
            value = self.node(next(self.events), depth + 1)
            size = self.bounded(size + key.size + value.size, spot)
            if not isinstance(key, Scalar):
                self.problems.add(key.spot, "YAML", f"{describe(key)} cannot be a key")
            elif key.text == "<<" and key.plain:
                for name, item in self.to_merge(value).items():
                    merged.setdefault(name, item)
            elif key.text in items:
                self.problems.add(key.spot, key.text, f"given twice, first in line {items[key.text].spot.line}")
            else:
                items[key.text] = Item(key.spot, value)
        return Map(spot, merged | items, size)

    def to_merge(self, value: Node) -> dict[str, Item]:
        """What `<<: *a` or `<<: [*a, *b]` brings; the first of a list wins."""
        if isinstance(value, Map):
            return value.items
        if isinstance(value, Seq) and all(isinstance(item, Map) for item in value.items):
            found: dict[str, Item] = {}
            for item in value.items:
                found = found if not isinstance(item, Map) else item.items | found
            return found
        self.problems.add(value.spot, "<<", f"merges mappings, not {describe(value)}")
        return {}
