// A series over the nights: a small line in the table, a chart in a card or the dialog. All are drawn from packed arrays, when they are shown.
const UNITS = [[1, "s"], [1e-3, "ms"], [1e-6, "µs"], [1e-9, "ns"]];
const SPARK = { width: 132, height: 24, pad: 3, least: 0.03 }; // least: of log time, that the height spans, so that noise looks like noise
const SHIFT_MATTERS = 0.002; // of a night, from which the times as measured are drawn beside those without it

class Trends {
  static async unpack() {
    const [told, values, byGpu] = await Promise.all([unpack("trends"), unpackFloats("values"), unpackFloats("by-gpu")]);
    return new Trends(JSON.parse(told), values, byGpu);
  }

  constructor(told, values, byGpu) {
    Object.assign(this, told, { values, gpuTimes: byGpu, gpuRow: new Map(told.byGpu.map((row, i) => [row, i])) });
    this.dates = this.nights.every(night => night.length === 10);
  }

  // Log seconds by night, the node's shift taken out.
  of(row) { return this.values.subarray(row * this.nights.length, (row + 1) * this.nights.length); }

  // Log seconds as measured, by GPU: of one GPU they follow from its shift.
  measured(row) {
    const { gpus, nights } = this;
    if (gpus.length === 1) return [Array.from(this.of(row), (value, night) => value + (this.shift[night][0] ?? 0))];
    const at = this.gpuRow.get(row);
    if (at === undefined) return [];
    return gpus.map((_, gpu) => nights.map((_, night) => this.gpuTimes[(at * nights.length + night) * gpus.length + gpu]));
  }

  // Between a night and the one before it, on the chart's axis.
  before(night) {
    if (!this.dates) return night - 0.5;
    return new Date((Date.parse(this.nights[night - 1]) + Date.parse(this.nights[night])) / 2).toISOString();
  }

  sparkline(row, tone) {
    const { width, height, pad, least } = SPARK, values = this.of(row), seen = values.filter(Number.isFinite);
    if (!seen.length) return "";
    const middle = (Math.max(...seen) + Math.min(...seen)) / 2, span = Math.max(Math.max(...seen) - Math.min(...seen), least);
    const x = night => pad + night * (width - 2 * pad) / Math.max(1, this.nights.length - 1);
    const y = value => height / 2 - (value - middle) / span * (height - 2 * pad);
    let path = "", pen = "M", last = 0;
    values.forEach((value, night) => {
      if (!Number.isFinite(value)) { pen = "M"; return; }
      path += `${pen}${x(night).toFixed(1)} ${y(value).toFixed(1)}`;
      [pen, last] = ["L", night];
    });
    const marks = (this.changes[row] ?? []).map(({ first, direction }) =>
      `<line x1="${x(first - 0.5).toFixed(1)}" x2="${x(first - 0.5).toFixed(1)}" y1="0" y2="${height}" stroke="${this.colours[direction]}"/>`);
    return `<svg class="spark ${tone}" viewBox="0 0 ${width} ${height}" width="${width}" height="${height}" aria-hidden="true">${marks.join("")}` +
      `<path d="${path}"/><circle cx="${x(last).toFixed(1)}" cy="${y(values[last]).toFixed(1)}" r="2.2"/></svg>`;
  }

  figure(row, { height, legend }) {
    const values = this.of(row), { colours } = this;
    const middle = Math.exp(values.find(Number.isFinite) ?? 0);
    const [scale, unit] = UNITS.find(([size]) => middle >= size) ?? UNITS.at(-1);
    const seconds = log => Number.isFinite(log) ? Math.exp(log) / scale : null;
    const data = [...this.bands(row, seconds), ...this.asMeasured(row, seconds), {
      x: this.nights, y: Array.from(values, seconds), mode: "markers", marker: { size: 6, color: colours.level }, showlegend: legend,
      name: "nightly median, node's shift taken out", hovertemplate: `%{x}: %{y:.4g} ${unit}<extra></extra>`,
    }];
    const changes = this.changes[row] ?? [];
    const shapes = changes.map(({ first, direction }) =>
      ({ type: "line", yref: "paper", y0: 0, y1: 1, x0: this.before(first), x1: this.before(first), line: { color: colours[direction], width: 1.5, dash: "dot" } }));
    const annotations = changes.map(({ first, text }) =>
      ({ x: this.before(first), y: 1, yref: "paper", yanchor: "bottom", showarrow: false, text, font: { size: 12 } }));
    const layout = {
      height, shapes, annotations, showlegend: legend, hovermode: "closest", paper_bgcolor: "rgba(0,0,0,0)", plot_bgcolor: "rgba(0,0,0,0)",
      font: { family: getComputedStyle(document.body).fontFamily, size: 12 }, margin: { l: 60, r: 12, t: changes.length ? 22 : 10, b: 30 },
      legend: { orientation: "h", x: 0, y: -0.14, yanchor: "top" },
      hoverlabel: { align: "left", bgcolor: "#1d2530", bordercolor: "#1d2530", font: { color: "#ffffff", size: 12 } },
      xaxis: { type: this.dates ? "date" : "category", nticks: 6, automargin: true, zeroline: false },
      yaxis: { ticksuffix: `\u00a0${unit}`, nticks: 6, automargin: true, zeroline: false },
    };
    return { data, layout };
  }

