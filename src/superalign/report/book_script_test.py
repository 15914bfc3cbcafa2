"""The book's test of itself in a browser: `#selftest` plays a reader of either page, and writes what came of it on it."""

TEST_JS = r""""use strict";
// Runs in index.html#selftest and unit.html#ROW&selftest only. Each step of the index is timed from the event to the end
// of layout, with the rows in place and the scatter drawn.

const steps = {}, checks = {};
const rowsInPage = () => byId("body").querySelectorAll("tr[data-place]").length;
const firstRow = () => App.rows[0];

function timed(name, step) {
  const before = performance.now();
  step();
  App.scatter.show(App.asked, App.rows);
  void byId("scroller").offsetHeight;
  steps[name] = performance.now() - before;
}

function typed(id, text, event) {
  byId(id).value = text;
  byId(id).dispatchEvent(new Event(event, { bubbles: true }));
}

const press = (key) => (document.activeElement || byId("scroller")).dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));
const numbersOf = (name) => Array.from(App.rows, (row) => Book.columns.get(name).values[row]);
const falling = (values) => values.every((value, i) => i === 0 || !(value > values[i - 1]));

function selftest() {
  checks.most = rowsInPage();
  const seen = () => { checks.most = Math.max(checks.most, rowsInPage()); };
  checks.all = App.rows.length;
  checks.ready = App.ready;
  checks.byR = falling(numbersOf("r").filter((value) => !Number.isNaN(value)));
  timed("search", () => typed("find", "return", "input"));
  checks.found = App.rows.length;
  checks.foundRight = Array.from(App.rows).every((row) => Book.said[row].includes("return") || Book.tokens[row].includes("\nreturn\n"));
  seen();
  timed("search for a token", () => { typed("within", "token", "change"); });
  checks.tokens = App.rows.length;
  timed("clear", () => byId("reset").click());
  for (const name of ["gain", "text", "site"]) timed(`sort by ${name}`, () => document.querySelector(`button[data-sort="${name}"]`).click());
  timed("sort by gain, again", () => { sortBy("gain"); });
  checks.byGain = falling(numbersOf("gain").filter((value) => !Number.isNaN(value)));
  timed("one part", () => typed("site", Book.columns.get("site").levels[1], "change"));
  checks.onePart = new Set(numbersOf("site")).size;
  timed("least r", () => typed("within", "anything", "change") || setRange({ target: { value: "0.5", dataset: { name: "r", end: "0" } } }));
  checks.leastR = Math.min(...numbersOf("r"));
  byId("reset").click();
  timed("only what beats its controls", () => byId("beats").click());
  checks.beats = App.rows.length;
  byId("reset").click();
  timed("to the end", () => { byId("scroller").scrollTop = 1e9; fill(); });
  checks.lastSeen = Number(byId("body").querySelector("tr[data-place]:last-of-type, tr[data-place]:nth-last-child(1)").dataset.place);
  seen();
  byId("scroller").focus();
  press("Home");
  checks.home = Number(document.activeElement.closest("tr").dataset.place);
  press("ArrowDown");
  press("ArrowDown");
  checks.down = Number(document.activeElement.closest("tr").dataset.place);
  press("End");
  checks.end = Number(document.activeElement.closest("tr").dataset.place);
  checks.link = document.activeElement.getAttribute("href");
  seen();
  dragged();
  checks.box = [...App.asked.ranges.keys()];
  checks.boxRows = App.rows.length;
  checks.kept = toHash(fromHash(toHash(App.asked))) === toHash(App.asked);
  byId("reset").click();
  checks.first = firstRow();
}

// A box from the middle of the scatter to its upper left corner; a dot that is pointed at.
function dragged() {
  const canvas = App.scatter.canvas, box = canvas.getBoundingClientRect(), { left, right, top, bottom } = App.scatter.inside;
  const point = (type, x, y) => canvas.dispatchEvent(new PointerEvent(type, { bubbles: true, clientX: box.left + x, clientY: box.top + y }));
  canvas.setPointerCapture = () => {};
  point("pointerdown", (left + right) / 2, (top + bottom) / 2);
  point("pointermove", left + 9, top + 9);
  point("pointerup", left, top);
  App.scatter.show(App.asked, App.rows);
  const row = App.rows.find((each) => !Number.isNaN(App.scatter.px[each]) && !Number.isNaN(App.scatter.py[each]));
  point("pointermove", App.scatter.px[row], App.scatter.py[row]);
  checks.tip = App.scatter.tip.textContent;
}

// The first window by keyboard and by pointer, and what is told of its tokens.
function unitTest() {
  const told = (box) => box.closest("figure").querySelector("output").textContent, boxes = document.querySelectorAll(".tokens");
  const [box, both] = [boxes[0], boxes[boxes.length - 1]];
  checks.peak = told(box);
  box.focus();
  press("End");
  checks.end = told(box);
  press("ArrowLeft");
  checks.left = told(box);
  box.blur();
  checks.after = told(box);
  both.querySelector(".tok.two .sim").dispatchEvent(new PointerEvent("pointerover", { bubbles: true }));
  checks.both = told(both);
}

let wrong = "";
try { document.documentElement.dataset.page === "unit" ? unitTest() : selftest(); } catch (error) { wrong = String(error.stack || error); }
document.body.append(make("pre", { id: "selftest" }, JSON.stringify({ steps, checks, wrong })));
"""
