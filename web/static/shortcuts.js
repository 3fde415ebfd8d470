// Single keys: `?` for help, `g` and a letter to go somewhere, and whatever carries data-shortcut. They can be switched
// off, since speech input types letters (WCAG 2.1.4).

const GO_MS = 1_500;
const STORED = "single-keys";

const dialog = document.getElementById("shortcuts");
const choice = document.getElementById("single-keys");
let goUntil = 0;

function stored() {
  try {
    return localStorage.getItem(STORED) !== "off";
  } catch {
    return true;
  }
}

choice.checked = stored();
choice.addEventListener("change", () => {
  try {
    localStorage.setItem(STORED, choice.checked ? "on" : "off");
  } catch {
    // No storage here: the choice lasts as long as the page.
  }
});

const types = (element) => element.matches?.("input:not([type=checkbox], [type=radio]), textarea, select, [contenteditable]");

document.getElementById("help").addEventListener("click", () => dialog.showModal());

document.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.metaKey || event.altKey || event.isComposing || types(event.target)) return;
  if (!choice.checked || dialog.open) return;
  if (act(event.key)) event.preventDefault();
});

function act(key) {
  if (performance.now() < goUntil) {
    goUntil = 0;
    return press(document.querySelector(`[data-go="${CSS.escape(key)}"]`));
  }
  if (key === "g") {
    goUntil = performance.now() + GO_MS;
    return true;
  }
  if (key === "?") {
    dialog.showModal();
    return true;
  }
  return press(document.querySelector(`[data-shortcut="${CSS.escape(key)}"]`)) || !announce(key);
}

function press(element) {
  if (!element || element.disabled) return false;
  if (types(element)) {
    element.focus();
    element.select?.();
  } else {
    element.click();
  }
  return true;
}

// False where a listener has taken the key.
function announce(key) {
  return document.dispatchEvent(new CustomEvent("shortcut", { detail: { key }, cancelable: true }));
}
