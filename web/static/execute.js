// Execute panels: parameters to the manager's own API, and its answer as it comes.

const MOST_CHUNKS = 500;

const running = new WeakMap();

document.addEventListener("submit", (event) => {
  const panel = event.target.closest(".panel.execute");
  if (!panel) return;
  event.preventDefault();
  if (!running.has(panel)) execute(panel);
});

document.addEventListener("keydown", (event) => {
  const form = event.target.closest?.(".panel.execute form");
  if (form && event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
});

document.addEventListener("click", (event) => {
  const cancel = event.target.closest('[data-part="cancel"]');
  if (cancel) running.get(cancel.closest(".panel"))?.abort();
});

function parts(panel) {
  return Object.fromEntries([...panel.querySelectorAll("[data-part]")].map((part) => [part.dataset.part, part]));
}

function parametersOf(text) {
  const value = JSON.parse(text.trim() || "{}");
  if (value === null || typeof value !== "object" || Array.isArray(value)) {
    throw new SyntaxError('Write a JSON object, for example {"goal": "…"}.');
  }
  return value;
}

async function execute(panel) {
  const form = panel.querySelector("form");
  const part = parts(panel);
  let parameters;
  try {
    parameters = parametersOf(form.elements.parameters.value);
  } catch (error) {
    part.invalid.textContent = error.message;
    form.elements.parameters.focus();
    return;
  }
  const abort = new AbortController();
  running.set(panel, abort);
  begin(part);
  const started = performance.now();
  try {
    await ask(panel.dataset.agent, parameters, form.elements.stream.checked, abort.signal, part);
  } catch (error) {
    showFailure(part, error);
  } finally {
    running.delete(panel);
    end(part, performance.now() - started);
  }
}

function begin(part) {
  part.invalid.textContent = "";
  part.answer.hidden = false;
  part.answer.className = "answer";
  part.status.textContent = "Running…";
  part.timing.textContent = part.request.textContent = part.result.textContent = "";
  part.chunks.replaceChildren();
  part.chunks.hidden = true;
  part.run.disabled = true;
  part.cancel.hidden = false;
}

function end(part, tookMs) {
  part.run.disabled = false;
  part.cancel.hidden = true;
  part.timing.textContent ||= `${Math.round(tookMs)} ms`;
}

async function ask(agent, parameters, streaming, signal, part) {
  const response = await fetch(`/api/agent-services/${encodeURIComponent(agent)}/execute`, {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      Accept: streaming ? "text/event-stream" : "application/json",
    },
    body: JSON.stringify({ parameters }),
    signal,
  });
  const id = response.headers.get("X-Request-ID");
  part.request.textContent = id ? `request ${id}` : "";
  if (response.headers.get("Content-Type")?.startsWith("text/event-stream")) {
    await showEvents(response, part);
  } else {
    const text = await response.text();
    if (response.ok) showResult(part, JSON.parse(text));
    else showProblem(part, problemOf(text, response));
  }
}

async function showEvents(response, part) {
  let finished = false;
  for await (const { event, data } of events(response.body)) {
    if (event === "chunk") addChunk(part, data);
    else if (event === "result") showResult(part, JSON.parse(data));
    else if (event === "error") showProblem(part, problemOf(data, response));
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

function addChunk(part, data) {
  const item = document.createElement("li");
  item.value = Number(part.chunks.lastElementChild?.value ?? 0) + 1;
  item.textContent = data;
  part.chunks.append(item);
  if (part.chunks.childElementCount > MOST_CHUNKS) part.chunks.firstElementChild.remove();
  part.chunks.hidden = false;
  part.chunks.scrollTop = part.chunks.scrollHeight;
  part.status.textContent = `Running… ${item.value} ${item.value === 1 ? "chunk" : "chunks"}`;
}

function showResult(part, answer) {
  part.answer.classList.add("good");
  part.status.textContent = "200 Done";
  if (typeof answer.duration_ms === "number") part.timing.textContent = `${Math.round(answer.duration_ms)} ms`;
  part.result.textContent = JSON.stringify("result" in answer ? answer.result : answer, null, 2);
}

function problemOf(text, response) {
  try {
    return JSON.parse(text);
  } catch {
    return { status: response.status, title: response.statusText, detail: text };
  }
}

function showProblem(part, problem) {
  part.answer.classList.add("bad");
  part.status.textContent = `${problem.status} ${problem.title}`;
  part.result.textContent = problem.detail ?? JSON.stringify(problem, null, 2);
}

function showFailure(part, error) {
  const cancelled = error.name === "AbortError";
  part.answer.classList.add("bad");
  part.status.textContent = cancelled ? "Cancelled" : "No answer";
  part.result.textContent = cancelled ? "You ended the request." : error.message;
}
