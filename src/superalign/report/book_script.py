"""The script that both pages of the book share: loading, numbers, the filter that a link carries, and what it chooses."""

BOOK_JS = r""""use strict";
// Shared by both pages. Data come as scripts that call bookMeta, bookIndex or book; texts in them are of strangers and
// only ever become text nodes and attributes, never markup.

const Book = { meta: null, parts: [], units: new Map(), columns: new Map(), rows: 0 };

function bookMeta(meta) { Book.meta = meta; }
function bookIndex(number, parts) { Book.parts[number] = parts; }
function book(number, shard) { Book.units.set(number, shard); }

const byId = (id) => document.getElementById(id);

// An element with attributes and children; what is no element becomes text. A function is a listener, null is left out.
function make(name, attributes, ...children) {
  const svg = ["svg", "rect", "line", "text", "title", "path"].includes(name);
  const element = svg ? document.createElementNS("http://www.w3.org/2000/svg", name) : document.createElement(name);
  for (const [key, value] of Object.entries(attributes || {})) {
    if (typeof value === "function") element.addEventListener(key, value);
    else if (key === "style") for (const [property, to] of Object.entries(value)) element.style.setProperty(property, to);
    else if (value !== null && value !== false) element.setAttribute(key, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null));
  return element;
}

function load(path) {
  return new Promise((done, failed) => {
    const script = document.createElement("script");
    script.src = path;
    script.addEventListener("load", () => { script.remove(); done(); });
    script.addEventListener("error", () => failed(new Error(`${path} is missing or can't be read: write the book again`)));
    document.head.append(script);
  });
}

const padded = (number) => String(number).padStart(5, "0");

async function loadMeta() { if (!Book.meta) await load("data/index-meta.js"); }

// All shards of the index at once, then each column as one array.
async function loadIndex() {
  await loadMeta();
  if (Book.columns.size) return;
  const shards = Math.ceil(Book.meta.rows / Book.meta.indexRows);
  await Promise.all(Array.from({ length: shards }, (_, i) => load(`data/index-${padded(i)}.js`)));
  const rows = Book.meta.rows;
  Book.meta.columns.forEach((spec, place) => Book.columns.set(spec.name, { ...spec, values: joined(spec, place, rows) }));
  Book.parts = [];
  Book.rows = rows;
  addLayer();
  addWords();
}

function joined(spec, place, rows) {
  const values = spec.kind === "number" ? new Float64Array(rows) : spec.kind === "level" ? new Uint32Array(rows) : new Array(rows);
  let at = 0;
  for (const part of Book.parts) for (const value of part[place]) values[at++] = value === null ? NaN : value;
  return values;
}

// The block is what a site's name ends in: "neurons 2". Scatter and filters know it, the table needs no column for it.
function addLayer() {
  const site = Book.columns.get("site");
  const layers = site.levels.map((name) => { const found = /(\d+)$/.exec(name); return found ? Number(found[1]) : NaN; });
  if (Book.columns.has("layer") || layers.every(Number.isNaN)) return;
  const values = Float64Array.from(site.values, (level) => layers[level]);
  Book.columns.set("layer", { name: "layer", head: "block", about: "", kind: "number", values });
}

// What a search looks through, in small letters, made once.
function addWords() {
  const text = Book.columns.get("text"), tokens = Book.columns.get("tokens");
  const [site, unit] = [Book.columns.get("site"), Book.columns.get("unit")];
  Book.said = new Array(Book.rows);
  Book.tokens = new Array(Book.rows);
  Book.names = new Array(Book.rows);
  for (let row = 0; row < Book.rows; row++) {
    Book.said[row] = text ? text.values[row].toLowerCase() : "";
    Book.tokens[row] = `\n${tokens.values[row].toLowerCase()}\n`;
    Book.names[row] = `${site.levels[site.values[row]].toLowerCase()} · ${unit.values[row]}`;
  }
}

// ---- what is asked for: kept in the address, so that a link, Back and the unit's page know it
const WITHIN = ["anything", "explanation", "token", "site"];

function fresh() {
  return { find: "", within: "anything", site: "", family: "", beats: false, ranges: new Map(), sort: "", down: true, x: "", y: "" };
}

function fromHash(text) {
  const asked = fresh(), given = new URLSearchParams(text);
  for (const key of ["find", "site", "family", "x", "y"]) asked[key] = given.get(key) || "";
  if (WITHIN.includes(given.get("within"))) asked.within = given.get("within");
  asked.beats = given.has("beats");
  const sort = given.get("sort") || "";
  asked.down = sort.startsWith("-");
  asked.sort = asked.down ? sort.slice(1) : sort;
  for (const range of given.getAll("range")) {
    const found = /^(.+):([^:]*):([^:]*)$/.exec(range);
    if (found) asked.ranges.set(found[1], [bound(found[2], -Infinity), bound(found[3], Infinity)]);
  }
  return asked;
}

function bound(text, otherwise) { return text.trim() === "" || Number.isNaN(Number(text)) ? otherwise : Number(text); }

function toHash(asked) {
  const said = new URLSearchParams();
  for (const key of ["find", "site", "family", "x", "y"]) if (asked[key]) said.set(key, asked[key]);
  if (asked.find && asked.within !== "anything") said.set("within", asked.within);
  if (asked.beats) said.set("beats", "1");
  if (asked.sort) said.set("sort", (asked.down ? "-" : "") + asked.sort);
  const end = (number) => Number.isFinite(number) ? String(number) : "";
  for (const [name, [low, high]] of asked.ranges) said.append("range", `${name}:${end(low)}:${end(high)}`);
  return said.toString();
}

// ---- rows that are asked for, in the order that is asked for
function chosen(asked) {
  const rows = new Int32Array(Book.rows), tests = testsOf(asked);
  let kept = 0;
  for (let row = 0; row < Book.rows; row++) if (tests.every((test) => test(row))) rows[kept++] = row;
  return sorted(rows.subarray(0, kept), asked);
}

function testsOf(asked) {
  const tests = [], words = asked.find.toLowerCase().split(/\s+/).filter(Boolean);
  for (const name of ["site", "family"]) {
    const column = Book.columns.get(name);
    if (!asked[name] || !column) continue;
    const level = column.levels.indexOf(asked[name]);
    tests.push((row) => column.values[row] === level);
  }
  if (asked.beats) { const marks = Book.columns.get("beats").values; tests.push((row) => marks[row] === 0); }
  for (const [name, [low, high]] of asked.ranges) {
    const column = Book.columns.get(name);
    if (column && column.kind === "number") tests.push((row) => column.values[row] >= low && column.values[row] <= high);
  }
  for (const word of words) tests.push(wordTest(word, asked.within));
  return tests;
}

// A token is met whole, or by its beginning where the word ends in *.
function wordTest(word, within) {
  const token = word.length > 1 && word.endsWith("*") ? `\n${word.slice(0, -1)}` : `\n${word}\n`;
  if (within === "explanation") return (row) => Book.said[row].includes(word);
  if (within === "token") return (row) => Book.tokens[row].includes(token);
  if (within === "site") return (row) => Book.names[row].includes(word);
  return (row) => Book.said[row].includes(word) || Book.names[row].includes(word) || Book.tokens[row].includes(token);
}

function sorted(rows, asked) {
  const column = Book.columns.get(asked.sort), way = asked.down ? -1 : 1;
  if (!column) return rows;
  const keys = column.kind === "text" ? column.values.map((text) => text.toLowerCase()) : column.values;
  const missing = (key) => key === "" || key !== key;
  // What was not measured comes last either way; equals keep the order of the network.
  return rows.sort((a, b) => {
    const p = keys[a], q = keys[b];
    if (missing(p) || missing(q)) return missing(p) - missing(q) || a - b;
    return p < q ? -way : p > q ? way : a - b;
  });
}

// ---- numbers for people: as on the project's other pages, three decimals and a real minus sign
function figure(value, signed) {
  if (value === null || value === undefined || Number.isNaN(value)) return "–";
  const size = Math.abs(value);
  let text = size >= 1e6 || (size > 0 && size < 0.0005) ? size.toExponential(1) : size >= 1000 ? Math.round(size).toLocaleString("en") : size.toFixed(3);
  if (Number.isInteger(value) && size < 1000 && size > 1) text = String(size);
  return (value < 0 ? "−" : signed && value > 0 ? "+" : "") + text;
}

function shown(name, value) {
  if (value === null || Number.isNaN(value)) return "–";
  if (name === "bits") return Math.round(value).toLocaleString("en");
  if (name === "q") return value < 1e-4 && value >= 0 ? "< 0.0001" : value.toPrecision(2);
  return figure(value, name === "gain" || name === "effect");
}

const CONTROLS = ["unigram", "shuffled", "untrained"];

// What a row's mark says: in short, in full, and how it looks.
function verdict(mark) {
  if (mark === 8) return { short: "– no score", long: "Not scored.", look: "unsure" };
  if (mark === 16) return { short: "? no control", long: "No control was measured: the score can't be held against anything.", look: "unsure" };
  if (mark === 0) return { short: "✓ beats all", long: "The score lies above every control that was measured.", look: "pass" };
  const lost = CONTROLS.filter((_, bit) => mark & (1 << bit));
  const long = `The score does not lie above ${lost.length > 1 ? "these controls" : "this control"}: ${lost.join(", ")}. No finding.`;
  return { short: `✗ ${lost.length > 1 ? `${lost.length} of them` : lost[0]}`, long, look: "fail" };
}

function failed(error) {
  const place = byId("failed");
  place.hidden = false;
  place.textContent = `This page can't be shown: ${error.message}.`;
}
"""
