// Puts a run's page together.
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

  addEventListener("beforeprint", () => table.print(true));
  addEventListener("afterprint", () => table.print(false));
  await drawCharts(charts, rows, open);
}

whole(main);
