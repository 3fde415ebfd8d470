// The execute panel: a request to the manager's own API, and its answer as it comes.

const MOST_CHUNKS = 500;
const MOST_LINES = 400;

const panel = document.getElementById("execute");
const form = panel.querySelector("form");
const area = form.elements.parameters;
const part = Object.fromEntries([...panel.querySelectorAll("[data-part]")].map((each) => [each.dataset.part, each]));

let running = null;
let chunks = { count: 0, waiting: [], frame: 0 };

// The editor

function write() {
  const mistake = area.mistake;
  part.mistake.textContent = mistake ? `Line ${mistake.line}, column ${mistake.column}: ${mistake.why}.` : "";
  part["show-mistake"].hidden = !mistake;
  part.format.disabled = Boolean(mistake);
  number(mistake?.line);
  if (!mistake) part.curl.textContent = curl(parameters());
}

function number(wrong) {
  const lines = Math.min(area.value.split("\n").length, MOST_LINES);
  const numbers = Array.from({ length: lines }, (_, index) => {
    const item = document.createElement("li");
    item.textContent = index + 1;
    item.className = index + 1 === wrong ? "wrong" : "";
    return item;
  });
  part.numbers.replaceChildren(...numbers);
  area.rows = Math.min(24, Math.max(6, lines + 1));
}

function parameters() {
  return JSON.parse(area.value.trim() || "{}");
}

function showMistake() {
  area.focus();
  area.setSelectionRange(area.mistake.index, area.mistake.index + 1);
}

// Words for a POSIX shell, as web/examples.py has them.
function curl(given) {
  const address = `${location.origin}/api/agent-services/${panel.dataset.agent}/execute`;
  const token = panel.dataset.token === undefined ? "" : ' -H "X-Manager-Token: $MANAGER_TOKEN"';
  const accept = form.elements.stream.checked ? " -H 'Accept: text/event-stream'" : "";
  const body = `'${JSON.stringify({ parameters: given }).replaceAll("'", `'"'"'`)}'`;
  return `curl -N ${address} -H 'Content-Type: application/json'${accept}${token} -d ${body}`;
}

// One request

async function execute() {
  const text = area.value;
  const run = { abort: new AbortController(), started: performance.now(), first: null, told: false };
  running = run;
  begin();
  const ticking = setInterval(() => (part.timing.textContent = elapsed(run)), 100);
  try {
    await ask(run);
  } catch (error) {
    tell("bad", error.name === "AbortError" ? "Cancelled" : "No answer", failure(error));
  } finally {
    clearInterval(ticking);
    running = null;
    end(run, text);
  }
}

function failure(error) {
  if (error.name === "AbortError") return "You ended the request; an agent whose cancelOnDisconnect is on has stopped its task.";
  return error instanceof TypeError ? "The manager could not be reached, or the connection broke; try again." : error.message;
}

async function ask(run) {
  const streaming = form.elements.stream.checked;
  const response = await fetch(`/api/agent-services/${encodeURIComponent(panel.dataset.agent)}/execute`, {
    method: "POST",
    headers: { "Content-Type": "application/json", Accept: streaming ? "text/event-stream" : "application/json" },
    body: JSON.stringify({ parameters: parameters() }),
    signal: run.abort.signal,
  });
  link(run, response.headers.get("X-Request-ID"));
  if (response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    await showEvents(run, response);
  } else {
    const text = await response.text();
    run.first = performance.now();
    if (response.ok) done(run, JSON.parse(text));
    else refuse(problem(text, response));
  }
}

async function showEvents(run, response) {
  let finished = false;
  for await (const { event, data } of events(response.body)) {
    run.first ??= performance.now();
    if (event === "chunk") add(data);
    else if (event === "result") done(run, JSON.parse(data));
    else if (event === "error") refuse(problem(data, response));
    finished ||= event === "result" || event === "error";
  }
  if (!finished) throw new Error("The answer broke off before its result came.");
}

// https://html.spec.whatwg.org/multipage/server-sent-events.html#event-stream-interpretation
async function* events(body) {
  let rest = "";
  let event = "";
  let data = [];
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  for (;;) {
    const { done, value } = await reader.read();
    if (done) return;
    // A \r at the end of what has come may be the first half of a \r\n.
    const lines = (rest + value).split(/\r\n|\n|\r(?!$)/);
    rest = lines.pop();
    for (const line of lines) {
      if (line === "") {
        if (data.length) yield { event: event || "message", data: data.join("\n") };
        event = "";
        data = [];
      } else if (line.startsWith("data:")) {
        data.push(line.slice(5).replace(/^ /, ""));
      } else if (line.startsWith("event:")) {
        event = line.slice(6).replace(/^ /, "");
      }
    }
  }
}

