// Puts the napkin's page together: it has charts and no rows.
whole(async () => drawCharts(JSON.parse(await unpack("data")).charts, null, () => {}));
