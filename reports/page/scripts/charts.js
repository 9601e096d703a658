// Charts: figures come from Python; here they get their hover text, their size and their buttons.
const MANY = 2000; // points from which WebGL, where the browser has it, beats SVG
const MODEBAR = [["toImage", "zoom2d", "pan2d", "zoomIn2d", "zoomOut2d", "resetScale2d"]]; // nothing that leaves the page
const NARROW = 560; // px below which names of lines and colour scales cost more room than they are worth
const PAPER_WIDTH = 980; // px of an A4 sheet in landscape within its margins
const PAPER_HEIGHT = 400; // px of a chart on it, so that its heading and note lie on the same sheet
const PAPER_TALL = 510; // px of one with a row for each of many things, which on screen is taller than a sheet

const webgl = (() => { try { return Boolean(document.createElement("canvas").getContext("webgl")); } catch { return false; } })();

const hoverTexts = new Map(); // a point is in several charts

function hoverText(rows, row) {
  if (!hoverTexts.has(row)) hoverTexts.set(row, newHoverText(rows, row));
  return hoverTexts.get(row);
}

function newHoverText(rows, row) {
  const lines = rows.columns.filter(c => c.hover && rows.value(c.name, row) !== null)
    .map(c => `${escapeHtml(c.label)}: ${escapeHtml(rows.text(c.name, row))}`);
  return `<b>${escapeHtml(rows.value("point", row))}</b><br>${lines.join("<br>")}`;
}

// Typed arrays come as {dtype, bdata}; customdata is needed here, before Plotly decodes it.
function decoded(array) {
  if (!array?.bdata) return array ?? [];
  const bytes = Uint8Array.from(atob(array.bdata), c => c.charCodeAt(0));
  return Array.from(array.dtype === "i4" ? new Int32Array(bytes.buffer) : new Float64Array(bytes.buffer));
}

function prepare(figure, rows) {
  if (figure.prepared) return figure;
  const marks = figure.data.map(trace => trace.mode?.endsWith("markers") ? decoded(trace.customdata) : null);
  const many = marks.reduce((sum, m) => sum + (m?.length ?? 0), 0) > MANY;
  figure.data.forEach((trace, i) => {
    if (marks[i]) {
      trace.customdata = marks[i];
      trace.hovertext = marks[i].map(row => hoverText(rows, row));
      if (many && trace.mode === "markers") Object.assign(trace.marker, { size: 5, opacity: 0.6 });
      if (many && webgl) trace.type = "scattergl";
    } else if (trace.type === "heatmap" && trace.customdata) {
      trace.hovertext = trace.customdata.map(line => line.map(row => row === null ? "" : hoverText(rows, row)));
    }
  });
  figure.prepared = true;
  return figure;
}

class PageChart {
  constructor(box, views, rows, open) {
    Object.assign(this, { box, views, rows, open, plot: box.querySelector(".plot"), hidden: new Set() });
    box.querySelector("select.view")?.addEventListener("change", event => this.draw(Number(event.target.value)));
    box.querySelectorAll(".legend button").forEach(button => button.addEventListener("click", () => this.toggle(button)));
  }

  async draw(index = 0) {
    const { figure, height } = this.views[index];
    this.height = height;
    prepare(figure, this.rows);
    figure.data.forEach(trace => { trace.visible = this.shown(trace); });
    this.plot.style.height = `${height}px`;
    this.plot.style.minHeight = "";
    const narrow = this.plot.clientWidth < NARROW, { coloraxis } = figure.layout;
    if (narrow) figure.data.filter(trace => trace.mode === "text").forEach(trace => { trace.visible = false; });
    if (coloraxis) coloraxis.showscale = !narrow;
    const layout = { ...figure.layout, height, font: { family: getComputedStyle(document.body).fontFamily, size: 12 } };
    const config = { responsive: true, displaylogo: false, modeBarButtons: MODEBAR };
    await Plotly.react(this.plot, figure.data, layout, config);
    if (!this.listens) this.plot.on("plotly_click", event => {
      const row = event.points[0].customdata;
      if (Number.isInteger(row)) this.open(row);
    });
    this.listens = true;
  }

  shown(trace) { return !trace.meta || !["precision", "impl"].some(key => this.hidden.has(`${key}=${trace.meta[key]}`)); }

  toggle(button) {
    const { key, value } = button.dataset, name = `${key}=${value}`;
    if (!this.hidden.delete(name)) this.hidden.add(name);
    button.setAttribute("aria-pressed", String(!this.hidden.has(name)));
    Plotly.restyle(this.plot, { visible: this.plot.data.map(trace => this.shown(trace)) });
  }

  // Nothing that is drawn can go on on the next sheet.
  toPaper() { return this.resize({ width: PAPER_WIDTH, autosize: false }, Math.min(this.height, this.height > PAPER_TALL ? PAPER_TALL : PAPER_HEIGHT)); }

  toScreen() { return this.resize({ width: null, autosize: true }, this.height); }

  resize(layout, height) {
    this.plot.style.height = `${height}px`;
    return Plotly.relayout(this.plot, { ...layout, height });
  }
}

let plotly = null;

function loadPlotly() { return plotly ??= runPlotly(); }

async function runPlotly() {
  const script = document.createElement("script");
  script.textContent = await unpack("plotly");
  document.head.append(script); // runs at once
  script.remove();
}

// Every chart of the page, one after another; they are made narrower for paper.
async function drawCharts(charts, rows, open) {
  await loadPlotly();
  const drawn = [];
  for (const box of document.querySelectorAll("figure.chart")) {
    const chart = new PageChart(box, charts[box.dataset.chart], rows, open);
    await chart.draw();
    drawn.push(chart);
    await new Promise(done => setTimeout(done)); // lets the page answer between two charts
  }
  addEventListener("beforeprint", () => { applyTheme(true); drawn.forEach(chart => chart.toPaper()); });
  addEventListener("afterprint", () => { applyTheme(); drawn.forEach(chart => chart.toScreen()); });
}
