"""Every mistake is one line, `file:line: key: what is wrong (did you mean …?)`, and all of them come at once."""

import codecs
import os
from pathlib import Path

import pytest

from benches.sweep.load import SweepError, load_sweep, sweep_names
from kernels.elementwise.spec import FUNCTIONS
from kernels.registry import OPS

ONE = "{op: matmul, impl: torch, precision: bf16, dims: {m: 1, n: 1, k: 1}"  # a right entry, not closed


def problems(path: Path | str) -> list[str]:
    """What is said about a file, without its name."""
    with pytest.raises(SweepError) as error:
        load_sweep(path)
    assert str(error.value) == "\n".join(error.value.problems)
    for problem in error.value.problems:
        assert problem.startswith(f"{path}:")
    return [problem.removeprefix(f"{path}:") for problem in error.value.problems]


# Text of an entry that starts in line 2, and the lines said about it.
ENTRIES = {
    "unknown key": (ONE + ", layuot: nt}", "2: layuot: unknown key in matmul (did you mean layout?)"),
    "key of another op": (
        ONE + ", function: add}",
        "2: function: unknown key in matmul; "
        "valid: op, impl, precision, dims, points, shapes_from, where, exclude, layout, rhs, operands, data, scaling, accumulation, kernel",
    ),
    "unknown op": (
        "{op: matmull, impl: torch, precision: bf16, dims: {m: 1}, layout: nt}",
        "2: op: unknown op 'matmull' (did you mean matmul?); is it in a file for --import?",
    ),
    "no op": ("{precision: bf16, dims: {m: 1}}", f"2: op: missing; valid: {', '.join(OPS)}"),
    "unknown impl": (
        ONE.replace("torch", "[torch, tritn]") + "}",
        "2: impl: unknown impl 'tritn' (did you mean triton?); is it in a file for --import?",
    ),
    "unknown precision": (ONE.replace("bf16", "BF16") + "}", "2: precision: unknown precision 'BF16' (did you mean bf16?)"),
    "precision like no other": (
        ONE.replace("bf16", "double") + "}",
        "2: precision: unknown precision 'double'; valid: fp32, tf32, fp16, bf16, fp8_e4m3, fp8_e5m2",
    ),
    "precision that is none": (ONE.replace("bf16", "") + "}", "2: precision: nothing is given"),
    "no impl in the list": (ONE.replace("torch", "[]") + "}", "2: impl: an empty list: give at least one value"),
    "unknown option value": (ONE + ", layout: [nn, nnt]}", "2: layout: unknown layout 'nnt' (did you mean nt?)"),
    "option that is a mapping": (ONE + ", layout: {a: b}}", "2: layout: needs a single value, not a mapping"),
    "no option that must be": (
        "{op: elementwise, precision: bf16, dims: {m: 1, n: 1}}",
        f"2: function: missing; valid: {', '.join(FUNCTIONS)}",
    ),
    "unknown dim": (ONE.replace("k:", "K:") + "}", "2: K: unknown dim 'K' (did you mean k?)"),
    "two unknown dims": (
        ONE.replace("{m: 1, n: 1", "{x: 1, y: 1") + "}",
        "2: x: unknown dim 'x'; valid: m, n, k",
        "2: y: unknown dim 'y'; valid: m, n, k",
    ),
    "missing dims": ("{op: matmul, precision: bf16, dims: {m: 1}}", "2: dims: missing dim n, k; valid: m, n, k"),
    "no dims": ("{op: matmul, precision: bf16}", "2: dims: missing; valid: dims, points, shapes_from"),
    "dims that are none": (
        "{op: matmul, precision: bf16, dims: }",
        "2: dims: needs a mapping of 1 to 32 dims to sizes, such as {m: 4096, n: [1, 2]}",
    ),
    "dims that are a list": (
        "{op: matmul, precision: bf16, dims: [1, 2]}",
        "2: dims: needs a mapping of 1 to 32 dims to sizes, such as {m: 4096, n: [1, 2]}",
    ),
    "dim named as a key": (
        '{op: einsum, precision: bf16, equation: "data j -> j", dims: {data: 1, j: 1}}',
        "2: data: 'data' is a key here, so a dim cannot have this name",
    ),
    "dim that is no name": (
        '{op: einsum, precision: bf16, equation: "... j -> j", dims: {a b: 1, j: 1}}',
        "2: a b: 'a b' cannot be the name of a dim: letters, digits and _, at most 40",
    ),
    "bad equation": (
        '{op: einsum, precision: bf16, equation: "i j", dims: {i: 1, j: 1}}',
        "2: equation: equation 'i j' needs one `->` and the output's dims after it",
    ),
    "options that clash": (ONE + ", rhs: shared}", "2: rhs: rhs: shared needs a leading dim such as b"),
    "options that clash in a product": (
        "{op: elementwise, impl: torch, precision: bf16, function: [add, cast], to: bf16, dims: {m: [1, 2], n: 1}}",
        "2: to: `to` goes with function: cast, quantise_rows, quantise_blocks only; valid: fp32, fp16, bf16, fp8_e4m3, fp8_e5m2",
    ),
    "unknown model": (
        "{op: matmul, precision: bf16, shapes_from: llama3_7b, dims: {tokens: 1}}",
        "2: shapes_from: unknown model 'llama3_7b' (did you mean llama3_70b?)",
    ),
    "model's dims": (
        "{op: matmul, precision: bf16, shapes_from: llama3_8b, dims: {token: 1}}",
        "2: token: unknown dim 'token' beside shapes_from; valid: tokens",
        "2: dims: missing; valid: {tokens: …}",
    ),
    "layers in another op": (
        "{op: elementwise, function: add, precision: bf16, shapes_from: llama3_8b, dims: {tokens: 1}}",
        "2: shapes_from: layers are matmuls, not elementwise",
    ),
    "layers and points": (
        "{op: matmul, precision: bf16, shapes_from: llama3_8b, points: [{m: 1, n: 1, k: 1}]}",
        "2: shapes_from: cannot be combined with points",
    ),
    "no points": ("{op: matmul, precision: bf16, points: []}", "2: points: an empty list: give at least one shape"),
    "points that are text": (
        "{op: matmul, precision: bf16, points: shapes.csv}",
        "2: points: needs a list of shapes, {csv: FILE} or {table: TEXT}; valid: csv, table",
    ),
    "points that are no mappings": (
        "{op: matmul, precision: bf16, points: [[1, 2, 3], {}]}",
        "2: points: a point is a mapping such as {m: 4096, n: 4096, k: 4096}, not a list",
        "2: points: a point is a mapping such as {m: 4096, n: 4096, k: 4096}, not an empty mapping",
    ),
    "mistakes in points": (
        "{op: matmul, precision: bf16, points: [{m: 1, n: 1}, {m: 0, n: x, k: 1}, {m: 1, k: 1, n: 1, layout: no}, "
        "{m: 1, n: 1, k: 1, q: 1}]}",
        "2: m: '0' is too small: at least 1",
        "2: n: 'x' is not an integer (write all digits, as in 4096)",
        "2: layout: unknown layout 'no'; valid: nn, nt, tn, tt",
        "2: dims: missing dim k; valid: m, n, k",
        "2: q: unknown dim 'q'; valid: m, n, k",
    ),
    "precision of a point": (
        "{op: matmul, precision: bf16, points: [{m: 1, n: 1, k: 1, precision: fp16}]}",
        "2: precision: 'precision' is a key here, so a dim cannot have this name",
    ),
    "dim given twice": ("{op: matmul, precision: bf16, dims: {m: 1}, points: [{m: 1, n: 1, k: 1}]}", "2: m: given in dims too"),
    "where with an unknown dim": (ONE + ', where: "m >= q"}', "2: where: 'm >= q': unknown dim 'q'; valid: k, m, n"),
    "where that is no condition": (
        ONE + ", where: print(m)}",
        "2: where: 'print(m)': 'print(m)' is not a comparison",
    ),
    "where that is a mapping": (ONE + ", where: {m: 1}}", "2: where: needs a condition such as m >= k, not a mapping"),
    "where that leaves nothing": (ONE + ", where: m > 1}", "2: where: leaves no points"),
    "where that divides by zero": (ONE + ", where: m % (n - 1) == 0}", "2: where: divides by zero at m=1, n=1, k=1"),
    "exclude that leaves nothing": (ONE + ", exclude: {impl: torch}}", "2: exclude: leaves no points"),
    "mistakes in exclude": (
        ONE + ", exclude: [{imp: torch}, {precision: fp, layout: nx}, {m: x}, {}, [], q > 1]}",
        "2: exclude: needs a condition such as m >= k, not a list",
        "2: exclude: 'q > 1': unknown dim 'q'; valid: k, m, n",
        "2: imp: unknown key in exclude (did you mean impl?)",
        "2: precision: unknown precision 'fp' (did you mean fp32?)",
        "2: layout: unknown layout 'nx'; valid: nn, nt, tn, tt",
        "2: m: 'x' is not an integer (write all digits, as in 4096)",
        "2: exclude: an empty mapping would match every point",
    ),
    "more filters than can be tried": (
        ONE + ", exclude: [" + "{m: 1}, " * 101 + "]}",
        "2: exclude: where and exclude together have more than 100 parts",
    ),
    "entry that is text": ("matmul", "2: sweeps: an entry is a mapping such as {op: matmul, …}, not 'matmul'"),
}


