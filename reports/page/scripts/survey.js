// Puts the page of a survey together: the table of its GPUs, whose details cells of the map and marks of the charts open.
whole(async () => {
  const { rows: data, charts } = JSON.parse(await unpack("data"));
  const rows = new Rows(data);
  const ahead = row => {
    const box = document.createElement("p"), page = rows.value("page", row);
    box.innerHTML = page ? `<a href="${escapeHtml(page)}">The page of this GPU</a>` : "";
    return box;
  };
  const open = await startTable(rows, new Detail(rows, ahead));
  await drawCharts(charts, rows, open);
});
