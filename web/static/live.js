// Fragments that keep themselves current: an element with data-live names what it shows, the stream names what has
// changed, and the element's own hx-get (hx-trigger="live") brings it up to date. data-every="10": each 10 s as well.

const PACE_MS = 1_000;

const due = new WeakMap(); // element → the timer of its next pull
const pulled = new WeakMap(); // element → when it was pulled last
const under = new WeakSet(); // elements whose answer is awaited
const again = new WeakSet(); // those of them for which something has changed since

const lost = () => document.getElementById("stream")?.dataset.connection === "lost";

function pull(element) {
  due.delete(element);
  if (!element.isConnected || document.hidden || lost()) return;
  if (under.has(element)) {
    again.add(element);
    return;
  }
  pulled.set(element, performance.now());
  htmx.trigger(element, "live", {}, false);
}

function ask(element) {
  if (due.has(element)) return;
  const wait = Math.max(0, (pulled.get(element) ?? -Infinity) + PACE_MS - performance.now());
  due.set(element, setTimeout(() => pull(element), wait));
}

function askAll() {
  for (const element of document.querySelectorAll("[data-live]")) ask(element);
}

document.addEventListener("changed", (event) => {
  const names = new Set(event.detail.data.split(" "));
  if (names.has("*")) return askAll();
  for (const element of document.querySelectorAll("[data-live]")) {
    if (element.dataset.live.split(" ").some((name) => names.has(name))) ask(element);
  }
});

document.addEventListener("htmx:before:request", (event) => under.add(event.target));
document.addEventListener("htmx:finally:request", (event) => {
  const element = event.detail.ctx.sourceElement;
  under.delete(element);
  if (again.delete(element)) ask(element);
});

document.addEventListener("connection:back", askAll);
document.addEventListener("visibilitychange", () => document.hidden || askAll());

setInterval(() => {
  if (document.hidden) return;
  for (const element of document.querySelectorAll("[data-every]")) {
    const since = performance.now() - (pulled.get(element) ?? 0);
    if (since >= Number(element.dataset.every) * 1_000) ask(element);
  }
}, PACE_MS);