@pytest.mark.slow
@pytest.mark.parametrize("what", ENTRIES)
def test_entry(tmp_path: Path, what: str):
    entry, *expected = ENTRIES[what]
    path = tmp_path / "s.yaml"
    path.write_text(f"sweeps:\n  - {entry}", encoding="utf-8")
    assert problems(path) == expected


AXES = {
    "[]": "an empty axis: give at least one size",
    "[1, -4]": "'-4' is too small: at least 1",
    "0": "'0' is too small: at least 1",
    "true": "'true' is not an integer (write all digits, as in 4096)",
    "no": "'no' is not an integer (write all digits, as in 4096)",
    "8.0": "'8.0' is not an integer (write all digits, as in 4096)",
    "1e3": "'1e3' is not an integer (write all digits, as in 4096)",
    "0x10": "'0x10' is not an integer (write all digits, as in 4096)",
    "010": "'010' is not an integer (write all digits, as in 4096)",  # eight, in YAML 1.1
    "1:30": "'1:30' is not an integer (write all digits, as in 4096)",  # ninety, in YAML 1.1
    ".nan": "'.nan' is not an integer (write all digits, as in 4096)",
    "'8'": "'8' is text: write the integer without quotes",
    "": "needs an integer, but no value is given",
    "null": "needs an integer, but no value is given",
    "[[1]]": "needs an integer, not a list",
    "2147483649": "'2147483649' is too large: at most 2147483648",
    "9" * 5000: "'" + "9" * 59 + "…' is too large: at most 2147483648",
    "{}": "an axis is an integer, a list, {pow2: [lo, hi]} or {range: [start, stop, step]}; valid: pow2, range",
    "{pow: [1, 2]}": "an axis is an integer, a list, {pow2: [lo, hi]} or {range: [start, stop, step]} (did you mean pow2?)",
    "{pow2: 8}": "needs {pow2: [lo, hi]}",
    "{pow2: [1, 2, 4]}": "needs {pow2: [lo, hi]}",
    "{pow2: [1, 12]}": "12 is not a power of two, as {pow2: [lo, hi]} needs",
    "{pow2: [8, 4]}": "an empty axis: pow2 from 8 to 4",
    "{pow2: [x, 4]}": "'x' is not an integer (write all digits, as in 4096)",
    "{range: [1, 2]}": "needs {range: [start, stop, step]}",
    "{range: [1, 8, 0]}": "'0' is too small: at least 1",
    "{range: [9, 8, 1]}": "an empty axis: range from 9 to 8",
}


