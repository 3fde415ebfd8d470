// Charts tell what they show at the pointer: the time and each line's value there.

const SVG = "http://www.w3.org/2000/svg";

function readout(plot) {
  let box = plot.querySelector(".readout");
  if (!box) {
    box = document.createElement("output");
    box.className = "readout";
    plot.append(box);
  }
  return box;
}

function cursor(svg) {
  let line = svg.querySelector(".cursor");
  if (!line) {
    line = document.createElementNS(SVG, "line");
    line.setAttribute("class", "cursor");
    line.setAttribute("y1", "0");
    line.setAttribute("y2", "100");
    svg.append(line);
  }
  return line;
}

function show(plot, clientX) {
  const svg = plot.querySelector("svg");
  const area = svg.getBoundingClientRect();
  const width = Number(plot.dataset.width); // the box of web/charts.py: one unit is one interval
  const courses = JSON.parse(plot.dataset.points);
  const x = Math.round(Math.min(1, Math.max(0, (clientX - area.left) / area.width)) * width);
  const index = x - (width + 1 - courses[0].length);
  const labels = plot.dataset.labels.split("|");
  const values = courses.map((course, number) => `${labels[number]} ${course[index] ?? "–"}`);
  const at = new Date(Date.parse(plot.dataset.ended) - (width - x) * 10_000);
  const box = readout(plot);
  box.textContent = `${at.toLocaleTimeString([], { hourCycle: "h23" })} · ${values.join(" · ")}`;
  const half = box.offsetWidth / 2;
  const left = (x / width) * area.width;
  box.style.left = `${Math.min(Math.max(left, half), area.width - half)}px`;
  for (const end of ["x1", "x2"]) cursor(svg).setAttribute(end, x);
}

function clear(plot) {
  plot.querySelector(".readout")?.remove();
  plot.querySelector(".cursor")?.remove();
}

document.addEventListener("pointermove", (event) => {
  const plot = event.target.closest?.("[data-chart]");
  for (const other of document.querySelectorAll("[data-chart]:has(.readout)")) if (other !== plot) clear(other);
  if (plot) show(plot, event.clientX);
});
