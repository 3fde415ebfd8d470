// What was asked of this agent in this browser before: kept here and nowhere else, bounded in number and in length.

const MOST = 20;
const LONGEST = 20_000;
const SHOWN = 100;

const panel = document.getElementById("execute");
const area = panel.querySelector("textarea");
const list = panel.querySelector('[data-part="asked-list"]');
const count = panel.querySelector('[data-part="asked-count"]');
const key = `agent-manager.asked.${panel.dataset.agent}`;

function read() {
  try {
    const kept = JSON.parse(localStorage.getItem(key) ?? "[]");
    return Array.isArray(kept) ? kept : [];
  } catch {
    return [];
  }
}

function keep(entries) {
  try {
    localStorage.setItem(key, JSON.stringify(entries));
  } catch {
    // A browser that is out of room, or keeps nothing, forgets: the panel works as well.
  }
  show(entries);
}

function show(entries) {
  count.textContent = entries.length;
  list.closest("details").hidden = entries.length === 0;
  list.replaceChildren(...entries.map(item));
}

function item(entry, index) {
  const row = document.createElement("li");
  const again = document.createElement("button");
  again.type = "button";
  again.className = "button quiet";
  again.dataset.index = index;
  again.textContent = entry.text.replace(/\s+/g, " ").slice(0, SHOWN);
  const outcome = document.createElement("span");
  outcome.className = entry.good ? "muted" : "tone-bad";
  outcome.textContent = `${new Date(entry.at).toLocaleString([], { hourCycle: "h23" })} · ${entry.status}`;
  row.append(again, " ", outcome);
  return row;
}

panel.addEventListener("executed", (event) => {
  const { text, status, good } = event.detail;
  if (text.length > LONGEST) return;
  const others = read().filter((entry) => entry.text !== text);
  keep([{ text, status, good, at: Date.now() }, ...others].slice(0, MOST));
});

list.addEventListener("click", (event) => {
  const index = event.target.closest("button")?.dataset.index;
  if (index === undefined) return;
  area.value = read()[index].text;
  area.dispatchEvent(new Event("input", { bubbles: true }));
  area.focus();
});

panel.querySelector('[data-part="forget"]').addEventListener("click", () => {
  keep([]);
  area.focus();
});

show(read());