@pytest.mark.slow
@pytest.mark.parametrize("axis", AXES)
def test_axis(tmp_path: Path, axis: str):
    path = tmp_path / "s.yaml"
    path.write_text(f"sweeps:\n  - op: matmul\n    precision: bf16\n    dims:\n      n: 1\n      k: 1\n      m: {axis}", encoding="utf-8")
    assert problems(path) == [f"7: m: {AXES[axis]}"]


FILES = {
    "": "1: sweep: the file is empty",
    "# nothing\n": "1: sweep: the file is empty",
    "---\n": "1: sweep: the file is empty",
    "- op: matmul": "1: sweep: the file must hold a mapping of keys, not a list",
    "matmul": "1: sweep: the file must hold a mapping of keys, not 'matmul'",
    "{}": "1: sweeps: missing",
    "sweeps: []": "1: sweeps: needs a list of 1 to 1000 entries such as - {op: matmul, …}",
    "sweeps:": "1: sweeps: needs a list of 1 to 1000 entries such as - {op: matmul, …}",
    "\nsweeps: {op: matmul}": "2: sweeps: needs a list of 1 to 1000 entries such as - {op: matmul, …}",
    f"sweep: [{ONE}}}]\nsweeps: [{ONE}}}]": "1: sweep: unknown key in a sweep (did you mean sweeps?)",
    f"defaults: [1]\nsweeps: [{ONE}}}]": "1: defaults: needs a mapping of keys, not a list",
    f"defaults: {{precison: bf16}}\nsweeps: [{ONE}}}]": "1: precison: unknown key in defaults (did you mean precision?)",
    f"name: a b\nsweeps: [{ONE}}}]": "1: name: 'a b' needs 1 to 100 letters, digits and _ . + -",
    f"max_points: 0\nsweeps: [{ONE}}}]": "1: max_points: '0' is too small: at least 1",
    f"max_points: 1000000\nsweeps: [{ONE}}}]": "1: max_points: '1000000' is too large: at most 100000",
    f"sweeps: [{ONE}}}]\nsweeps: [{ONE}}}]": "2: sweeps: given twice, first in line 1",
    "sweeps:\n  - {op: matmul\n  - x": "3: YAML: while parsing a flow mapping since line 2, did not find expected ',' or '}'",
    "sweeps:\n\t- x": "2: YAML: while scanning for the next token, found character that cannot start any token",
    "a: b: c": "1: YAML: mapping values are not allowed in this context",
    f"sweeps: [{ONE}}}]\n---\nb: 1": "2: YAML: a second document: a file holds one sweep",
    "sweeps: \x07": "1: YAML: a character that YAML does not allow (control characters are not allowed)",
    "a: 1\nb: \0": "2: sweep: '{path}' is UTF-16 or no text: it holds a NUL byte (byte 8)",
    "%YAML 1.1\n---\na: 1": "1: YAML: directives (%…) are not accepted",
    "a: &a [*a]": "1: YAML: alias *a is inside the value that it refers to",
    "a: *b": "1: YAML: alias *b refers to an anchor that does not precede it",
    "a:\n" + "".join(f"{' ' * i}- \n" for i in range(1, 40)): "22: YAML: nested deeper than 20",
    "[" * 100_000: "1: YAML: nested deeper than 20",
    "a: &a [x,x,x,x,x,x,x,x,x,x]\n"
    + "".join(f"{b}: &{b} [{','.join(['*' + a] * 10)}]\n" for a, b in zip("abcdefgh", "bcdefghi", strict=True)): (
        "6: YAML: more than 150000 values, aliases written out (longer lists of shapes go into a CSV)"
    ),
    "a: [" + "x," * 300_000 + "]": "1: YAML: more than 150000 values, aliases written out (longer lists of shapes go into a CSV)",
    f"sweeps: [{ONE}, where: &w {{<<: 1}}}}]": "1: <<: merges mappings, not '1'",
    f"sweeps: [{ONE}, ? [m, n] : 1}}]": "1: YAML: a list cannot be a key",
    f"sweeps: [{ONE}, data: !!python/object/apply:os.system [ls]}}]": (
        "1: YAML: tag 'tag:yaml.org,2002:python/object/apply:os.system' is not accepted: values are plain text, lists and mappings"
    ),
    f"sweeps: [{ONE}, data: !mine zeros}}]": "1: YAML: tag '!mine' is not accepted: values are plain text, lists and mappings",
    "sweeps:\n  - {op: matmul, impl: torch, precision: bf16, dims: {m: &r {range: [1, 10000, 1]}, n: *r, k: *r}}": (
        "2: max_points: 1000000000000 points up to this entry (1000000000000 in it), more than 20000"
    ),
    f"max_points: 1\nsweeps:\n  - {ONE}}}\n  - {ONE}}}": "4: max_points: 2 points up to this entry (1 in it), more than 1",
}


