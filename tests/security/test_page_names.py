"""Names from sweeps, kernels and machines are text wherever the page shows them: the page of a hostile run has the elements and
attributes of a harmless one, and nothing more."""

from __future__ import annotations

import base64
import gzip
import json
import re
from collections import Counter
from collections.abc import Iterator
from html.parser import HTMLParser
from pathlib import Path
from typing import Any

import pytest

from reports.build import build_report
from tests.reports.conftest import ENVIRONMENTS, fake_rows, sweep, write_run

pytestmark = pytest.mark.slow

HARMLESS = "harmless"
NAMES = {  # a page each takes a few seconds, so that several attacks stand in one name
    "markup": "</script><script>alert(1)</script><img src=x onerror=alert(1)><!-- --><![CDATA[ ]]>--!><svg/onload=alert(1)>",
    "attribute": "\" onmouseover=\"alert(1)\" x='y' autofocus onfocus=alert(1) ' {{7*7}}{% include '/etc/passwd' %}{#",
    "text": "javascript:alert(1)//http:// &lt;img src=x onerror=alert(1)&gt;&#60;b&#62; \u2028 \u2029 \u0085 \r\n \u202e \x00 \x1b[2J",
}
# Where a run holds free text: in a row, and in the environment.
IN_ROWS = ("label", "reason", "config", "equation", "function", "layout", "timer", "regime", "point", "op", "impl", "precision")
IN_ENVIRONMENT = ("host", "device_name", "device_uuid", "driver", "commit", "gpu", "os", "started_utc", "device_kind", "seed")


def page(folder: Path, name: str) -> str:
    """Of a run on a CPU (whose page has every section) in which `name` stands in every place at once, in a row each."""
    rows = fake_rows(sweep("small"), "cpu")
    changes: list[dict[str, Any]] = [{field: f"{field} {name}"} for field in IN_ROWS]
    changes += [{"options": {"layout": name, name: name}}, {"dims": {name: 3, "m": 4}}, {"conditions": _conditions(rows[0], name)}]
    timed = [i for i, row in enumerate(rows) if row.status == "ok"]
    for i, changed in zip(timed, changes, strict=False):
        rows[i] = rows[i].model_copy(update={**changed, "point": changed.get("point", f"{rows[i].point} {name}")})
    environment = {**ENVIRONMENTS["cpu"], **{field: f"{field} {name}" for field in IN_ENVIRONMENT if field != "device_kind"}}
    environment |= {"sweeps": [name], "versions": {name: name, "torch": name}, name: {name: [name]}}
    run = write_run(folder / "run", rows, environment)
    (run / "inspect.json").write_text(
        json.dumps({"gpu": name, "kernels": [{"id": name, "status": name, name: {name: name}}]}), encoding="utf-8"
    )
    return build_report(run).read_text(encoding="utf-8")


def _conditions(row: Any, name: str) -> Any:
    return row.conditions.model_copy(update={"throttle_reasons": [name]})


class Structure(HTMLParser):
    """Counts elements with the names of their attributes, and keeps addresses."""

    def __init__(self, text: str):
        super().__init__()
        self.elements: Counter[tuple[str, ...]] = Counter()
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.elements[tag, *sorted(name for name, _ in attrs)] += 1
        self.addresses += [value or "" for name, value in attrs if name in ("href", "src", "action", "formaction", "xlink:href")]

    def handle_comment(self, data: str) -> None:
        self.elements["comment"] += 1


def embedded(text: str) -> dict[str, Any]:
    packed = re.search(r'<script type="application/gzip;base64" id="data">([^<]*)</script>', text)
    assert packed
    return json.loads(gzip.decompress(base64.b64decode(packed[1])))


@pytest.fixture(scope="module")
def harmless(tmp_path_factory: pytest.TempPathFactory) -> Structure:
    return Structure(page(tmp_path_factory.mktemp("harmless"), HARMLESS))


@pytest.mark.parametrize("kind", NAMES)
def test_names_stay_text(tmp_path: Path, harmless: Structure, kind: str) -> None:
    text = page(tmp_path, NAMES[kind])
    found = Structure(text)
    assert found.elements == harmless.elements
    assert not [name for element in found.elements for name in element[1:] if name.startswith("on")]
    assert all(address.startswith("#") for address in found.addresses)
    data = embedded(text)
    assert f"label {NAMES[kind]}" in data["rows"]["values"]["label"], "the data keep it as it is"
    assert [value for value in drawn(data["charts"]) if re.search(r"<(?!/?extra>)", value)] == [], "Plotly reads tags in what it draws"


def drawn(value: Any, key: str = "") -> Iterator[str]:
    """Texts of the figures that Plotly draws as they are: not what the page's script looks up by (`meta`), nor unshown names."""
    if isinstance(value, dict):
        for name, inner in value.items():
            if name not in ("meta", "name"):
                yield from drawn(inner, name)
    elif isinstance(value, list):
        for inner in value:
            yield from drawn(inner, key)
    elif isinstance(value, str):
        yield value