// The answer

function begin() {
  cancelAnimationFrame(chunks.frame);
  chunks = { count: 0, waiting: [], frame: 0 };
  part.answer.hidden = false;
  part.answer.className = "answer";
  part.status.textContent = "Running…";
  part.timing.textContent = part.result.textContent = "";
  part.chunks.replaceChildren();
  part.chunks.hidden = part.request.hidden = true;
  part.run.disabled = true;
  part.cancel.hidden = false;
}

function end(run, text) {
  draw();
  part.run.disabled = false;
  part.cancel.hidden = true;
  part.timing.textContent = elapsed(run);
  const detail = { text, status: part.status.textContent, good: part.answer.classList.contains("good") };
  panel.dispatchEvent(new CustomEvent("executed", { detail }));
}

function elapsed(run) {
  const since = (moment) => `${Math.round(moment - run.started).toLocaleString("en")} ms`;
  const parts = [since(performance.now())];
  if (run.first !== null && chunks.count) parts.push(`first chunk after ${since(run.first)}`);
  if (run.agentMs !== undefined) parts.push(`${Math.round(run.agentMs).toLocaleString("en")} ms in the agent`);
  return parts.join(" · ");
}

function link(run, id) {
  if (!id) return;
  const query = new URLSearchParams({ agent: panel.dataset.agent, request: id });
  part.request.href = `/logs?${query}`;
  part.request.textContent = `Log lines of request ${id}`;
  part.request.hidden = false;
}

function add(data) {
  chunks.count += 1;
  chunks.waiting.push({ number: chunks.count, data });
  if (chunks.waiting.length > MOST_CHUNKS) chunks.waiting.shift();
  chunks.frame ||= requestAnimationFrame(draw);
}

// Once a frame, however many came: a stream must not hold the page up.
function draw() {
  chunks.frame = 0;
  if (!chunks.count) return;
  const following = part.chunks.scrollTop + part.chunks.clientHeight >= part.chunks.scrollHeight - 4;
  const items = chunks.waiting.splice(0).map(({ number, data }) => {
    const item = document.createElement("li");
    item.value = number;
    item.textContent = data;
    return item;
  });
  part.chunks.append(...items);
  while (part.chunks.childElementCount > MOST_CHUNKS) part.chunks.firstElementChild.remove();
  part.chunks.hidden = false;
  if (following) part.chunks.scrollTop = part.chunks.scrollHeight;
  if (running && !running.told) part.status.textContent = `Running… ${chunks.count} ${chunks.count === 1 ? "chunk" : "chunks"}`;
}

function done(run, answer) {
  if (typeof answer.duration_ms === "number") run.agentMs = answer.duration_ms;
  tell("good", "200 Done", JSON.stringify("result" in answer ? answer.result : answer, null, 2));
}

function refuse(told) {
  tell("bad", `${told.status} ${told.title}`, told.detail ?? JSON.stringify(told, null, 2));
}

function tell(kind, status, text) {
  if (running) running.told = true;
  part.answer.classList.add(kind);
  part.status.textContent = status;
  part.result.textContent = text;
}

function problem(text, response) {
  try {
    return JSON.parse(text);
  } catch {
    return { status: response.status, title: response.statusText, detail: text };
  }
}

// What the panel is told

form.addEventListener("submit", (event) => {
  event.preventDefault();
  if (running) return;
  if (area.mistake) showMistake();
  else execute();
});
area.addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || !(event.ctrlKey || event.metaKey)) return;
  event.preventDefault();
  form.requestSubmit();
});
area.addEventListener("checked", write);
area.addEventListener("scroll", () => (part.numbers.scrollTop = area.scrollTop));
form.elements.stream.addEventListener("change", write);
part["show-mistake"].addEventListener("click", showMistake);
part.cancel.addEventListener("click", () => running?.abort.abort());
part.format.addEventListener("click", () => {
  area.value = JSON.stringify(parameters(), null, 2);
  area.dispatchEvent(new Event("input", { bubbles: true }));
});

// The overview beside it says, at each update, whether there is anybody to take a request.
function watchWork() {
  const overview = document.getElementById("overview");
  const note = () => (part.idle.hidden = overview.querySelector("[data-takes-work]")?.dataset.takesWork !== "no");
  new MutationObserver(note).observe(overview, { subtree: true, childList: true, attributes: true });
  note();
}
watchWork();
