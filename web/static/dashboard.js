// Rows, buttons and panels: what the page does between a click and the server's answer.

const OUTCOME_MS = 6_000;

const busyForms = new WeakSet();
const timers = new WeakMap();

// A form whose click is under way keeps its disabled buttons, and a list that was opened stays open: an update that
// arrives meanwhile leaves them alone.
htmx.registerExtension("dashboard", {
  htmx_before_morph_node: (node) => !busyForms.has(node),
  htmx_before_morph_attr: (node, { attrName }) => !(node.localName === "details" && attrName === "open"),
});

const isAction = (element) => element.matches?.('form[action^="/ui/agents/"]');

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
  queueMicrotask(() => keepFocus(outcome.closest(".agent"), form.dataset.pressed));
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

// A disabled or removed button has lost the keyboard's place: give it back, in the same row.
function keepFocus(row, pressed) {
  if (!row || document.activeElement !== document.body) return;
  const buttons = [...row.querySelectorAll(".actions > .buttons > button, .actions > button")];
  (buttons.find((button) => button.value === pressed) ?? buttons[0] ?? row.querySelector(".tools button"))?.focus();
}

document.addEventListener("click", (event) => {
  const toggle = event.target.closest("button[data-panel]");
  if (!toggle) return;
  const panel = document.getElementById(toggle.dataset.panel);
  panel.hidden = !panel.hidden;
  toggle.setAttribute("aria-expanded", String(!panel.hidden));
  panel.dispatchEvent(new CustomEvent("panel", { bubbles: true, detail: { open: !panel.hidden } }));
});
