"""The script of the book's front page: filters, the table of which only what is seen is in the document, the keyboard."""

INDEX_JS = r""""use strict";
// The index. Only rows that are seen, and a few around them, are in the document; two empty rows hold the rest's place.

const FILTERS = ["r", "gain", "effect", "q"];
const SPARE = 8;
// Columns of the table, and how many there is room for: each names what it sorts by; two names share a column, one above the other.
const TABLE = [["unit"], ["text", "family"], ["r"], ["beats"], ["unigram"], ["shuffled"], ["untrained"], ["gain"], ["bits"],
  ["effect"], ["ablation"], ["q"], ["mean", "sd"], ["highest", "lowest"]];
const ROOM = 17;
const App = { asked: null, rows: new Int32Array(0), first: -1, active: 0, scatter: null };

async function start() {
  await loadIndex();
  App.columns = tableColumns();
  setRowHeight();
  App.asked = filled(fromHash(location.hash.slice(1)));
  buildFilters();
  buildHead();
  buildColumns();
  App.scatter = new Scatter(byId("plot"), { choose: chooseBox, open: (row) => { location.href = link(row); }, axes: (which, name) => change({ [which]: name }) });
  listen();
  apply();
  App.ready = performance.now();
  goTo(Number(new URLSearchParams(location.hash.slice(1)).get("row") || -1));
  if (location.hash === "#selftest") await load("assets/test.js");
}

// Known columns that are there, then those of the caller while there is room: all can be sorted and filtered by.
function tableColumns() {
  const found = TABLE.map((names) => names.filter((name) => Book.columns.has(name))).filter((names) => names.length);
  const more = furtherColumns().map((name) => [name]);
  return found.length + more.length <= ROOM ? [...found, ...more] : found;
}

function furtherColumns() {
  const known = new Set([...TABLE.flat(), "site", "r low", "r high", "tokens", "layer"]);
  return [...Book.columns.keys()].filter((name) => !known.has(name));
}

// Where nothing is asked: best first, and a scatter of what there is.
function filled(asked) {
  const numeric = (name) => Book.columns.has(name) && Book.columns.get(name).kind === "number";
  const pick = (...names) => names.find(numeric) || [...Book.columns.keys()].find(numeric);
  if (!Book.columns.has(asked.sort)) { asked.sort = Book.columns.has("r") ? "r" : "unit"; asked.down = asked.sort === "r"; }
  if (!numeric(asked.x)) asked.x = pick("layer", "bits", "unit");
  if (!numeric(asked.y)) asked.y = pick("gain", "r", "mean");
  return asked;
}

function change(what) { Object.assign(App.asked, what); apply(); }

// Filter, sort and show; all in one go, so that the table is never behind what is asked.
function apply() {
  App.rows = chosen(App.asked);
  App.active = 0;
  byId("scroller").scrollTop = 0;
  App.first = -1;
  fill();
  say();
  buildRanges();
  history.replaceState(null, "", location.hash === "#selftest" ? "#selftest" : `#${toHash(App.asked)}`);
  cancelAnimationFrame(App.frame);
  App.frame = requestAnimationFrame(() => App.scatter.show(App.asked, App.rows));
}

function say() {
  const { sort, down } = App.asked, column = Book.columns.get(sort);
  const order = column.kind === "number" ? (down ? "highest first" : "lowest first") : (down ? "last first" : "first first");
  byId("status").textContent = `${App.rows.length.toLocaleString("en")} of ${Book.rows.toLocaleString("en")} units, by ${column.head}, ${order}`;
  for (const head of document.querySelectorAll("th button[data-sort]")) {
    const on = head.dataset.sort === sort;
    head.closest("th").setAttribute("aria-sort", "none");
    head.dataset.way = on ? (down ? "▼" : "▲") : "";
  }
  const here = document.querySelector(`th button[data-sort="${CSS.escape(sort)}"]`);
  if (here) here.closest("th").setAttribute("aria-sort", down ? "descending" : "ascending");
  byId("sort").value = sort;
  byId("way").textContent = down ? "▼ high to low" : "▲ low to high";
}

// ---- filters
function buildFilters() {
  const asked = App.asked, later = (what) => change(what);
  const find = make("input", { type: "search", id: "find", value: asked.find, autocomplete: "off", spellcheck: "false", placeholder: "return, yield, neurons 2 …", input: (event) => later({ find: event.target.value }) });
  const within = make("select", { id: "within", change: (event) => later({ within: event.target.value }) }, WITHIN.map((name) => make("option", { value: name }, name)));
  within.value = asked.within;
  const beats = make("input", { type: "checkbox", id: "beats", change: (event) => later({ beats: event.target.checked }) });
  beats.checked = asked.beats;
  byId("filters").append(
    make("div", { class: "find" }, make("label", { for: "find" }, "Search"), find, make("label", { for: "within", class: "in" }, "in"), within),
    make("p", { class: "note" }, "Every word must be there. A token is met whole, or by its beginning: ret*"),
    make("div", { class: "picks" }, levelSelect("site", "all parts"), levelSelect("family", "all kinds"),
      Book.columns.has("r") ? make("label", { class: "tick" }, beats, " only what beats its controls") : null),
    make("div", { id: "ranges", class: "ranges" }),
    make("button", { type: "button", id: "reset", click: reset }, "Clear all filters"));
  byId("filters").addEventListener("submit", (event) => event.preventDefault());
}

function levelSelect(name, all) {
  const column = Book.columns.get(name);
  if (!column) return null;
  const select = make("select", { id: name, change: (event) => change({ [name]: event.target.value }) }, make("option", { value: "" }, all), column.levels.map((level) => make("option", { value: level }, level || "none")));
  select.value = App.asked[name];
  return make("label", null, `${column.head} `, select);
}

function reset() {
  const { sort, down, x, y } = App.asked;
  App.asked = { ...fresh(), sort, down, x, y };
  for (const id of ["find", "site", "family"]) if (byId(id)) byId(id).value = "";
  if (byId("beats")) byId("beats").checked = false;
  byId("within").value = App.asked.within;
  apply();
}

// Least and most of each filtered column: the usual ones, and those that a box in the scatter has set.
function buildRanges() {
  const names = [...new Set([...FILTERS, ...App.asked.ranges.keys()])].filter((name) => Book.columns.has(name) && Book.columns.get(name).kind === "number");
  const place = byId("ranges");
  if (place.dataset.names !== names.join("\n")) {
    place.replaceChildren(...names.map(rangeFields));
    place.dataset.names = names.join("\n");
  }
  for (const input of place.querySelectorAll("input")) {
    const value = (App.asked.ranges.get(input.dataset.name) || [-Infinity, Infinity])[Number(input.dataset.end)];
    if (document.activeElement !== input) input.value = Number.isFinite(value) ? String(value) : "";
  }
}

function rangeFields(name) {
  const head = Book.columns.get(name).head;
  const field = (end, said) => make("input", { type: "number", step: "any", "data-name": name, "data-end": end, "aria-label": `${said} ${head}`, placeholder: said, input: setRange });
  return make("div", { class: "range" }, make("span", null, head), field(0, "least"), field(1, "most"));
}

function setRange(event) {
  const { name, end } = event.target.dataset, range = [...(App.asked.ranges.get(name) || [-Infinity, Infinity])];
  range[Number(end)] = bound(event.target.value, Number(end) ? Infinity : -Infinity);
  if (range.some(Number.isFinite)) App.asked.ranges.set(name, range);
  else App.asked.ranges.delete(name);
  apply();
}

function chooseBox(box) {
  for (const which of ["x", "y"]) App.asked.ranges.set(App.asked[which], box[which]);
  apply();
}

// ---- the table
function buildHead() {
  const heads = App.columns.map((names) => make("th", { scope: "col", role: "columnheader", class: look(names) }, (names[0] === "unit" ? ["site", "unit"] : names).filter((name) => Book.columns.has(name)).map(headButton)));
  byId("rows").append(make("thead", { role: "rowgroup" }, make("tr", { role: "row" }, heads)), make("tbody", { role: "rowgroup", id: "body" }));
  const sort = make("select", { id: "sort", change: (event) => change({ sort: event.target.value }) }, sortable().map((name) => make("option", { value: name }, Book.columns.get(name).head)));
  byId("sorter").append(make("label", { for: "sort" }, "Sort by "), sort, make("button", { type: "button", id: "way", click: () => change({ down: !App.asked.down }) }));
}

function sortable() { return [...new Set(["site", ...App.columns.flat(), ...furtherColumns()])].filter((name) => Book.columns.has(name)); }

function headButton(name) {
  const { head, about } = Book.columns.get(name), explain = () => { byId("help").textContent = about ? `${head}: ${about}` : ""; };
  return make("button", { type: "button", "data-sort": name, title: about || null, "aria-describedby": "help", click: () => sortBy(name), focus: explain, mouseenter: explain }, head);
}

// Numbers begin with the highest (q with the least), texts with the first; again turns it round.
function sortBy(name) {
  const downwards = Book.columns.get(name).kind === "number" && !["q", "beats", "unit"].includes(name);
  change(App.asked.sort === name ? { down: !App.asked.down } : { sort: name, down: downwards });
}

function buildColumns() {
  for (const name of sortable()) {
    const { head, about } = Book.columns.get(name);
    byId("columns").append(make("dt", null, head), make("dd", null, about || "A column of its own; nothing more is said of it."));
  }
}

const look = (names) => names[0] === "text" ? "text" : names[0] === "unit" ? "unit" : names[0] === "beats" ? "beats" : Book.columns.get(names[0]).kind === "number" ? "num" : "other";

function link(row) { const said = toHash(App.asked); return `unit.html#${row}${said ? `&${said}` : ""}`; }

// Rows in view and a few around them; nothing is done where they are there already.
function fill() {
  const scroller = byId("scroller"), body = byId("body"), high = rowHeight(), total = App.rows.length;
  const first = Math.max(0, Math.floor(scroller.scrollTop / high) - SPARE);
  const last = Math.min(total, Math.ceil((scroller.scrollTop + scroller.clientHeight) / high) + SPARE);
  if (first === App.first && last === App.last) return;
  const focused = body.contains(document.activeElement);
  const gap = (rows) => rows > 0 ? make("tr", { class: "gap", "aria-hidden": "true", style: { height: `${rows * high}px` } }) : null;
  const rows = [];
  for (let place = first; place < last; place++) rows.push(tableRow(place));
  if (!total) rows.push(make("tr", { class: "none" }, make("td", { colspan: App.columns.length }, "No unit is like that. Clear a filter.")));
  body.replaceChildren(...[gap(first), ...rows, gap(total - last)].filter(Boolean));
  byId("rows").setAttribute("aria-rowcount", total + 1);
  Object.assign(App, { first, last });
  if (focused) (body.querySelector(`tr[data-place="${App.active}"] a`) || scroller).focus({ preventScroll: true });
}

function rowHeight() { return parseFloat(getComputedStyle(byId("scroller")).getPropertyValue("--row")); }

// On a phone a row is a card: as high as its numbers need, four to a line.
function setRowHeight() {
  const style = byId("scroller").style, numbers = App.columns.filter((names) => !["unit", "text", "beats"].includes(names[0])).length;
  if (matchMedia("(max-width:46rem)").matches) style.setProperty("--row", `${100 + 50 * Math.ceil(numbers / 4)}px`);
  else style.removeProperty("--row");
}

function tableRow(place) {
  const row = App.rows[place], mark = Book.columns.get("beats").values[row];
  return make("tr", { role: "row", "data-place": place, "aria-rowindex": place + 2, class: mark && mark < 8 ? "weak" : null }, App.columns.map((names) => tableCell(names, row, mark)));
}

function tableCell(names, row, mark) {
  const [first, second] = names, column = Book.columns.get(first), value = column.values[row], label = column.head;
  if (first === "unit") {
    const site = Book.columns.get("site");
    return make("th", { scope: "row", role: "rowheader", class: "unit" }, make("a", { href: link(row) }, `${site.levels[site.values[row]]} · ${value}`));
  }
  if (first === "text") return make("td", { role: "cell", class: "text" }, make("span", { class: "says" }, value || "No explanation."), second ? make("span", { class: "facts" }, said(second, row)) : null);
  if (first === "beats") {
    const told = verdict(mark);
    return make("td", { role: "cell", class: "beats", "data-label": label }, make("span", { class: `chip ${told.look}`, title: told.long }, told.short));
  }
  const below = first === "r" ? interval(row) : second ? said(second, row) : null;
  const over = second ? `${label}, ${Book.columns.get(second).head}` : label;
  return make("td", { role: "cell", class: look(names), "data-label": over }, said(first, row), below === null ? null : make("span", { class: "facts" }, below));
}

function said(name, row) {
  const column = Book.columns.get(name), value = column.values[row];
  return column.kind === "level" ? column.levels[value] : column.kind === "text" ? value : shown(name, value);
}

function interval(row) {
  const [low, high] = ["r low", "r high"].map((name) => Book.columns.has(name) ? Book.columns.get(name).values[row] : NaN);
  return Number.isNaN(low) || Number.isNaN(high) ? null : `[${figure(low)}, ${figure(high)}]`;
}

// ---- scrolling and the keyboard
function listen() {
  const scroller = byId("scroller");
  scroller.addEventListener("scroll", fill, { passive: true });
  scroller.addEventListener("keydown", walk);
  scroller.addEventListener("focusin", (event) => { const row = event.target.closest("tr[data-place]"); if (row) App.active = Number(row.dataset.place); });
  window.addEventListener("resize", () => { setRowHeight(); App.first = -1; fill(); });
}

function walk(event) {
  const page = Math.max(1, Math.floor(byId("scroller").clientHeight / rowHeight()) - 1), inside = event.target.closest("tr[data-place]");
  const step = { ArrowDown: inside ? 1 : 0, ArrowUp: -1, PageDown: page, PageUp: -page, Home: -Infinity, End: Infinity }[event.key];
  if (step === undefined || event.ctrlKey || event.altKey || event.metaKey || event.target.closest("thead")) return;
  event.preventDefault();
  focusPlace(App.active + step);
}

function focusPlace(place) {
  if (!App.rows.length) return;
  App.active = Math.min(Math.max(place, 0), App.rows.length - 1);
  const scroller = byId("scroller"), high = rowHeight(), head = byId("rows").tHead.offsetHeight, top = App.active * high;
  if (top < scroller.scrollTop) scroller.scrollTop = top;
  else if (top + high + head > scroller.scrollTop + scroller.clientHeight) scroller.scrollTop = top + high + head - scroller.clientHeight;
  fill();
  const row = byId("body").querySelector(`tr[data-place="${App.active}"] a`);
  if (row) row.focus({ preventScroll: true });
}

// Coming back from a unit: its row is in view, and has the focus.
function goTo(row) {
  const place = App.rows.indexOf(row);
  if (place >= 0) focusPlace(place);
}

start().catch(failed);
"""
