// Everything about one point, in a dialog; its address ends in #point=<id>. `ahead(row)` gives an element that comes before the figures.
const TERMS = [["napkin_s", "computing at the peak"], ["tiles_s", "tiles and waves"], ["traffic_s", "bandwidth"], ["launches_s", "launches"],
  ["clock_s", "clock"], ["unexplained_s", "not explained"]];

class Detail {
  constructor(rows, ahead = null) {
    Object.assign(this, { rows, ahead, dialog: document.getElementById("detail") });
    this.dialog.addEventListener("click", event => { if (event.target === this.dialog) this.dialog.close(); });
    document.getElementById("link").addEventListener("click", () => navigator.clipboard?.writeText(location.href));
  }

  show(row) {
    const { rows } = this, id = rows.value("point", row), command = document.getElementById("command");
    this.row = row;
    if (command) { // pytest writes what is not ASCII otherwise, and the shell reads a quote as its own
      command.dataset.text = `pytest "benches/test_points.py::test_point[${id}]" ${command.dataset.options}`;
      command.hidden = !/^[\w.:+=,@ -]*$/.test(id);
    }
    document.getElementById("detail-title").textContent = id;
    const body = document.getElementById("detail-body");
    body.innerHTML = this.terms(row) + this.neighbours(row) + rows.groups.map(group => this.group(group, row)).join("");
    if (!this.dialog.open) this.dialog.showModal();
    if (this.ahead) body.prepend(this.ahead(row));
    history.replaceState(null, "", `#point=${encodeURIComponent(id)}`);
  }

  // From the peak down to what was measured: a bar whose parts add up to the median. A part below 0 is what the cost model expects and was not taken.
  terms(row) {
    const { rows } = this, median = rows.value("median_s", row);
    const found = TERMS.map(([name, words]) => [name, words, rows.value(name, row)]);
    if (!median || found.some(([, , seconds]) => seconds === null)) return "";
    const whole = found.reduce((sum, [, , seconds]) => sum + Math.max(seconds, 0), 0);
    const parts = found.filter(([, , seconds]) => seconds > 0)
      .map(([name, words, seconds]) => `<span class="${name}" style="width:${100 * seconds / whole}%" title="${words}"></span>`).join("");
    const list = found.filter(([, , seconds]) => seconds !== 0)
      .map(([name, words, seconds]) => `<li><span class="${name}"></span>${words}: ${escapeHtml(rows.text(name, row))}, ${(100 * seconds / median).toFixed(1)}%</li>`);
    return `<h4>Where the time goes</h4><div class="terms" aria-hidden="true">${parts}</div><ul class="terms-list">${list.join("")}</ul>`;
  }

  // Shapes nearby at which the cost model predicts more FLOP/s.
  neighbours(row) {
    const found = this.rows.value("neighbours", row)?.split("; ") ?? [];
    const list = found.map(line => `<li>${escapeHtml(line)}</li>`).join("");
    return list && `<h4>Better shapes nearby</h4><ul class="terms-list nearby">${list}</ul>`;
  }

  group(group, row) {
    const { rows } = this;
    const items = rows.columns.filter(c => c.group === group && !["point", "neighbours"].includes(c.name) && rows.value(c.name, row) !== null);
    if (!items.length) return "";
    const entry = c => {
      const text = rows.text(c.name, row), wide = String(text).length > 28 ? ' class="wide"' : "";
      return `<div${wide} title="${escapeHtml(c.doc)}"><dt>${escapeHtml(c.label)}</dt><dd>${escapeHtml(text)}</dd></div>`;
    };
    return `<h4>${escapeHtml(group)}</h4><dl>${items.map(entry).join("")}</dl>`;
  }
}
