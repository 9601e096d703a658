// The libraries and the data lie in the page gzipped, in base64.
async function unpack(id) { return unpacked(id).text(); }

async function unpackFloats(id) { return new Float32Array(await unpacked(id).arrayBuffer()); }

function unpacked(id) {
  const text = atob(document.getElementById(id).textContent), bytes = new Uint8Array(text.length);
  for (let i = 0; i < text.length; i++) bytes[i] = text.charCodeAt(i); // several times as fast as Uint8Array.from
  return new Response(new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip")));
}

// Names from sweeps and machines end in HTML here and in Plotly's hover text: always through this.
const escaped = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;", "'": "&#39;" };
const escapeHtml = text => String(text).replace(/[&<>"']/g, c => escaped[c]);

// A value as a CSV cell that spreadsheets do not read as a formula (as `cell` of kernels/escaping.py), quoted where needed.
const csvCell = value => {
  const text = typeof value === "string" && /^[=+\-@\t\r\n]/.test(value) ? `'${value}` : String(value ?? "");
  return /[",\n\r]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};

// columns: descriptions; values and texts: by column name, one entry a row (texts only where a number is shown otherwise).
class Rows {
  constructor(data) { Object.assign(this, data); this.count = data.values.point.length; }
  value(name, row) { return this.values[name]?.[row] ?? null; }
  text(name, row) { return (this.texts[name] ?? this.values[name])?.[row] ?? "—"; }
  tone(row) { return this.statuses[this.value("status", row)] ?? { tone: "neutral", sign: "", rank: 99 }; }
  find(point) { return this.values.point.indexOf(point); }
}

// Runs what puts the page together; on the root element, data-ready says how it ended.
async function whole(main) {
  try {
    await main();
    root.dataset.ready = "yes";
  } catch (error) {
    const box = document.getElementById("failed"), { instead } = box.dataset;
    box.textContent = typeof DecompressionStream === "undefined"
      ? `This browser is too old to unpack the charts (it has no DecompressionStream); ${instead}.`
      : `The charts could not be drawn: ${error}; ${instead}.`;
    box.hidden = false;
    root.dataset.ready = "failed";
    throw error;
  }
}
