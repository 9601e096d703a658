// Puts the page together; on the root element, data-ready says when it is done.
async function main() {
  const { rows: data, charts } = JSON.parse(await unpack("data"));
  const rows = new Rows(data), detail = new Detail(rows);
  const tables = URL.createObjectURL(new Blob([await unpack("datatables")], { type: "text/javascript" }));
  const library = await import(tables);
  const open = row => { table.reveal(row); detail.show(row); };
  const table = new PointTable(rows, { DataTable: library.jQuery.fn.dataTable, jQuery: library.jQuery }, open);

  const follow = () => {
    const match = location.hash.match(/^#point=(.+)$/);
    const row = match ? rows.find(decodeURIComponent(match[1])) : -1;
    if (row >= 0) open(row);
    else if (match) table.tell("This run has no such point");
  };
  addEventListener("hashchange", follow);
  follow();

  const script = document.createElement("script");
  script.textContent = await unpack("plotly");
  document.head.append(script); // runs at once
  script.remove();
  const drawn = [];
  for (const box of document.querySelectorAll("figure.chart")) {
    const chart = new PageChart(box, charts[box.dataset.chart], rows, open);
    await chart.draw();
    drawn.push(chart);
    await new Promise(done => setTimeout(done)); // lets the page answer between two charts
  }
  addEventListener("beforeprint", () => { applyTheme(true); table.print(true); drawn.forEach(chart => chart.resize(PAPER_WIDTH)); });
  addEventListener("afterprint", () => { applyTheme(); table.print(false); drawn.forEach(chart => chart.resize(null)); });
  root.dataset.ready = "yes";
}

main().catch(error => {
  const box = document.getElementById("failed");
  box.textContent = typeof DecompressionStream === "undefined"
    ? "This browser is too old to unpack the charts and the table (it has no DecompressionStream); rows.csv beside this file holds every point."
    : `The charts and the table could not be drawn: ${error}. rows.csv beside this file holds every point.`;
  box.hidden = false;
  root.dataset.ready = "failed";
  throw error;
});
