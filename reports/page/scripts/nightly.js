// Puts the page of a night together: cards of what changed, the table of every series, the node's shift.
whole(async () => {
  const { rows: data, charts } = JSON.parse(await unpack("data"));
  const rows = new Rows(data), trends = await Trends.unpack();
  const detail = new Detail(rows, row => trends.ahead(row, rows.value("point", row)));
  const nights = (row, text) => `${trends.sparkline(row, rows.tone(row).tone)}<span class="count">${text}</span>`;
  const open = await startTable(rows, detail, { cells: { nights } });
  const cards = [...document.querySelectorAll(".plot[data-series]")].map(plot =>
    new TrendChart(plot, trends, Number(plot.dataset.series), { height: 240, legend: false }));
  await drawNear(cards);
  await drawCharts(charts, rows, open);
});
