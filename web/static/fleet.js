// The fleet page: sorting, filtering, selecting, walking the rows by keyboard, and the menu of a row.

const RESORT_MS = 2_000;

const fleet = document.getElementById("fleet");
const columns = [...document.querySelectorAll("[data-by]")];
const filter = document.getElementById("filter");
const chips = document.getElementById("chips");
const shown = document.getElementById("shown");
const nothing = document.getElementById("nothing");
const bulk = document.getElementById("bulk");
const picked = document.getElementById("picked");
const pickAll = document.getElementById("pick-all");
const menu = document.getElementById("menu");

const query = new URLSearchParams(location.search);
let sorted = { by: query.get("down") || query.get("sort"), down: query.has("down") };
let state = query.get("state") ?? "";
let arranged = ids(); // the order that is shown
let listed = fleet.dataset.listed?.split(" ").map((id) => `agent-${id}`) ?? arranged; // and the server's own

const rows = () => [...fleet.querySelectorAll(":scope > .agent")];
function ids() {
  return [...document.querySelectorAll("#fleet > .agent")].map((row) => row.id);
}

function remember() {
  const now = new URLSearchParams();
  if (filter.value.trim()) now.set("q", filter.value.trim());
  if (state) now.set("state", state);
  if (sorted.by) now.set("sort", sorted.by);
  if (sorted.by && sorted.down) now.set("down", "");
  const text = now.toString();
  history.replaceState(null, "", (text ? `?${text}` : location.pathname) + location.hash);
}

// Filter

function applyFilter() {
  const words = filter.value.toLowerCase().split(/\s+/).filter(Boolean);
  let count = 0;
  const all = rows();
  for (const row of all) {
    const text = words.length ? row.querySelector(".who").textContent.toLowerCase() + row.dataset.state + (row.querySelector(".note")?.textContent.toLowerCase() ?? "") : "";
    row.hidden = Boolean(state && row.dataset.state !== state) || !words.every((word) => text.includes(word));
    if (row.hidden) row.querySelector(".pick input").checked = false;
    else count += 1;
  }
  const told = count === all.length ? "" : `${count} of ${all.length} shown`;
  if (shown.textContent !== told) shown.textContent = told;
  nothing.hidden = count > 0 || all.length === 0;
  for (const chip of chips.querySelectorAll("button")) {
    chip.setAttribute("aria-pressed", String(chip.value === state));
    if (chip.value === state) chip.hidden = false;
  }
  applyPicks();
}

filter.addEventListener("input", () => {
  remember();
  applyFilter();
});
filter.addEventListener("keydown", (event) => {
  if (event.key !== "Escape" && event.key !== "Enter") return;
  if (event.key === "Escape" && filter.value) filter.value = "";
  else rows().find((row) => !row.hidden)?.focus();
  event.preventDefault();
  filter.dispatchEvent(new Event("input"));
});
chips.addEventListener("click", (event) => {
  const chip = event.target.closest("button");
  if (!chip) return;
  event.preventDefault();
  state = chip.value === state ? "" : chip.value;
  remember();
  applyFilter();
});
document.getElementById("show-all").addEventListener("click", (event) => {
  event.preventDefault();
  state = "";
  filter.value = "";
  remember();
  applyFilter();
  filter.focus();
});

// Sort

const numberOf = (row) => Number(row.dataset.order.split(" ")[sorted.by].replace(/^-$/, "NaN"));
const nameOf = (row) => row.querySelector(".name").textContent.toLowerCase();

function compare(one, other) {
  if (sorted.by === "name") return nameOf(one).localeCompare(nameOf(other));
  const [a, b] = [numberOf(one), numberOf(other)];
  // Rows without a figure come last, whichever way the others go.
  if (Number.isNaN(a) || Number.isNaN(b)) return (Number.isNaN(a) - Number.isNaN(b)) * (sorted.down ? -1 : 1);
  return a - b;
}

function applySort() {
  const order = new Map(listed.map((id, place) => [id, place]));
  const now = rows();
  const wanted = [...now].sort((one, other) => order.get(one.id) - order.get(other.id));
  if (sorted.by) wanted.sort((one, other) => compare(one, other) * (sorted.down ? -1 : 1));
  if (wanted.some((row, place) => row !== now[place])) move(wanted);
  arranged = wanted.map((row) => row.id);
  for (const column of columns) {
    const direction = column.dataset.by === sorted.by ? (sorted.down ? "descending" : "ascending") : null;
    if (direction) column.setAttribute("aria-sort", direction);
    else column.removeAttribute("aria-sort");
  }
}

// Moved, not put in anew, where the browser can: focus and what is open stay.
function move(wanted) {
  const focused = document.activeElement;
  for (const row of wanted) fleet.moveBefore ? fleet.moveBefore(row, null) : fleet.append(row);
  if (focused !== document.activeElement && focused.isConnected) focused.focus({ preventScroll: true });
}

