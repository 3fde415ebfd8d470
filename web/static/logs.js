// The log view: follows what is written, stops for a reader who scrolls up, and loads more at both ends. However much
// is written, the page holds a bounded number of lines.

const MOST_LINES = 1_000;
const MOST_IN_A_FRAME = 40; // so that no task of the page takes long, however many lines come at once
const MOST_WAITING = 1_000;
const NEAR_END_PX = 30;
const NEAR_START_PX = 60;
const SHORT_PAUSE_MS = 60_000; // after a longer one the newest lines are shown rather than all in between

const view = document.getElementById("log-view");
const button = document.getElementById("follow");
const status = document.getElementById("following");
const base = new URLSearchParams(view?.dataset.query);

let stream = null;
let wanted = false; // whether it should follow: a hidden tab does not, and goes on when it is shown again
let cursor = null; // where the newest line on display ends; null when lines after it have been let go
let earlier = null; // the cursor of the page before the first line; null when lines before it have been let go
let pausedAt = 0;
let byScrolling = false;
let lastTop = 0;
let loading = false;
let waiting = []; // lines that have come and are not on display yet
let frame = 0;

const list = () => view.querySelector(".lines");
const atEnd = () => view.scrollHeight - view.scrollTop - view.clientHeight < NEAR_END_PX;
const clock = () => new Date().toISOString().slice(11, 19);

function address(path, more) {
  const query = new URLSearchParams(base);
  query.delete("at");
  for (const [key, value] of Object.entries(more)) query.set(key, value);
  return `${path}?${query}`;
}

function toEnd() {
  view.scrollTop = view.scrollHeight;
  lastTop = view.scrollTop;
}

// Following

function follow() {
  wanted = true;
  byScrolling = false;
  show();
  if (cursor === null || Date.now() - pausedAt > SHORT_PAUSE_MS) newest().then(open);
  else open();
}

function open() {
  if (!wanted || document.hidden || stream) return;
  toEnd();
  stream = new EventSource(address("/ui/logs/stream", { cursor }));
  stream.addEventListener("lines", (event) => take(event.lastEventId, JSON.parse(event.data)));
  stream.addEventListener("problem", (event) => {
    pause();
    status.textContent = JSON.parse(event.data).detail;
  });
  stream.addEventListener("open", show);
  stream.addEventListener("error", () => {
    if (stream?.readyState === EventSource.CLOSED) location.reload(); // refused: the page says why
    status.textContent = "Connection lost; trying again…";
  });
}

function close() {
  stream?.close();
  stream = null;
  pausedAt = Date.now();
}

function pause() {
  wanted = false;
  close();
  show();
}

function show() {
  button.setAttribute("aria-pressed", String(wanted));
  status.textContent = wanted ? "following" : `paused at ${clock()}; follow to see what came since`;
}

function take(id, { html, left_out: leftOut, note }) {
  cursor = id;
  const holder = document.createElement("template");
  holder.innerHTML = html;
  const lines = [...holder.content.children];
  if (note) lines.unshift(gap(note));
  const over = Math.max(0, waiting.length + lines.length - MOST_WAITING);
  if (over) waiting.splice(0, over);
  if (leftOut + over) lines.unshift(gap(`${(leftOut + over).toLocaleString("en")} lines left out here to keep up`));
  waiting.push(...lines);
  frame ||= requestAnimationFrame(draw);
}

// A frame's worth of what waits. A reader who has scrolled up meanwhile is given the rest below, and keeps the place.
function draw() {
  frame = 0;
  view.querySelector(".no-lines")?.remove();
  list().append(...waiting.splice(0, MOST_IN_A_FRAME));
  if (wanted) {
    if (trim("firstElementChild")) earlier = null;
    toEnd();
  }
  if (waiting.length) frame = requestAnimationFrame(draw);
}

function gap(words) {
  const item = document.createElement("li");
  item.className = "gap";
  item.textContent = words;
  return item;
}

