// Puts a run's page together.
whole(async () => {
  const { rows: data, charts } = JSON.parse(await unpack("data"));
  const rows = new Rows(data);
  await drawCharts(charts, rows, await startTable(rows, new Detail(rows)));
});
