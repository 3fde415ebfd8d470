// Watches the event stream: says when it is lost, gets it back, and notices when it only looks alive.

const SILENCE_MS = 40_000; // the server sends a beat every 15 s
const PATIENCE_MS = 1_000; // shorter breaks are not worth a word
const FIRST_RETRY_MS = 500;
const LONGEST_RETRY_MS = 5_000;

const stream = document.getElementById("stream");
const banner = document.getElementById("connection");
const seen = document.getElementById("connection-seen");

let connection = null;
let lastHeard = Date.now();
let announcing = null;
let retryMs = FIRST_RETRY_MS;

function heard() {
  lastHeard = Date.now();
  retryMs = FIRST_RETRY_MS;
  clearTimeout(announcing);
  announcing = null;
  banner.hidden = true;
  if (stream.dataset.connection === "lost") document.dispatchEvent(new Event("connection:back"));
  stream.dataset.connection = "live";
}

function lost() {
  stream.dataset.connection = "lost";
  if (announcing !== null) return;
  document.dispatchEvent(new Event("connection:lost"));
  announcing = setTimeout(() => {
    seen.textContent = new Date(lastHeard).toLocaleTimeString([], { hourCycle: "h23" });
    banner.hidden = false;
  }, PATIENCE_MS);
}

stream.addEventListener("htmx:sse:after:connection", (event) => {
  connection = event.detail.connection;
  heard();
});
stream.addEventListener("htmx:sse:after:message", heard);
stream.addEventListener("htmx:sse:before:connection", (event) => {
  if (event.detail.connection.attempt > 0) lost();
});
stream.addEventListener("htmx:sse:error", (event) => {
  if (event.detail.status === 401) location.reload(); // the session has ended: the page asks for the token
  lost();
});

// The extension looks after a stream once it has been there; the very first connection is ours to try again.
stream.addEventListener("htmx:finally:request", (event) => {
  const status = event.detail.ctx.response?.status;
  if (status === 200) return;
  if (status === 401) location.reload();
  lost();
  setTimeout(() => htmx.trigger(stream, "reconnect"), retryMs);
  retryMs = Math.min(retryMs * 2, LONGEST_RETRY_MS);
});

// A laptop that slept, or a proxy that holds the stream back: ask once without it, then connect anew.
setInterval(() => {
  if (document.hidden || !connection?.reader || Date.now() - lastHeard < SILENCE_MS) return;
  lost();
  htmx.ajax("GET", stream.dataset.now, { source: document.body, swap: "none" });
  connection.reader.cancel();
}, SILENCE_MS / 4);