@pytest.mark.slow
@pytest.mark.parametrize("text", FILES, ids=range(len(FILES)))
def test_file(tmp_path: Path, text: str):
    path = tmp_path / "s.yaml"
    path.write_text(text, encoding="utf-8")
    assert problems(path)[0] == FILES[text].replace("{path}", quoted(path))


def quoted(path: Path) -> str:
    """A path as messages cut it."""
    return str(path) if len(str(path)) <= 60 else str(path)[:59] + "…"


def test_everything_is_told_at_once_and_in_order(tmp_path: Path):
    path = tmp_path / "s.yaml"
    path.write_text(
        """name: five
sweeps:
  - op: matmul
    precision: bf61
    dims: {m: [], n: 4, k: -1}
    layuot: nt
  - op: elementwize
    precision: bf16
""",
        encoding="utf-8",
    )
    assert problems(path) == [
        "4: precision: unknown precision 'bf61' (did you mean bf16?)",
        "5: m: an empty axis: give at least one size",
        "5: k: '-1' is too small: at least 1",
        "6: layuot: unknown key in matmul (did you mean layout?)",
        "7: op: unknown op 'elementwize' (did you mean elementwise?); is it in a file for --import?",
        "7: dims: missing; valid: dims, points, shapes_from",
    ]


def test_a_wrong_default_is_one_problem(tmp_path: Path):
    path = tmp_path / "s.yaml"
    path.write_text("defaults: {precision: bf61}\nsweeps:\n" + "  - {op: matmul, dims: {m: 1, n: 1, k: 1}}\n" * 3, encoding="utf-8")
    assert problems(path) == ["1: precision: unknown precision 'bf61' (did you mean bf16?)"]


