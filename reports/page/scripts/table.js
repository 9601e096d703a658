// The table of every point: DataTables sorts, searches and pages over row numbers; texts are looked up as they are shown.
const PRINTED_ROWS = 500;

const FILTERS = "filters?"; // begins the address of a filtered table
const TAIL = 20; // characters of a long name that stay at its end

// A name whose middle gives way, since names differ at their ends; its text is whole, so it is copied whole.
const cutName = name => `<span class="head">${escapeHtml(name.slice(0, -TAIL))}</span><span class="tail">${escapeHtml(name.slice(-TAIL))}</span>`;

class PointTable {
  // `cells` makes the HTML of a column's cell in another way than as text; `order` is DataTables' own.
  constructor(rows, { DataTable }, open, { cells = {}, order = null } = {}) {
    Object.assign(this, { rows, cells });
    this.element = document.getElementById("table");
    this.things = this.element.dataset.things;
    this.statuses = new Set();
    this.chips = [...document.querySelectorAll("#filters .chip")];
    this.search = document.getElementById("search");
    this.selects = [...document.querySelectorAll("#filters select")];
    // Points without a value come last in both directions.
    for (const [suffix, sign] of [["asc", 1], ["desc", -1]]) {
      DataTable.ext.type.order[`si-${suffix}`] = (a, b) => a === null ? (b === null ? 0 : 1) : b === null ? -1 : sign * (a - b);
    }
    // A point's name says its op, precision and shape: the figures stand next to it, those that are good for sorting at the end.
    const last = c => c.group === "What was measured" && c.name !== "point";
    const shown = rows.columns.filter(c => c.table);
    this.columns = [...shown.filter(c => !last(c)), ...shown.filter(last)];
    this.table = new DataTable("#table", {
      data: Array.from({ length: rows.count }, (_, row) => [row]),
      columns: this.columns.map(column => this.describe(column)),
      order: order ?? ("ordered" in this.element.dataset ? [[0, "asc"]] : [[0, "asc"], [1, "asc"]]), // sorting is stable
      pageLength: 25, lengthMenu: [25, 100, 500], deferRender: true, autoWidth: false, orderClasses: false,
      layout: { topStart: null, topEnd: null, bottomStart: "info", bottomEnd: ["pageLength", "paging"] },
      language: { lengthMenu: "_MENU_ a page", info: "_START_–_END_ of _TOTAL_", infoFiltered: "(of _MAX_)", infoEmpty: `0 ${this.things}`,
        zeroRecords: `No ${this.things} match these filters.` },
      createdRow: (element, [row]) => { element.dataset.row = row; },
    });
    this.table.search.fixed("page", (_, [row]) => this.passes(row));
    this.listen(open);
  }

  describe(column) {
    const { rows } = this, { name } = column;
    const sortable = name === "status" ? row => rows.tone(row).rank : row => rows.value(name, row);
    return {
      title: `<span title="${escapeHtml(column.doc)}">${escapeHtml(column.label)}</span>`,
      className: column.numeric ? "n" : `c-${name}`,
      type: column.numeric || name === "status" ? "si" : "string",
      data: ([row], type) => type === "display" ? this.cell(name, row) : type === "filter" ? this.searched(name, row) : sortable(row) ?? (column.numeric ? null : ""),
    };
  }

  searched(name, row) { return name === "point" ? `${this.rows.text(name, row)} ${this.rows.value("reason", row) ?? ""}` : this.rows.text(name, row); }

  cell(name, row) {
    const { rows } = this, text = escapeHtml(rows.text(name, row));
    if (this.cells[name]) return this.cells[name](row, text);
    if (name === "point") {
      const reason = rows.value("reason", row), why = reason ? `<div class="reason">${escapeHtml(reason)}</div>` : "";
      return `<a class="point" title="${text}" href="#point=${encodeURIComponent(rows.value(name, row))}">${cutName(rows.text(name, row))}</a>${why}`;
    }
    if (name !== "status") return text;
    const { tone, sign } = rows.tone(row);
    return `<span class="status ${tone}"><span aria-hidden="true">${sign}</span> ${text}</span>`;
  }

  passes(row) {
    if (this.statuses.size && !this.statuses.has(this.rows.value("status", row))) return false;
    return this.selects.every(select => !select.value || this.rows.value(select.dataset.column, row) === select.value);
  }

  listen(open) {
    this.chips.forEach(chip => chip.addEventListener("click", () => {
      const { status } = chip.dataset;
      if (!this.statuses.delete(status)) this.statuses.add(status);
      this.filter();
    }));
    this.selects.forEach(select => select.addEventListener("change", () => this.filter()));
    this.search.addEventListener("input", () => this.filter());
    document.addEventListener("keydown", event => { // "/" as on other pages; not where somebody types
      if (event.key !== "/" || event.target.closest("input, select, textarea, dialog")) return;
      event.preventDefault();
      this.search.focus();
    });
    document.getElementById("copy").addEventListener("click", () => this.copy());
    document.getElementById("download").addEventListener("click", () => this.download());
    this.element.addEventListener("dblclick", event => {
      const line = event.target.closest("tr[data-row]");
      if (line) open(Number(line.dataset.row));
    });
  }