  // Each level as a line, and its 95% interval as a band around it.
  bands(row, seconds) {
    const end = this.nights.length - 1;
    return this.levels[row].filter(([, , log]) => log !== null).flatMap(([first, last, log, half], i) => {
      const from = first === 0 ? this.nights[0] : this.before(first), to = last === end ? this.nights[end] : this.before(last + 1);
      const mark = (this.changes[row] ?? []).find(change => change.first === first), colour = mark ? this.colours[mark.direction] : this.colours.level;
      const line = { x: [from, to], y: [seconds(log), seconds(log)], mode: "lines", line: { color: colour, width: 2 }, hoverinfo: "skip",
        name: "level, with its 95% interval", showlegend: i === 0 };
      if (half === null) return [line];
      const [low, high] = [seconds(log - half), seconds(log + half)];
      return [{ x: [from, to, to, from], y: [low, low, high, high], fill: "toself", fillcolor: colour, opacity: 0.25, mode: "none", hoverinfo: "skip",
        showlegend: false }, line];
    });
  }

  asMeasured(row, seconds) {
    if (this.gpus.length === 1 && !this.shift.some(([one]) => Math.abs(one ?? 0) > SHIFT_MATTERS)) return [];
    const symbols = ["circle-open", "diamond-open", "square-open", "triangle-up-open", "cross-open", "x-open"];
    return this.measured(row).map((values, gpu) => ({
      x: this.nights, y: Array.from(values, seconds), mode: "markers", opacity: 0.6,
      marker: { size: 6, color: this.colours.guide, symbol: symbols[gpu % symbols.length] },
      name: this.gpus.length > 1 ? `as measured on ${escapeHtml(this.gpus[gpu])}` : "as measured", hovertemplate: "%{x}: %{y:.4g}<extra>as measured</extra>",
    }));
  }

  csv(row) {
    const times = this.measured(row), number = log => Number.isFinite(log) ? Math.exp(log).toPrecision(7) : "";
    const names = times.map((_, gpu) => `measured_s ${this.gpus[gpu]}`);
    const lines = this.nights.map((night, i) => [night, number(this.of(row)[i]), ...times.map(values => number(values[i]))].join(","));
    return [["night", "median_s without shift", ...names].map(csvCell).join(","), ...lines].join("\n") + "\n";
  }

  // What the dialog shows of a series ahead of its figures.
  ahead(row, point) {
    const box = document.createElement("div"), plot = document.createElement("div"), copy = document.createElement("button");
    Object.assign(copy, { type: "button", textContent: "Copy nights as CSV", className: "copy" });
    copy.dataset.text = this.csv(row);
    plot.className = "plot";
    plot.setAttribute("role", "img");
    plot.setAttribute("aria-label", `Time of ${point} over ${this.nights.length} nights`);
    box.append(plot, copy);
    const chart = new TrendChart(plot, this, row, { height: 320, legend: true });
    loadPlotly().then(() => chart.draw());
    return box;
  }
}

// One series' chart, on a plot element, drawn once.
class TrendChart {
  constructor(plot, trends, row, look) { Object.assign(this, { plot, trends, row, look, drawn: false }); }

  draw() {
    if (this.drawn) return;
    this.drawn = true;
    const { data, layout } = this.trends.figure(this.row, this.look);
    Plotly.newPlot(this.plot, data, layout, { responsive: true, displaylogo: false, displayModeBar: false });
  }

  resize(width) { return Plotly.relayout(this.plot, width ? { width, autosize: false } : { width: null, autosize: true }); }
}

// Charts that are drawn as a reader comes near them, all of them before they are printed.
async function drawNear(charts) {
  await loadPlotly();
  const byPlot = new Map(charts.map(chart => [chart.plot, chart]));
  const observer = new IntersectionObserver(entries => entries.filter(entry => entry.isIntersecting).forEach(({ target }) => {
    observer.unobserve(target);
    byPlot.get(target).draw();
  }), { rootMargin: "100%" });
  charts.forEach(chart => observer.observe(chart.plot));
  addEventListener("beforeprint", () => charts.forEach(chart => { chart.draw(); chart.resize(PAPER_WIDTH); }));
  addEventListener("afterprint", () => charts.forEach(chart => chart.resize(null)));
}
