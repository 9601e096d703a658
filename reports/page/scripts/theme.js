// Light or dark: the system's wish until the reader chooses; the style sheet does the rest.
const root = document.documentElement;
const systemDark = matchMedia("(prefers-color-scheme: dark)");
let chosenTheme = null;
try { chosenTheme = localStorage.getItem("report-theme"); } catch { /* storage may be forbidden for files */ }

function applyTheme(printing = false) {
  root.dataset.theme = printing ? "light" : chosenTheme ?? (systemDark.matches ? "dark" : "light");
}
applyTheme();
systemDark.addEventListener("change", () => applyTheme());
document.getElementById("theme").addEventListener("click", () => {
  chosenTheme = root.dataset.theme === "dark" ? "light" : "dark";
  try { localStorage.setItem("report-theme", chosenTheme); } catch { /* then the choice lasts as long as the page */ }
  applyTheme();
});

// On paper nothing can be opened.
addEventListener("beforeprint", () => {
  document.querySelectorAll("details:not([open])").forEach(closed => { closed.open = true; closed.dataset.printed = ""; });
});
addEventListener("afterprint", () => {
  document.querySelectorAll("details[data-printed]").forEach(opened => { opened.open = false; delete opened.dataset.printed; });
});
