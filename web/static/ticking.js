// Keeps every <time data-tick> current, so that the server need not send an age each second.
// The rules are those of web/texts.py.

const MINUTE = 60;
const HOUR = 60 * MINUTE;
const DAY = 24 * HOUR;

// The server's clock minus this machine's, in milliseconds.
let offset = Date.parse(document.body.dataset.now) - Date.now();

export function ageText(seconds) {
  const whole = Math.max(0, Math.floor(seconds));
  if (whole < MINUTE) return `${whole} s`;
  if (whole < HOUR) return `${Math.floor(whole / MINUTE)} min`;
  if (whole < DAY) return `${Math.floor(whole / HOUR)} h ${Math.floor((whole % HOUR) / MINUTE)} min`;
  return `${Math.floor(whole / DAY)} d ${Math.floor((whole % DAY) / HOUR)} h`;
}

export function leftText(seconds) {
  const whole = Math.max(0, Math.ceil(seconds));
  if (whole >= MINUTE && whole < HOUR) return `${Math.floor(whole / MINUTE)} min ${whole % MINUTE} s`;
  return ageText(whole);
}

// As on the person's own wall, with the day where it is another one.
function clockText(time) {
  const at = new Date(time.dateTime);
  const clock = at.toLocaleTimeString([], { hourCycle: "h23" });
  return at.toDateString() === new Date().toDateString() ? clock : `${at.toLocaleDateString()} ${clock}`;
}

const TEXTS = {
  age: (passed) => ageText(passed),
  ago: (passed) => `${ageText(passed)} ago`,
  left: (passed) => leftText(-passed),
  clock: (passed, time) => clockText(time),
};

function tick() {
  const now = Date.now() + offset;
  for (const time of document.querySelectorAll("time[data-tick]")) {
    const passed = (now - Date.parse(time.dateTime)) / 1000;
    const text = TEXTS[time.dataset.tick](passed, time);
    if (time.textContent !== text) time.textContent = text;
  }
}

document.addEventListener("beat", (event) => {
  offset = Date.parse(event.detail.data) - Date.now();
});
let ticking = false;

// Once for all the swaps of a message.
document.addEventListener("htmx:after:swap", () => {
  if (ticking) return;
  ticking = true;
  queueMicrotask(() => {
    ticking = false;
    tick();
  });
});
document.addEventListener("visibilitychange", () => document.hidden || tick());
setInterval(() => document.hidden || tick(), 1000);
tick();
