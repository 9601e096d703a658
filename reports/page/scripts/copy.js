// Buttons that copy: `data-text` holds what. The button itself says how it ended, and a screen reader hears it.
document.addEventListener("click", async event => {
  const button = event.target.closest("button.copy");
  if (!button) return;
  const name = button.dataset.name ??= button.textContent;
  try {
    await navigator.clipboard.writeText(button.dataset.text);
    button.textContent = "Copied";
  } catch { button.textContent = "Not allowed here"; }
  setTimeout(() => { button.textContent = name; }, 2000);
});