def test_problems_are_one_line_whatever_is_in_them(tmp_path: Path):
    path = tmp_path / "s.yaml"
    path.write_text('"a\\nb\\e[31m": 1\nsweeps: [{op: "mat\\emul"}]', encoding="utf-8")
    assert problems(path)[0].startswith("1: a\\nb\\x1b[31m: unknown key in a sweep")
    assert problems(path)[1].startswith("2: op: 'mat\\x1bmul' must be one line of at most 300 characters")


def test_too_many_problems_stop_the_reading(tmp_path: Path):
    path = tmp_path / "s.yaml"
    path.write_text("".join(f"key{i}: 1\n" for i in range(1000)), encoding="utf-8")
    found = problems(path)
    assert len(found) == 51
    assert found[-1] == "50: sweep: 50 problems; reading stopped here"


CSVS = {
    "": "shapes.csv:1: header: no shapes: needs a header such as m,n,k and a line for each shape",
    "m,n,k\n": "shapes.csv:1: header: no shapes: needs a header such as m,n,k and a line for each shape",
    "m,n,k\n1,2\n": "shapes.csv:2: row: 2 values under 3 names",
    "m,n,k\n1,2,3,4\n": "shapes.csv:2: row: 4 values under 3 names",
    "m,n,m\n1,2,3\n": "shapes.csv:1: header: needs up to 32 names, each once",
    "m,n,k\n\n1,x,3\n": "shapes.csv:3: n: 'x' is not an integer (write all digits, as in 4096)",
    "m,n,k,layout\n1,1,1,nt\n1,1,1,xx\n": "shapes.csv:3: layout: unknown layout 'xx'; valid: nn, nt, tn, tt",
    "m,n\n1,2\n": "shapes.csv:2: dims: missing dim k; valid: m, n, k",
    "m,n,k,q\n1,2,3,4\n": "shapes.csv:2: q: unknown dim 'q'; valid: m, n, k",
    "m,n,k,q r\n1,2,3,4\n1,2,3,4\n": "shapes.csv:1: header: 'q r' cannot be the name of a dim: letters, digits and _, at most 40",
    "m;n;k\n1;2;3\n4;5;6\n": "shapes.csv:1: header: values are separated by semicolons, not by commas: save it with commas",
    '"m;n;k"\n"1;2;3"\n': "shapes.csv:1: header: values are separated by semicolons, not by commas: save it with commas",
    "\nm\tn\tk\n1\t2\t3\n": "shapes.csv:2: header: values are separated by tabs, not by commas: save it with commas",
    "m|n|k\n1|2|3\n": "shapes.csv:1: header: values are separated by bars, not by commas: save it with commas",
    "m n k\n1 2 3\n": "shapes.csv:1: header: values are separated by spaces, not by commas: save it with commas",
    "sep=;\nm;n;k\n1;2;3\n": "shapes.csv:1: header: values are separated by semicolons, not by commas: save it with commas",
    "m,n,k\n1;2;3\n4;5;6\n": "shapes.csv:2: row: values are separated by semicolons, not by commas: save it with commas",
    "1,2,3\n4,5,6\n7,8,9\n": "shapes.csv:1: header: holds numbers where names belong: put a line such as m,n,k above it",
    "4096,4096,nt\n1,2,nt\n": "shapes.csv:1: header: holds numbers where names belong: put a line such as m,n,k above it",
    "64.5\n": "shapes.csv:1: header: holds numbers where names belong: put a line such as m,n,k above it",
    'm,n,k\n1,2,"3\n': "shapes.csv:2: row: cannot be read: unexpected end of data",
    "m,n,k\n" + "1,1,1\n" * 200_000: "shapes.csv:1: header: more than 400000 values",
}


