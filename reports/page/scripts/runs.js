// Puts the index of a history together: its runs, newest first, and the node's shift.
whole(async () => {
  const { rows: data, charts } = JSON.parse(await unpack("data"));
  const rows = new Rows(data);
  const link = (name, words) => row => {
    const href = rows.value(name, row);
    return href ? `<a href="${escapeHtml(href)}">${words}</a>` : "—";
  };
  const cells = { nightly: link("nightly", "verdict"), report: link("report", "run") };
  const ahead = row => {
    const box = document.createElement("p");
    box.innerHTML = Object.values(cells).map(cell => cell(row)).filter(text => text !== "—").join(" · ");
    return box;
  };
  const open = await startTable(rows, new Detail(rows, ahead), { cells, order: [] });
  await drawCharts(charts, rows, open);
});