for (const column of columns) {
  column.addEventListener("click", (event) => {
    event.preventDefault();
    const by = column.dataset.by;
    // Figures begin with the highest, names, states and pids with the first; a third click ends it.
    const first = !["name", "0", "2"].includes(by);
    if (sorted.by !== by) sorted = { by, down: first };
    else if (sorted.down === first) sorted = { by, down: !first };
    else sorted = { by: null, down: false };
    remember();
    applySort();
  });
}

// Rows do not move under the hand: neither under the pointer nor away from the keyboard's place.
setInterval(() => {
  const used = document.hidden || fleet.matches(":hover") || fleet.contains(document.activeElement);
  if (sorted.by && !used) applySort();
}, RESORT_MS);

// Select

const picks = () => [...fleet.querySelectorAll(".pick input:checked")];

function applyPicks() {
  const chosen = picks();
  const text = `${chosen.length} selected`;
  if (picked.textContent !== text) picked.textContent = text;
  const allowed = new Set(chosen.flatMap((pick) => pick.closest(".agent").dataset.actions.split(" ")));
  for (const button of bulk.querySelectorAll("button[name=action]")) button.hidden = !allowed.has(button.value);
  bulk.querySelector(".ask-kill").hidden = !allowed.has("kill");
  const visible = rows().filter((row) => !row.hidden).length;
  pickAll.checked = visible > 0 && chosen.length === visible;
  pickAll.indeterminate = chosen.length > 0 && chosen.length < visible;
}

fleet.addEventListener("change", applyPicks);
pickAll.addEventListener("change", () => {
  for (const row of rows()) row.querySelector(".pick input").checked = pickAll.checked && !row.hidden;
  applyPicks();
});
document.getElementById("clear").addEventListener("click", () => {
  for (const pick of picks()) pick.checked = false;
  applyPicks();
  pickAll.focus();
});

// Walk

const current = () => document.activeElement?.closest?.("#fleet > .agent");

function step(by) {
  const visible = rows().filter((row) => !row.hidden);
  const at = visible.indexOf(current());
  const next = at < 0 ? (by > 0 ? 0 : visible.length - 1) : Math.min(Math.max(at + by, 0), visible.length - 1);
  visible[next]?.focus();
}

const KEYS = {
  j: () => step(1),
  k: () => step(-1),
  x: (row) => row?.querySelector(".pick input").click(),
  ".": (row) => row?.querySelector(".more").click(),
};

document.addEventListener("shortcut", (event) => {
  const act = KEYS[event.detail.key];
  if (!act) return;
  event.preventDefault();
  act(current());
});
// Where a row itself has the focus, arrows and Enter need no permission: they type nothing.
fleet.addEventListener("keydown", (event) => {
  if (!event.target.matches(".agent")) return;
  if (event.key === "Enter") event.target.querySelector(".name").click();
  else if (event.key === "ArrowDown") step(1);
  else if (event.key === "ArrowUp") step(-1);
  else return;
  event.preventDefault();
});

// Menu

fleet.addEventListener("click", async (event) => {
  const opener = event.target.closest("a[data-menu]");
  if (!opener || event.ctrlKey || event.metaKey || event.shiftKey) return;
  event.preventDefault();
  const id = opener.dataset.menu;
  await htmx.ajax("GET", `/ui/agents/${id}/menu`, { source: menu, target: menu, swap: "innerHTML" });
  place(opener.getBoundingClientRect());
  menu.showPopover();
  menu.querySelector("input, button:not([hidden]), a")?.focus();
  place(opener.getBoundingClientRect());
});

// What it holds stays, since an answer may be under way; it only ends to keep itself current.
menu.addEventListener("toggle", (event) => {
  if (event.newState === "closed") menu.firstElementChild?.removeAttribute("data-live");
});

function place(opener) {
  const { offsetWidth: width, offsetHeight: height } = menu;
  const below = opener.bottom + 4 + height <= innerHeight || opener.top < height;
  put(opener.right - width, below ? opener.bottom + 4 : opener.top - height - 4);
}

function put(left, top) {
  menu.style.left = `${inside(left, innerWidth - menu.offsetWidth)}px`;
  menu.style.top = `${inside(top, innerHeight - menu.offsetHeight)}px`;
}

function inside(at, room) {
  return Math.max(8, Math.min(at, room - 8));
}

// A question that is opened in it, or an answer, makes it taller.
new ResizeObserver(() => put(menu.offsetLeft, menu.offsetTop)).observe(menu);

// What the server sends

let settling = false;

// A message brings many rows, each of which is a swap: they are looked at together.
document.addEventListener("htmx:after:swap", (event) => {
  if (settling || menu.contains(event.detail.ctx.target)) return;
  settling = true;
  setTimeout(settle);
});

function settle() {
  settling = false;
  const now = ids();
  if (now.length !== listed.length || now.some((id) => !listed.includes(id))) listed = now;
  // Rows that stand otherwise than they were put have been listed anew by the server, in its own order.
  if (now.join() !== arranged.join()) applySort();
  applyFilter();
}

filter.value = query.get("q") ?? "";
if (sorted.by !== null && !columns.some((column) => column.dataset.by === sorted.by)) sorted = { by: null, down: false };
applySort();
applyFilter();
