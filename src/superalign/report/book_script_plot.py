"""The script that draws: the scatter of all units on a canvas, and the histogram of one."""

PLOT_JS = r""""use strict";
// The scatter of the index: every unit a dot, those that are chosen in colour. A dragged box filters, a click opens.

function niceTicks(low, high, most) {
  const span = high - low;
  if (!(span > 0)) return [low];
  const power = 10 ** Math.floor(Math.log10(span));
  for (const step of [0.1, 0.2, 0.25, 0.5, 1, 2, 2.5, 5].map((part) => part * power)) {
    const first = Math.ceil(low / step - 1e-9), last = Math.floor(high / step + 1e-9);
    if (last - first + 1 <= most) return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
  }
  return [low];
}

// Ends of a column among finite values, with a little room.
function endsOf(values) {
  let low = Infinity, high = -Infinity;
  for (const value of values) { if (value < low) low = value; if (value > high) high = value; }
  if (!(low <= high)) return [0, 1];
  const room = (high - low || 1) * 0.04;
  return [low - room, high + room];
}

class Scatter {
  // `choose` is told a box {x: [low, high], y: [low, high]}, `open` a row.
  constructor(place, { choose, open, axes }) {
    this.canvas = make("canvas", { role: "img", tabindex: null });
    this.tip = make("figcaption", { class: "soft" });
    this.pick = { x: this.select("across", "x", axes), y: this.select("up", "y", axes) };
    place.append(make("div", { class: "axes" }, this.pick.y.label, this.pick.x.label), this.canvas, this.tip);
    this.choose = choose;
    this.open = open;
    this.axes = axes;
    this.listen();
  }

  select(said, which, axes) {
    const select = make("select", { change: () => axes(which, select.value) });
    for (const column of Book.columns.values()) {
      if (column.kind === "number" && column.name !== "beats") select.append(make("option", { value: column.name }, column.head));
    }
    return { label: make("label", null, `${said} `, select), select };
  }

  show(asked, rows) {
    this.names = { x: asked.x, y: asked.y };
    for (const which of ["x", "y"]) this.pick[which].select.value = this.names[which];
    this.rows = rows;
    this.ends = { x: endsOf(Book.columns.get(asked.x).values), y: endsOf(Book.columns.get(asked.y).values) };
    this.box = null;
    this.measure();
    this.draw();
  }

  measure() {
    const wide = this.canvas.clientWidth || 420, high = this.canvas.clientHeight || 240, ratio = window.devicePixelRatio || 1;
    Object.assign(this.canvas, { width: wide * ratio, height: high * ratio });
    this.inside = { left: 60, right: wide - 10, top: 8, bottom: high - 32, ratio, wide, high };
    const [xs, ys] = [Book.columns.get(this.names.x).values, Book.columns.get(this.names.y).values];
    this.px = new Float32Array(Book.rows);
    this.py = new Float32Array(Book.rows);
    for (let row = 0; row < Book.rows; row++) {
      // Units of one block would lie on one line: their numbers spread them.
      const spread = this.names.x === "layer" ? ((row * 0.618034) % 1 - 0.5) * 0.7 : 0;
      this.px[row] = this.across(xs[row] + spread);
      this.py[row] = this.up(ys[row] + (this.names.y === "layer" ? ((row * 0.618034) % 1 - 0.5) * 0.7 : 0));
    }
  }

  // Blocks are whole numbers, also where there is only one.
  ticks(which, most) {
    const [low, high] = this.ends[which], found = niceTicks(low, high, most);
    return this.names[which] === "layer" ? [...new Set(found.map(Math.round))].filter((tick) => low <= tick && tick <= high) : found;
  }

  across(value) {
    const { left, right } = this.inside, [low, high] = this.stretched("x");
    return left + (right - left) * (value - low) / (high - low);
  }

  up(value) {
    const { top, bottom } = this.inside, [low, high] = this.stretched("y");
    return bottom - (bottom - top) * (value - low) / (high - low);
  }

  stretched(which) {
    const [low, high] = this.ends[which];
    return this.names[which] === "layer" ? [Math.round(low) - 0.6, Math.round(high) + 0.6] : [low, high];
  }

  draw() {
    const { ratio, wide, high, left, right, top, bottom } = this.inside, pen = this.canvas.getContext("2d");
    const look = getComputedStyle(document.documentElement), colour = (name) => look.getPropertyValue(`--${name}`).trim();
    pen.setTransform(ratio, 0, 0, ratio, 0, 0);
    pen.clearRect(0, 0, wide, high);
    pen.font = "12px system-ui, sans-serif";
    this.drawAxes(pen, colour);
    pen.save();
    pen.beginPath();
    pen.rect(left, top, right - left, bottom - top);
    pen.clip();
    const size = Book.rows > 5000 ? 2 : 3, few = this.rows.length < Book.rows;
    pen.globalAlpha = Book.rows > 5000 ? 0.3 : 0.45;
    if (few) { pen.fillStyle = colour("line"); for (let row = 0; row < Book.rows; row++) pen.fillRect(this.px[row] - size / 2, this.py[row] - size / 2, size, size); }
    const marks = Book.columns.get("beats").values;
    let points = 0;
    // Rows that fail their controls first, so that the others lie on top.
    for (const good of [false, true]) {
      pen.fillStyle = colour(good ? "blue" : "orange");
      pen.globalAlpha = few ? 0.85 : Book.rows > 5000 ? 0.35 : 0.55;
      for (const row of this.rows) {
        if ((marks[row] === 0) !== good || Number.isNaN(this.px[row]) || Number.isNaN(this.py[row])) continue;
        points++;
        pen.fillRect(this.px[row] - size / 2, this.py[row] - size / 2, size, size);
      }
    }
    pen.restore();
    if (this.box) { const [a, b, c, d] = this.box; pen.strokeStyle = colour("ink"); pen.setLineDash([4, 3]); pen.strokeRect(Math.min(a, c), Math.min(b, d), Math.abs(c - a), Math.abs(d - b)); pen.setLineDash([]); }
    const heads = [Book.columns.get(this.names.y).head, Book.columns.get(this.names.x).head];
    this.canvas.setAttribute("aria-label", `${heads[0]} against ${heads[1]}, ${points} units of ${Book.rows}`);
    if (!this.near) this.tip.textContent = points ? "Blue beats its controls; orange does not, or has none. Drag a box to filter, click a dot to open it." : "No unit here has both numbers.";
  }

  drawAxes(pen, colour) {
    const { left, right, top, bottom } = this.inside;
    pen.strokeStyle = colour("line");
    pen.fillStyle = colour("soft");
    pen.lineWidth = 1;
    pen.textAlign = "center";
    const text = (value) => String(value).replace("-", "−");
    const line = (a, b, c, d) => { pen.beginPath(); pen.moveTo(a, b); pen.lineTo(c, d); pen.stroke(); };
    for (const tick of this.ticks("x", 6)) { const at = this.across(tick); line(at, top, at, bottom); pen.fillText(text(tick), at, bottom + 14); }
    pen.fillText(`${Book.columns.get(this.names.x).head} →`, (left + right) / 2, bottom + 29);
    pen.textAlign = "right";
    for (const tick of this.ticks("y", 5)) { const at = this.up(tick); line(left, at, right, at); pen.fillText(text(tick), left - 6, at + 4); }
    pen.save();
    pen.translate(11, (top + bottom) / 2);
    pen.rotate(-Math.PI / 2);
    pen.textAlign = "center";
    pen.fillText(`${Book.columns.get(this.names.y).head} →`, 0, 0);
    pen.restore();
  }

  listen() {
    const at = (event) => { const box = this.canvas.getBoundingClientRect(); return [event.clientX - box.left, event.clientY - box.top]; };
    this.canvas.addEventListener("pointerdown", (event) => { this.from = at(event); this.canvas.setPointerCapture(event.pointerId); });
    this.canvas.addEventListener("pointermove", (event) => {
      const here = at(event);
      if (this.from) { this.box = [...this.from, ...here]; this.draw(); return; }
      this.point(here);
    });
    this.canvas.addEventListener("pointerleave", () => { this.near = null; this.draw(); });
    this.canvas.addEventListener("pointercancel", () => { this.from = this.box = null; this.draw(); });
    this.canvas.addEventListener("pointerup", (event) => {
      const [x, y] = at(event), [fromX, fromY] = this.from || [x, y];
      this.from = this.box = null;
      if (Math.abs(x - fromX) > 5 || Math.abs(y - fromY) > 5) this.choose({ x: this.between("x", fromX, x), y: this.between("y", fromY, y) });
      else if (this.nearest([x, y]) >= 0) this.open(this.nearest([x, y]));
    });
    window.addEventListener("resize", () => { if (this.names) { this.measure(); this.draw(); } });
  }

  // A side of the box as values; blocks are whole numbers.
  between(which, a, b) {
    const { left, right, top, bottom } = this.inside, [low, high] = this.stretched(which);
    const value = (at) => which === "x" ? low + (high - low) * (at - left) / (right - left) : low + (high - low) * (bottom - at) / (bottom - top);
    const ends = [value(a), value(b)].sort((p, q) => p - q);
    if (this.names[which] === "layer") return [Math.round(ends[0]), Math.round(ends[1])];
    return ends.map((end) => Number(end.toPrecision(4)));
  }

  nearest([x, y]) {
    let best = -1, least = 64;
    for (const row of this.rows) {
      const far = (this.px[row] - x) ** 2 + (this.py[row] - y) ** 2;
      if (far < least) { least = far; best = row; }
    }
    return best;
  }

  point(here) {
    const row = this.nearest(here);
    this.near = row >= 0 ? row : null;
    this.canvas.classList.toggle("over", row >= 0);
    if (row < 0) { this.draw(); return; }
    const text = Book.columns.get("text"), value = (which) => shown(this.names[which], Book.columns.get(this.names[which]).values[row]);
    this.tip.textContent = `${Book.names[row]}: ${Book.columns.get(this.names.y).head} ${value("y")}, ${Book.columns.get(this.names.x).head} ${value("x")}. ${text ? text.values[row] : ""}`;
  }
}

// Counts as bars over their edges; what lies left of 0 has the other colour. Heights are logarithms: most values are small.
function histogram([edges, counts]) {
  const wide = 460, high = 150, floor = high - 24, most = Math.max(...counts), first = edges[0], last = edges[edges.length - 1];
  const x = (value) => 6 + (wide - 12) * (value - first) / (last - first || 1), tall = (count) => (floor - 16) * Math.log1p(count) / Math.log1p(most || 1);
  const bars = counts.map((count, i) => make("rect", { class: edges[i + 1] <= 0 ? "bar neg" : "bar pos", x: x(edges[i]), y: floor - tall(count), width: Math.max(x(edges[i + 1]) - x(edges[i]) - 0.6, 0.6), height: tall(count) },
    make("title", null, `${figure(edges[i])} to ${figure(edges[i + 1])}: ${count.toLocaleString("en")}`)));
  const ticks = niceTicks(first, last, 6).map((tick) => [make("line", { class: "grid", x1: x(tick), x2: x(tick), y1: floor, y2: floor + 4 }), make("text", { x: x(tick), y: high - 6, "text-anchor": "middle" }, String(tick).replace("-", "−"))]);
  const total = counts.reduce((sum, count) => sum + count, 0);
  return make("svg", { viewBox: `0 0 ${wide} ${high}`, role: "img", class: "histogram" },
    make("title", null, `Histogram of ${total.toLocaleString("en")} values from ${figure(first)} to ${figure(last)}`),
    make("line", { class: "base", x1: 0, x2: wide, y1: floor, y2: floor }), bars, ticks,
    make("text", { x: 6, y: 11 }, `most in one bar: ${most.toLocaleString("en")} · heights are logarithms`));
}
"""