@pytest.mark.parametrize("text", CSVS, ids=range(len(CSVS)))
def test_csv(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, text: str):
    monkeypatch.chdir(tmp_path)
    Path("shapes.csv").write_text(text, encoding="utf-8")
    Path("s.yaml").write_text("sweeps: [{op: matmul, precision: bf16, points: {csv: shapes.csv}}]", encoding="utf-8")
    with pytest.raises(SweepError) as error:
        load_sweep("s.yaml")
    assert error.value.problems == [CSVS[text]]


@pytest.mark.parametrize(
    ("data", "line", "problem"),
    [
        ("m,n,k,label\n1,2,3,ä\n".encode("latin-1"), 2, "is not UTF-8 (byte 18): save it as UTF-8"),
        ("m,n,k,label\r1,2,3,a\r1,2,3,€\r".encode("cp1252"), 3, "is not UTF-8 (byte 26): save it as UTF-8"),
        ("m,n,k\n1,2,3\n".encode("utf-16"), 1, "is UTF-16: save it as UTF-8"),
        (codecs.BOM_UTF16_BE + "m,n,k\n1,2,3\n".encode("utf-16-be"), 1, "is UTF-16: save it as UTF-8"),
        ("m,n,k\n1,2,3\n".encode("utf-16-le"), 1, "is UTF-16 or no text: it holds a NUL byte (byte 1)"),
        (b"m,n,k\n1,2,3\n4,\x00,6\n", 3, "is UTF-16 or no text: it holds a NUL byte (byte 14)"),
    ],
)
def test_a_csv_in_another_encoding(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, data: bytes, line: int, problem: str):
    """The problem is in the CSV, and so is the line."""
    monkeypatch.chdir(tmp_path)
    Path("shapes.csv").write_bytes(data)
    Path("s.yaml").write_text("sweeps:\n - op: matmul\n   precision: bf16\n   points: {csv: shapes.csv}", encoding="utf-8")
    with pytest.raises(SweepError) as error:
        load_sweep("s.yaml")
    assert error.value.problems == [f"shapes.csv:{line}: csv: 'shapes.csv' {problem}"]


def test_a_csv_as_spreadsheets_save_it(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("shapes.csv").write_bytes("m, n ,k\r\n16,16,16\r\n".encode("utf-8-sig"))
    Path("s.yaml").write_text("sweeps: [{op: matmul, impl: torch, precision: bf16, points: {csv: shapes.csv}}]", encoding="utf-8")
    assert [point.dims for point in load_sweep("s.yaml").points] == [{"m": 16, "n": 16, "k": 16}]


def test_a_csv_that_is_not_there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    Path("s.yaml").write_text("sweeps:\n - op: matmul\n   precision: bf16\n   points: {csv: no.csv}", encoding="utf-8")
    assert problems("s.yaml") == ["4: csv: file not found: 'no.csv'"]


def test_files_that_cannot_be_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    monkeypatch.chdir(tmp_path)
    os.mkfifo("pipe.yaml")
    Path("latin.yaml").write_bytes(b"a: 1\nb: \xe4")
    Path("big.yaml").write_bytes(b" " * 4_000_001)
    assert problems("no.yaml") == ["1: sweep: file not found: 'no.yaml'"]
    assert problems(f"{tmp_path}/") == [f"1: sweep: {quoted(tmp_path)!r} is a directory, not a file"]
    assert problems("pipe.yaml") == ["1: sweep: 'pipe.yaml' is not a regular file"]
    assert problems("latin.yaml") == ["2: sweep: 'latin.yaml' is not UTF-8 (byte 8): save it as UTF-8"]
    assert problems("big.yaml") == ["1: sweep: 'big.yaml' is larger than 4000000 bytes"]
    Path("latin.yaml").chmod(0)
    if not os.access("latin.yaml", os.R_OK):  # who is root, or has its capabilities, may read everything
        assert problems("latin.yaml") == ["1: sweep: cannot read 'latin.yaml': Permission denied"]
    assert len(problems("x" * 5000 + ".yaml")) == 1
    with pytest.raises(SweepError, match="null byte"):
        load_sweep("a\0b.yaml")


def test_unknown_name():
    with pytest.raises(SweepError) as error:
        load_sweep("nightyl")
    (problem,) = error.value.problems
    shipped = ", ".join(sweep_names())
    assert problem.endswith(f"configs/sweeps/nightyl.yaml:1: sweep: unknown sweep 'nightyl'; shipped: {shipped} (did you mean nightly?)")