  // Draws what passes the filters; the page's address holds them, so that a reload or a link shows the same.
  filter() {
    this.chips.forEach(chip => chip.setAttribute("aria-pressed", String(this.statuses.has(chip.dataset.status))));
    this.table.search(this.search.value).draw();
    history.replaceState(null, "", this.address());
  }

  address() {
    const set = new URLSearchParams([...this.statuses].map(status => ["status", status]));
    this.selects.filter(select => select.value).forEach(select => set.append(select.dataset.column, select.value));
    if (this.search.value) set.append("search", this.search.value);
    return `${location.pathname}${location.search}#${set.size ? `${FILTERS}${set}` : "points"}`;
  }

  // Sets the filters that the page's address holds, if it holds some; what this run does not have is left out.
  restore() {
    if (!location.hash.startsWith(`#${FILTERS}`)) return;
    const set = new URLSearchParams(location.hash.slice(FILTERS.length + 1));
    const known = new Set(this.chips.map(chip => chip.dataset.status));
    this.statuses = new Set(set.getAll("status").filter(status => known.has(status)));
    this.selects.forEach(select => { select.value = [...select.options].some(o => o.value === set.get(select.dataset.column)) ? set.get(select.dataset.column) : ""; });
    this.search.value = set.get("search") ?? "";
    this.filter();
    document.getElementById("points").scrollIntoView();
  }

  // The row before or after one, in the order shown; null at the ends.
  beside(row, step) {
    const order = this.table.rows({ search: "applied", order: "applied" }).data().toArray().map(([r]) => r), at = order.indexOf(row);
    return at < 0 ? null : order[at + step] ?? null;
  }

  // Every column of the rows that pass the filters, in the order shown; numbers as SI values.
  csv() {
    const { rows } = this;
    const lines = this.table.rows({ search: "applied", order: "applied" }).data().toArray()
      .map(([row]) => rows.columns.map(c => csvCell(rows.value(c.name, row))).join(","));
    return [rows.columns.map(c => csvCell(c.name)).join(","), ...lines].join("\n") + "\n";
  }

  tell(text) { document.getElementById("told").textContent = text; }

  async copy() {
    const count = this.table.rows({ search: "applied" }).count();
    try { await navigator.clipboard.writeText(this.csv()); this.tell(`${count} ${this.things} copied`); }
    catch { this.tell("The browser does not let this page copy: use Download"); }
  }

  download() {
    const link = document.createElement("a");
    link.href = URL.createObjectURL(new Blob([this.csv()], { type: "text/csv" }));
    link.download = `${this.things}.csv`;
    link.click();
    URL.revokeObjectURL(link.href);
  }

  // Pages to a row and marks it; false where a filter hides it.
  reveal(row) {
    const order = this.table.rows({ search: "applied", order: "applied" }).data().toArray().findIndex(([r]) => r === row);
    if (order < 0) return false;
    this.table.page(Math.floor(order / this.table.page.len())).draw("page");
    document.querySelectorAll("#table tr.current").forEach(line => line.classList.remove("current"));
    document.querySelector(`#table tr[data-row="${row}"]`)?.classList.add("current");
    return true;
  }

  print(begins) {
    if (this.rows.count > PRINTED_ROWS) return;
    if (begins) this.length = this.table.page.len();
    this.table.page.len(begins ? -1 : this.length).draw();
  }
}

// The table, and the dialog that its points and the page's address open. Gives what opens a row.
async function startTable(rows, detail, options) {
  const tables = URL.createObjectURL(new Blob([await unpack("datatables")], { type: "text/javascript" }));
  const library = await import(tables);
  const open = row => { table.reveal(row); detail.show(row); };
  const table = new PointTable(rows, { DataTable: library.jQuery.fn.dataTable }, open, options);
  detail.dialog.addEventListener("close", () => {
    if (location.hash.startsWith("#point=")) history.replaceState(null, "", table.address());
  });
  detail.dialog.addEventListener("keydown", ({ key }) => { // from point to point
    const next = key === "ArrowRight" ? table.beside(detail.row, 1) : key === "ArrowLeft" ? table.beside(detail.row, -1) : null;
    if (next !== null) open(next);
  });
  const follow = () => {
    const match = location.hash.match(/^#point=(.+)$/);
    const row = match ? rows.find(decodeURIComponent(match[1])) : -1;
    if (row >= 0) open(row);
    else if (!match) table.restore();
    else table.tell(`None of these ${table.things} is ${decodeURIComponent(match[1])}`);
  };
  addEventListener("hashchange", follow);
  follow();
  addEventListener("beforeprint", () => table.print(true));
  addEventListener("afterprint", () => table.print(false));
  return open;
}
