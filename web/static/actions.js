// Lifecycle forms, wherever they stand: what the page does between a click and the server's answer.

const OUTCOME_MS = 6_000;

const busyForms = new WeakSet();
const timers = new WeakMap();
const KEPT = new Set(["open", "aria-expanded", "aria-pressed", "aria-sort"]);

// A form whose click is under way keeps its disabled buttons, and what a person has opened, pressed or sorted stays so:
// an update that arrives meanwhile leaves them alone.
htmx.registerExtension("dashboard", {
  htmx_before_morph_node: (node) => !busyForms.has(node),
  htmx_before_morph_attr: (node, { attrName }) => !KEPT.has(attrName) || node.localName === "time",
});

const isAction = (element) => element.matches?.('form[action^="/ui/"][hx-post]');

document.addEventListener("htmx:before:request", (event) => {
  const form = event.target;
  if (!isAction(form)) return;
  busyForms.add(form);
  form.dataset.pressed = event.detail.ctx.request.submitter?.value ?? "";
  const outcome = event.detail.ctx.target;
  clearTimeout(timers.get(outcome));
  outcome.textContent = "";
});

// Before the answer is swapped in: the row may change from here on.
document.addEventListener("htmx:after:request", (event) => {
  const form = event.target;
  if (!isAction(form)) return;
  busyForms.delete(form);
  for (const asked of form.querySelectorAll("details.ask-kill[open]")) asked.open = false;
  form.closest("[popover]")?.hidePopover();
});

document.addEventListener("htmx:finally:request", (event) => {
  const { sourceElement: form, target: outcome, response } = event.detail.ctx;
  if (!isAction(form)) return;
  busyForms.delete(form);
  if (!response) {
    tell(outcome, "No answer.", "The manager could not be reached; try again when the connection is back.");
    outcome.firstChild.dataset.until = "connection:back";
  } else if (outcome.querySelector(".accepted")) {
    timers.set(outcome, setTimeout(() => outcome.replaceChildren(), OUTCOME_MS));
  }
  // After htmx has enabled the buttons again, in this very task.
  queueMicrotask(() => keepFocus(form, outcome));
});

function tell(outcome, title, detail) {
  const told = document.createElement("div");
  told.className = "told refused";
  told.role = "alert";
  const strong = document.createElement("strong");
  strong.textContent = title;
  told.append(strong, " ", detail);
  outcome.replaceChildren(told);
}

document.addEventListener("connection:back", ({ type }) => {
  for (const told of document.querySelectorAll(`[data-until="${type}"]`)) told.remove();
});

// A disabled or removed button has lost the keyboard's place: give it back, in the same form, at the menu that has
// closed, or else in the same row.
function keepFocus(form, outcome) {
  if (document.activeElement !== document.body) return;
  const row = outcome.closest(".agent");
  if (form.closest("[popover]")) return row?.querySelector(".more").focus();
  const place = form.isConnected && form.checkVisibility() ? form : row;
  const buttons = [...(place?.querySelectorAll("button:not([hidden], :disabled)") ?? [])];
  const again = buttons.find((button) => button.value === form.dataset.pressed);
  (again ?? buttons[0] ?? place?.querySelector(".more"))?.focus();
}
