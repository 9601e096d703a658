// Everything about one point, in a dialog; its address ends in #point=<id>. `ahead(row)` gives an element that comes before the figures.
class Detail {
  constructor(rows, ahead = null) {
    Object.assign(this, { rows, ahead, dialog: document.getElementById("detail") });
    this.dialog.addEventListener("close", () => {
      if (location.hash.startsWith("#point=")) history.replaceState(null, "", location.pathname + location.search + "#points");
    });
    this.dialog.addEventListener("click", event => { if (event.target === this.dialog) this.dialog.close(); });
    document.getElementById("link").addEventListener("click", () => navigator.clipboard?.writeText(location.href));
  }

  show(row) {
    const { rows } = this, id = rows.value("point", row);
    document.getElementById("detail-title").textContent = id;
    const body = document.getElementById("detail-body");
    body.innerHTML = rows.groups.map(group => this.group(group, row)).join("");
    if (!this.dialog.open) this.dialog.showModal();
    if (this.ahead) body.prepend(this.ahead(row));
    history.replaceState(null, "", `#point=${encodeURIComponent(id)}`);
  }

  group(group, row) {
    const { rows } = this;
    const items = rows.columns.filter(c => c.group === group && c.name !== "point" && rows.value(c.name, row) !== null);
    if (!items.length) return "";
    const entry = c => {
      const text = rows.text(c.name, row), wide = String(text).length > 28 ? ' class="wide"' : "";
      return `<div${wide} title="${escapeHtml(c.doc)}"><dt>${escapeHtml(c.label)}</dt><dd>${escapeHtml(text)}</dd></div>`;
    };
    return `<h4>${escapeHtml(group)}</h4><dl>${items.map(entry).join("")}</dl>`;
  }
}
