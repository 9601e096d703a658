"""`python -m reports chart RUN NAME -o FILE`: one of the page's charts as SVG or PNG, drawn by a Chromium or Chrome on this machine."""

from __future__ import annotations

import argparse
import base64
import os
import re
import shutil
import subprocess
import tempfile
from difflib import get_close_matches
from pathlib import Path
from urllib.parse import unquote_to_bytes

import plotly

from kernels.writing import write_file
from reports.charts import Chart, View
from reports.refusal import RunError, writing
from reports.report import Report, load_report
from reports.sections import SECTIONS

BROWSERS = ("chromium", "chromium-browser", "google-chrome", "chrome")
FLAGS = (
    "--headless",
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-sync",
)
WIDTH = 1000  # px
SCALE = 2  # pixels of a PNG for each of the chart's
LIMIT_S = 120.0
FORMATS = {".svg": "svg", ".png": "png"}
PAGE = """<!doctype html><meta charset="utf-8"><div id="plot"></div><pre id="image"></pre>
<script>{library}</script><script>
const figure = {figure};
Object.assign(figure.layout, {{width: {width}, height: {height}, paper_bgcolor: "white", plot_bgcolor: "white"}});
figure.data.forEach(trace => {{ trace.showlegend = Boolean(trace.name); }}); // the page has buttons for these
figure.layout.showlegend = figure.data.some(trace => trace.showlegend);
const size = {{width: {width}, height: {height}, scale: {scale}}};
Plotly.newPlot("plot", figure.data, figure.layout).then(plot => Plotly.toImage(plot, {{format: "{form}", ...size}}))
  .then(url => {{ document.getElementById("plot").remove(); document.getElementById("image").textContent = url; }});
</script>"""


def picture(view: View, form: str) -> bytes:
    """A figure as SVG or PNG. Raises RunError where no browser is found, or it draws nothing."""
    browser = next(filter(None, map(shutil.which, BROWSERS)), None)
    if browser is None:
        raise RunError(
            f"drawing a chart needs a browser, and none of {', '.join(BROWSERS)} is on the PATH: install chromium, or use the page"
        )
    library = (Path(plotly.__file__).parent / "package_data" / "plotly.min.js").read_text(encoding="utf-8")
    figure = view.figure.to_json().replace("<", "\\u003c")  # no text of it ends the script
    html = PAGE.format(library=library, figure=figure, width=WIDTH, height=view.height, form=form, scale=SCALE if form == "png" else 1)
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder, "chart.html")
        page.write_text(html, encoding="utf-8")
        command = [browser, *FLAGS, f"--user-data-dir={folder}/profile", "--virtual-time-budget=60000", "--dump-dom", page.as_uri()]
        short = os.environ | {"TMPDIR": "/tmp"}  # Chromium makes a socket there, whose path may have at most 107 bytes: unix(7)
        try:
            done = subprocess.run(command, env=short, capture_output=True, encoding="utf-8", errors="replace", timeout=LIMIT_S, check=False)
        except (OSError, subprocess.TimeoutExpired) as error:
            raise RunError(f"{browser} did not draw the chart: {type(error).__name__}") from error
    found = re.search(r'<pre id="image">data:([^,<]+),([^<]*)</pre>', done.stdout)
    if found is None:
        raise RunError(f"{browser} did not draw the chart (exit code {done.returncode})")
    text = found[2].replace("&amp;", "&")
    return base64.b64decode(text) if found[1].endswith("base64") else unquote_to_bytes(text)


def charts_of(report: Report) -> dict[str, Chart]:
    """The charts of a run's page by name."""
    sections = [section for make in SECTIONS if (section := make(report)) is not None]
    return {chart.id: chart for section in sections for chart in section.charts}


def view_of(charts: dict[str, Chart], name: str) -> View:
    """The view that `NAME` or `NAME:VIEW` names; of a chart alone its first. Raises RunError, which lists what there is."""
    chart_name, _, view_name = name.partition(":")
    chart = charts.get(chart_name)
    if chart is None:
        near = get_close_matches(chart_name, charts, 1)
        raise RunError(
            f"{chart_name!r} is not a chart of this run" + (f"; did you mean {near[0]}?" if near else f"; choose {', '.join(charts)}")
        )
    views = {view.name: view for view in chart.views}
    if view_name and view_name not in views:
        raise RunError(f"{view_name!r} is not a view of {chart_name}; choose {', '.join(views)}")
    return views[view_name] if view_name else chart.views[0]


def add_arguments(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("run_dir", type=Path, metavar="RUN", help="a run directory")
    parser.add_argument("name", metavar="NAME", help="curves, roofline, heatmap, parity, …; NAME:VIEW for another view than the first")
    parser.add_argument(
        "-o", "--out", type=Path, metavar="FILE", required=True, help="output file; its suffix, .svg or .png, selects the format"
    )
    parser.set_defaults(run=run)


def run(given: argparse.Namespace) -> int:
    """Raises RunError where there is no such run, chart or format, no browser, or the file cannot be written."""
    form = FORMATS.get(given.out.suffix.lower())
    if form is None:
        raise RunError(f"{given.out}: a chart is written as {' or '.join(FORMATS)}")
    image = picture(view_of(charts_of(load_report(given.run_dir)), given.name), form)
    with writing(given.out):
        write_file(given.out, lambda path: path.write_bytes(image))
    print(given.out)
    return 0
