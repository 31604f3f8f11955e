// What a server-drawn chart cannot do by itself: values under the pointer, the same by keyboard, times of the viewer.
// All values are read from the chart's own table.

const clock = new Intl.DateTimeFormat(undefined, { hour: "numeric", minute: "2-digit" });
const moment = new Intl.DateTimeFormat(undefined, {
  day: "numeric", month: "short", hour: "2-digit", minute: "2-digit",
});
const zone = Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

function rowText(row) {
  const time = row.querySelector("th time");
  return time ? moment.format(new Date(time.dateTime)) : row.querySelector("th").textContent;
}

function makeTip(area) {
  const tip = document.createElement("div");
  tip.className = "chart-tip";
  tip.hidden = true;
  const said = document.createElement("p");
  said.className = "unseen";
  said.setAttribute("role", "status");
  area.append(tip, said);
  return { tip, said };
}

function makeCursor(plot, count) {
  const drawing = plot.querySelector(".chart-drawing");
  const cursor = document.createElementNS("http://www.w3.org/2000/svg", "rect");
  cursor.setAttribute("class", "chart-cursor");
  cursor.setAttribute("y", drawing.getAttribute("y"));
  cursor.setAttribute("height", drawing.getAttribute("height"));
  cursor.setAttribute("width", `${100 / count}%`);
  cursor.setAttribute("visibility", "hidden");
  plot.insertBefore(cursor, drawing);
  return cursor;
}

class Chart {
  constructor(figure) {
    this.count = Number(figure.dataset.chart);
    this.area = figure.querySelector(".chart-area");
    this.rows = figure.querySelectorAll(".chart-table tbody tr");
    this.labels = [...figure.querySelectorAll(".chart-table thead th")].slice(1).map((head) => head.textContent);
    this.keys = figure.querySelectorAll(".chart-legend .chart-key");
    this.cursor = makeCursor(figure.querySelector(".chart-plot"), this.count);
    Object.assign(this, makeTip(this.area));
    this.at = -1;
    this.area.tabIndex = 0;
    this.area.setAttribute("role", "group");
    const title = figure.querySelector(".chart-title").textContent;
    this.area.setAttribute("aria-label", `${title}: the arrow keys go through its values`);
    this.area.addEventListener("pointermove", (event) => this.point(event));
    this.area.addEventListener("pointerleave", () => this.leave());
    this.area.addEventListener("blur", () => this.leave());
    this.area.addEventListener("keydown", (event) => this.press(event));
  }

  point(event) {
    const box = this.area.getBoundingClientRect();
    this.show(Math.floor(((event.clientX - box.left) / box.width) * this.count));
  }

  press(event) {
    const moves = { ArrowLeft: this.at < 0 ? this.count - 1 : this.at - 1, ArrowRight: this.at + 1, Home: 0 };
    moves.End = this.count - 1;
    if (event.key === "Escape") this.leave();
    else if (event.key in moves) {
      event.preventDefault();
      this.show(moves[event.key]);
      this.said.textContent = this.tip.innerText.replaceAll("\n", ", ");
    }
  }

  show(wanted) {
    const at = Math.min(this.count - 1, Math.max(0, wanted));
    if (at === this.at) return;
    this.at = at;
    this.cursor.setAttribute("x", `${(100 * at) / this.count}%`);
    this.cursor.setAttribute("visibility", "visible");
    this.fill(this.rows[at]);
    this.tip.hidden = false;
    const middle = (this.area.clientWidth * (at + 0.5)) / this.count;
    const isRight = middle > this.area.clientWidth / 2;
    const left = isRight ? middle - this.tip.offsetWidth - 12 : middle + 12;
    this.tip.style.left = `${Math.max(0, Math.min(left, this.area.clientWidth - this.tip.offsetWidth))}px`;
  }

  fill(row) {
    const time = document.createElement("strong");
    time.textContent = rowText(row);
    const lines = [...row.querySelectorAll("td")].map((cell, at) => {
      const line = document.createElement("span");
      const key = this.keys[at]?.cloneNode(true);
      const value = document.createElement("b");
      value.textContent = cell.textContent;
      line.append(...(key ? [key] : []), `${this.labels[at]} `, value);
      return line;
    });
    this.tip.replaceChildren(time, ...lines.reverse());
  }

  leave() {
    this.at = -1;
    this.tip.hidden = true;
    this.cursor.setAttribute("visibility", "hidden");
  }
}

export function startCharts(root = document) {
  for (const figure of root.querySelectorAll("figure[data-chart]")) new Chart(figure);
  for (const label of root.querySelectorAll(".chart-time[data-at]")) {
    label.textContent = clock.format(new Date(label.dataset.at));
  }
  for (const name of root.querySelectorAll(".chart-zone[data-zone]")) name.textContent = zone;
}

startCharts();
