// Log panels: while one is open it follows the newest lines, unless the reader has scrolled up or selects text.

const REFRESH_MS = 2_000;

function atEnd(lines) {
  return lines.scrollHeight - lines.scrollTop - lines.clientHeight < 24;
}

function selecting(lines) {
  const selection = getSelection();
  return !selection.isCollapsed && lines.contains(selection.anchorNode);
}

function follows(lines) {
  return lines.dataset.opening !== undefined || (atEnd(lines) && !selecting(lines));
}

function refresh(panel) {
  const lines = panel.querySelector(".log-lines");
  const following = follows(lines);
  const words = following ? "following" : "paused – scroll to the end to follow";
  const label = panel.querySelector('[data-part="following"]');
  if (label.textContent !== words) label.textContent = words;
  if (following) htmx.trigger(lines, "show-newest", {}, false);
}

document.addEventListener("panel", (event) => {
  const lines = event.target.querySelector(".log-lines");
  if (!lines || !event.detail.open) return;
  lines.dataset.opening = "";
  refresh(event.target);
});

document.addEventListener("htmx:after:swap", (event) => {
  const lines = event.detail.ctx.target;
  if (!lines?.classList?.contains("log-lines")) return;
  delete lines.dataset.opening;
  lines.scrollTop = lines.scrollHeight;
});

setInterval(() => {
  if (document.hidden) return;
  for (const panel of document.querySelectorAll(".panel.logs:not([hidden])")) refresh(panel);
}, REFRESH_MS);
