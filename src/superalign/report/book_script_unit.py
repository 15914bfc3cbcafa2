"""The script of a unit's page: loads the shard that its address names, and shows what was measured of the unit."""

UNIT_JS = r""""use strict";
// One unit: unit.html#ROW, and behind & what the index was asked for, so that previous and next keep to it.

const SCORES = [["r", "r, random held-out"], ["unigram", "control: unigram"], ["shuffled", "control: shuffled"], ["untrained", "control: untrained"], ["mark", "beats controls?"],
  ["gain", "gain over unigram"], ["top_and_random", "r, top and random"], ["detection", "detection"], ["fuzzing", "fuzzing"]];
const Page = { row: 0, asked: "", words: [] };

async function show() {
  await loadMeta();
  const [row, ...rest] = location.hash.slice(1).split("&");
  Page.row = Number(row || 0);
  Page.asked = rest.join("&");
  if (!Number.isInteger(Page.row) || Page.row < 0 || Page.row >= Book.meta.rows) throw new Error(`there is no unit ${row}; rows go from 0 to ${Book.meta.rows - 1}`);
  const number = Math.floor(Page.row / Book.meta.unitRows);
  if (!Book.units.has(number)) { Book.units.clear(); await load(`data/units-${padded(number)}.js`); }
  const shard = Book.units.get(number);
  Page.words = shard.words;
  draw(shard.units[Page.row - number * Book.meta.unitRows]);
  if (Page.asked === "selftest") { await load("assets/test.js"); return; }
  await walkable();
}

// Values of the unit's row of the index, by column.
function indexOf(unit) {
  return new Map(unit.index.map((value, place) => {
    const spec = Book.meta.columns[place];
    return [spec.name, { ...spec, value: spec.kind === "level" ? spec.levels[value] : value }];
  }));
}

function draw(unit) {
  const index = indexOf(unit), name = `${index.get("site").value} · ${index.get("unit").value}`;
  document.title = `${name} of ${Book.meta.title}`;
  byId("failed").hidden = true;
  byId("unit").replaceChildren(header(name, index),
    section("What is said of it", explanations(unit, index)),
    section("When it fires", windows(unit)),
    section("Simulated against real", simulated(unit)),
    make("div", { class: "pair" }, section("How its values lie", values(unit)), section("Tokens, by mean activation", tokens(unit))),
    make("div", { class: "pair" }, section("What it does to the output", causal(unit)), section("Concepts that were searched for", concepts(unit))),
    section("Units that move with it", neighbours(unit)));
  window.scrollTo(0, 0);
}

function section(title, children) { return make("section", null, make("h2", null, title), children); }
const unmeasured = (what) => make("p", { class: "nothing" }, make("b", null, "Not measured. "), what);

// ---- top: where one is, the way on, and the row of the index
function header(name, index) {
  const told = index.has("r") ? verdict(index.get("beats").value) : null, text = index.get("text");
  const hidden = ["site", "unit", "text", "beats", "tokens", "r low", "r high"], end = (name) => index.has(name) ? index.get(name).value : null;
  const interval = end("r low") === null || end("r high") === null ? "" : ` [${figure(end("r low"))}, ${figure(end("r high"))}]`;
  const facts = [...index.values()].filter((column) => !hidden.includes(column.name)).map((column) => make("div", null,
    make("dt", { title: column.about || null }, column.head), make("dd", null, column.kind === "number" ? shown(column.name, column.value) : column.value || "–", column.name === "r" ? make("span", { class: "ci" }, interval) : null)));
  return make("header", { class: "top" },
    make("nav", { "aria-label": "Units" }, make("a", { id: "previous", hidden: true, rel: "prev" }, "← previous"), make("a", { id: "next", hidden: true, rel: "next" }, "next →"),
      make("a", { id: "back", href: `index.html#${[Page.asked, `row=${Page.row}`].filter(Boolean).join("&")}` }, "back to the index"), make("span", { id: "place", class: "soft" }), make("span", { class: "keys soft" }, " · keys: p, n, i")),
    make("h1", { tabindex: -1 }, name),
    make("p", { class: "lead" }, text && text.value ? text.value : "No explanation."),
    told ? make("p", null, chip(index.get("beats").value), ` ${told.long}`) : null,
    make("dl", { class: "kv rowfacts" }, facts));
}

// Previous and next among what the index shows, in its order; rows of the network where nothing was asked.
async function walkable() {
  let rows = null;
  const asked = Page.asked, at = Page.row;
  if (asked) { await loadIndex(); rows = chosen(fromHash(asked)); }
  if (at !== Page.row || asked !== Page.asked) return;
  const place = rows ? rows.indexOf(at) : at, total = rows ? rows.length : Book.meta.rows;
  const to = (step) => place < 0 || place + step < 0 || place + step >= total ? null : rows ? rows[place + step] : at + step;
  for (const [id, step] of [["previous", -1], ["next", 1]]) {
    const row = to(step), anchor = byId(id);
    anchor.hidden = row === null;
    if (row !== null) anchor.href = `#${row}${asked ? `&${asked}` : ""}`;
  }
  byId("place").textContent = place < 0 ? "not among what the index shows" : `${(place + 1).toLocaleString("en")} of ${total.toLocaleString("en")}`;
}

// ---- explanations
function explanations(unit, index) {
  if (!unit.said.length) return unmeasured("No explanation was made for this unit.");
  const head = ["Explanation", ...SCORES.map(([, said]) => said), "bits"], unigram = index.has("unigram") ? index.get("unigram").value : null;
  const shownScore = (each, name) => name === "mark" ? chip(each.mark) : score(name === "unigram" ? unigram === null ? null : [unigram, null, null, null] : each[name], name === "gain");
  const rows = unit.said.map((each) => make("tr", { role: "row" },
    make("th", { scope: "row", role: "rowheader" }, make("span", { class: "says" }, each.text || "No words."), make("span", { class: "facts" }, each.note ? `${each.family} · ${each.note}` : each.family)),
    SCORES.map(([name, said]) => cell(said, shownScore(each, name))),
    cell("bits", each.bits === null ? absent() : shown("bits", each.bits))));
  return [make("p", { class: "soft" }, "Each score with its interval over documents. It means something only as far as it lies above the controls in the same row."), table("Explanations, scores, controls", head, rows)];
}

function chip(mark) { const told = verdict(mark); return make("span", { class: `chip ${told.look}`, title: told.long }, told.short); }
const absent = () => make("span", { class: "refused" }, "not measured");
const cell = (label, child) => make("td", { role: "cell", class: "num", "data-label": label }, child);

function score(given, signed) {
  if (!given) return absent();
  const [value, low, high, event] = given;
  return [make("b", null, figure(value, signed)), low === null || high === null ? null : make("span", { class: "ci" }, ` [${figure(low, signed)}, ${figure(high, signed)}]`), event === null ? null : make("span", { class: "event", title: "event of the ledger" }, ` #${event}`)];
}

function table(caption, head, rows) {
  return make("div", { class: "scroll cards scores", role: "group", tabindex: 0 }, make("table", { role: "table" }, make("caption", null, caption),
    make("thead", null, make("tr", null, head.map((name) => make("th", { scope: "col" }, name)))), make("tbody", { role: "rowgroup" }, rows)));
}

// ---- windows: a token's colour says sign and size; each window is one stop of the Tab key, arrows walk its tokens
const NAMES = { top: "Highest", low: "Lowest" };

function windows(unit) {
  const found = unit.windows.filter(([, list]) => list.length), parts = [legend(unit.scale)];
  if (!found.length) return unmeasured("No windows were kept for this unit.");
  for (const [name, list] of found) {
    const drawn = list.map((window) => windowOf(window, unit.scale));
    if (NAMES[name]) parts.push(make("h3", null, NAMES[name]), drawn);
    else parts.push(make("details", null, make("summary", null, `${name}: ${list.length} window${list.length === 1 ? "" : "s"}`), drawn));
  }
  for (const name of ["top", "low"]) if (!found.some(([each]) => each === name)) parts.push(make("h3", null, NAMES[name]), unmeasured("No such windows were kept."));
  return parts;
}

function legend(scale) {
  const patch = (share) => make("span", { class: `tok ${share < 0 ? "neg" : "pos"}`, style: { "--a": Math.abs(share) } }, figure(share * scale));
  return make("p", { class: "legend soft" }, "negative, dashed below ", patch(-1), patch(-0.5), " 0 ", patch(0.5), patch(1), " positive · the boxed token is what the window is about · point at a token, or walk with the arrow keys, for its value");
}

// A colour is as strong as the value is large; a value that is no number is struck through.
function token(word, value, extra) {
  const share = value === null ? 0 : Math.min(Math.abs(value) / 1000, 1), sign = value === null ? "void" : value < 0 ? "neg" : "pos";
  return make("span", { class: `tok ${share < 0.005 && value !== null ? "" : sign}${extra || ""}`, style: { "--a": share.toFixed(3) } }, Page.words[word]);
}

function windowOf([words, values, at, from], scale) {
  const told = (place) => `${Page.words[words[place]]}  ${values[place] === null ? "not a number" : figure(values[place] / 1000 * scale)}`;
  const tokens = words.map((word, place) => token(word, values[place], place === at ? " peak" : ""));
  return walkedWindow(tokens, at, told, from || "document unknown");
}

function walkedWindow(tokens, at, told, from) {
  const value = make("output", { class: "value" }, told(at)), box = make("div", { class: "tokens", tabindex: 0, role: "group", "aria-label": `Window of ${tokens.length} tokens from ${from}; arrow keys walk` }, tokens);
  let here = at;
  const go = (place, mark) => {
    tokens[here].classList.remove("here");
    here = Math.min(Math.max(place, 0), tokens.length - 1);
    if (mark) tokens[here].classList.add("here");
    value.textContent = told(here);
  };
  box.addEventListener("pointerover", (event) => { const place = tokens.findIndex((each) => each.contains(event.target)); if (place >= 0) go(place, true); });
  box.addEventListener("pointerleave", () => go(at, false));
  box.addEventListener("focus", () => go(here, true));
  box.addEventListener("blur", () => go(at, false));
  box.addEventListener("keydown", (event) => {
    const to = { ArrowRight: here + 1, ArrowLeft: here - 1, Home: 0, End: tokens.length - 1 }[event.key];
    if (to !== undefined) { event.preventDefault(); go(to, true); }
  });
  return make("figure", { class: "window" }, make("figcaption", null, make("span", { class: "from" }, from), value), box);
}

// Above what the unit does, below what the explanation predicts, token by token.
function simulated(unit) {
  if (!unit.simulated.length) return unmeasured("No held-out window was simulated for this unit.");
  const drawn = unit.simulated.map(([words, real, predicted], number) => {
    const told = (place) => { const value = (row) => row[place] === null ? "not a number" : figure(row[place] / 1000 * unit.both); return `${Page.words[words[place]]}  real ${value(real)}, simulated ${value(predicted)}`; };
    const tokens = words.map((word, place) => { const above = token(word, real[place]), below = token(word, predicted[place], " sim"); return make("span", { class: "tok two" }, above, below); });
    const peak = real.reduce((best, value, place) => Math.abs(value || 0) > Math.abs(real[best] || 0) ? place : best, 0);
    return walkedWindow(tokens, peak, told, `held-out window ${number + 1}`);
  });
  return [make("p", { class: "soft" }, `Upper row: what the unit does. Lower row: what its best explanation predicts. One scale for both; full colour is ±${figure(unit.both)} here.`), drawn];
}

function values(unit) {
  if (!unit.histogram[1].length) return unmeasured("No histogram was kept for this unit.");
  return make("figure", null, histogram(unit.histogram));
}

// ---- tokens, causes, concepts, neighbours
function tokens(unit) {
  if (!unit.tokens.length) return unmeasured("No table of tokens was kept for this unit.");
  const most = Math.max(...unit.tokens.map(([, mean]) => Math.abs(mean || 0))) || 1, half = Math.ceil(unit.tokens.length / 2);
  const line = ([word, mean]) => make("li", null, make("code", null, word), make("span", { class: `stick ${mean < 0 ? "neg" : "pos"}`, style: { "--a": Math.abs(mean || 0) / most } }), make("span", { class: "num" }, figure(mean)));
  return make("div", { class: "twolists" }, make("div", null, make("h3", null, "highest"), make("ol", null, unit.tokens.slice(0, half).map(line))), make("div", null, make("h3", null, "lowest"), make("ol", null, unit.tokens.slice(half).reverse().map(line))));
}

function causal(unit) {
  if (!unit.causal.length) return unmeasured("No causal effect was measured for this unit.");
  const rows = unit.causal.map(([name, value, low, high, note]) => make("tr", { role: "row" }, make("th", { scope: "row", role: "rowheader" }, name, note ? make("span", { class: "facts" }, note) : null), cell("Effect", value === null ? absent() : score([value, low, high, null], true))));
  return table("Effects, with intervals", ["Intervention", "Effect"], rows);
}

function concepts(unit) {
  if (!unit.concepts.length) return unmeasured("No concept was searched for in this unit.");
  const number = (label, name, value) => cell(label, value === null ? absent() : shown(name, value));
  const rows = unit.concepts.map(([name, d, auroc, q]) => make("tr", { role: "row" }, make("th", { scope: "row", role: "rowheader" }, name), number("d", "gain", d), number("AUROC", "", auroc), number("q over the network", "q", q)));
  return table("q is corrected over the whole network", ["Concept", "d", "AUROC", "q over the network"], rows);
}

function neighbours(unit) {
  if (!unit.neighbours.length) return unmeasured("No correlations with other units were kept.");
  const line = ([row, name, r]) => make("li", null, make("a", { href: `#${row}${Page.asked ? `&${Page.asked}` : ""}` }, name), make("span", { class: `stick ${r < 0 ? "neg" : "pos"}`, style: { "--a": Math.abs(r || 0) } }), make("span", { class: "num" }, figure(r, true)));
  return make("ol", { class: "near" }, unit.neighbours.map(line));
}

// ---- moving on without loading the page again
window.addEventListener("hashchange", () => show().then(() => document.querySelector("h1").focus({ preventScroll: true })).catch(failed));
window.addEventListener("keydown", (event) => {
  if (event.ctrlKey || event.altKey || event.metaKey || event.target.closest("input, select")) return;
  const anchor = byId({ p: "previous", n: "next", i: "back" }[event.key] || "");
  if (anchor && !anchor.hidden) anchor.click();
});
show().catch(failed);
"""
