// Puts the page of a survey together: the table of its GPUs, whose details cells of the map and marks of the charts open.
whole(async () => {
  const { rows: data, charts } = JSON.parse(await unpack("data"));
  const rows = new Rows(data);
  const ahead = row => {
    const box = document.createElement("div"), differs = rows.value("reason", row)?.split("; ") ?? [], page = rows.value("page", row);
    const list = differs.map(line => `<li>${escapeHtml(line)}</li>`).join("");
    box.innerHTML = (list && `<h4>What differs</h4><ul class="evidence">${list}</ul>`)
      + (page ? `<p><a href="${escapeHtml(page)}">The page of this GPU</a></p>` : "");
    return box;
  };
  const open = await startTable(rows, new Detail(rows, ahead));
  await drawCharts(charts, rows, open);
});