function trim(end) {
  const lines = list();
  let over = lines.childElementCount - MOST_LINES;
  if (over <= 0) return false;
  if (end === "firstElementChild") {
    const range = document.createRange();
    range.setStartBefore(lines.firstElementChild);
    range.setEndBefore(lines.children[over]);
    range.deleteContents();
  } else {
    while (over-- > 0) lines.lastElementChild.remove();
  }
  return true;
}

// Reading on at either end

async function page(more) {
  const response = await fetch(address("/ui/logs", more), { headers: { "HX-Request": "true" } });
  const holder = document.createElement("template");
  holder.innerHTML = await response.text();
  if (response.status === 401) location.reload();
  if (!response.ok) throw new Error(holder.content.textContent.trim());
  return holder.content.querySelector(".log-page");
}

async function once(work) {
  if (loading) return;
  loading = true;
  try {
    await work();
  } catch (error) {
    status.textContent = error instanceof TypeError ? "The manager could not be reached; try again." : error.message;
  } finally {
    loading = false;
  }
}

const newest = () =>
  once(async () => {
    const found = await page({});
    waiting = [];
    view.replaceChildren(found);
    note(found);
    toEnd();
  });

function note(found) {
  cursor = found.dataset.newer;
  earlier = found.dataset.older;
  ends();
}

function ends() {
  const older = document.getElementById("older");
  if (older) older.hidden = earlier === "";
}

const older = () =>
  once(async () => {
    const first = list().querySelector("time[datetime]:not([datetime=''])")?.dateTime;
    if (earlier === "" || (earlier === null && !first)) return;
    const found = await page(earlier === null ? { until: afterwards(first) } : { cursor: earlier });
    if (earlier === null) drop(found, first);
    const height = view.scrollHeight;
    list().prepend(...found.querySelectorAll(".line"));
    earlier = found.dataset.older;
    view.scrollTop += view.scrollHeight - height;
    lastTop = view.scrollTop;
    if (trim("lastElementChild")) cursor = null;
    ends();
  });

const newer = () =>
  once(async () => {
    const last = [...list().querySelectorAll("time")].at(-1)?.dateTime;
    const found = await page(cursor === null ? { at: last } : { cursor });
    if (cursor === null) drop(found, last);
    const lines = [...found.querySelectorAll(".line")];
    list().append(...lines);
    // Where lines had been let go, the last page says whether these are the newest again.
    cursor = found.dataset.newer;
    if (trim("firstElementChild")) earlier = null;
    status.textContent = lines.length ? "" : `nothing newer at ${clock()}`;
    lines.at(-1)?.scrollIntoView({ block: "nearest" });
    lastTop = view.scrollTop;
  });

const afterwards = (time) => new Date(Date.parse(time) + 1).toISOString();

// A page that was asked for by time begins with lines of that moment that are on display already.
function drop(found, time) {
  const shown = [...list().querySelectorAll(".line")].filter((line) => line.querySelector("time").dateTime === time);
  const known = new Set(shown.map((line) => line.outerHTML));
  for (const line of found.querySelectorAll(".line")) if (known.has(line.outerHTML)) line.remove();
}

// What the view is told

if (view) {
  note(view.querySelector(".log-page"));
  button.addEventListener("click", () => (wanted ? pause() : follow()));
  document.getElementById("older")?.addEventListener("click", (event) => {
    event.preventDefault();
    pause();
    older();
  });
  document.getElementById("newer").addEventListener("click", (event) => {
    event.preventDefault();
    pause();
    newer();
  });
  view.addEventListener("scroll", () => {
    const up = view.scrollTop < lastTop;
    lastTop = view.scrollTop;
    if (wanted && up && !atEnd()) {
      pause();
      byScrolling = true;
    } else if (!wanted && byScrolling && !up && atEnd()) {
      follow();
    }
    if (!wanted && up && view.scrollTop < NEAR_START_PX) older();
  });
  document.addEventListener("visibilitychange", () => {
    if (document.hidden) close();
    else if (wanted) follow();
  });
  if (view.dataset.follows === "yes") follow();
  else status.textContent = "not following";
}
