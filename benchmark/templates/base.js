"use strict";

// --- the data, and how to look things up in it

const data = JSON.parse(document.getElementById("data").textContent);
const MODES = ["Zero-shot", "Linear probe"]; // in the order of data.modes
const [ZERO, PROBE] = [0, 1];
const place = Object.fromEntries(data.numbers.map((name, i) => [name, i]));
const ours = data.embedders.findIndex((embedder) => embedder.name === data.ours);
const taskAt = new Map(data.tasks.map((task, i) => [task.name, i]));

const runOf = (embedder, mode) => data.runs.findIndex((run) => run.embedder === embedder && run.mode === mode);
const scoreOf = (run, task) => (run < 0 ? null : data.runs[run].scores[task]);
const number = (score, name) => score?.v[place[name]] ?? null;
const isModel = (embedder) => data.embedders[embedder].kind === "model";
const mean = (values) => (values.length ? values.reduce((sum, value) => sum + value, 0) / values.length : null);
const shown = (value, digits = 3, sign = false) =>
  value === null || value === undefined ? "-" : (sign && value >= 0 ? "+" : "") + value.toFixed(digits).replace("-", "\u2212");
const bracket = (low, high, digits = 3) => (low === null || low === undefined ? "" : `[${shown(low, digits)}, ${shown(high, digits)}]`);
const count = (n, word) => `${n} ${word}${n === 1 ? "" : "s"}`;
const capital = (text) => text.charAt(0).toUpperCase() + text.slice(1);

const names = new Intl.DisplayNames(["en"], { type: "language", fallback: "code" });
function languageName(tag) {
  try {
    return tag ? names.of(tag) : "unknown";
  } catch {
    return tag;
  }
}

// --- elements: text goes in as text, never as markup

function build(element, attributes, children) {
  for (const [name, value] of Object.entries(attributes ?? {})) {
    if (value === null || value === undefined || value === false) continue;
    if (name === "onclick" || name === "onchange") element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined && child !== ""));
  return element;
}
const h = (tag, attributes, ...children) => build(document.createElement(tag), attributes, children);
const s = (tag, attributes, ...children) =>
  build(document.createElementNS("http://www.w3.org/2000/svg", tag), attributes, children);
const byId = (id) => document.getElementById(id);
const spoken = (text) => h("span", { class: "spoken" }, text);

function choice(label, options, value, act) {
  const select = h("select", null, options.map(([key, text]) => h("option", { value: key, selected: String(key) === String(value) }, text)));
  select.addEventListener("change", () => act(select.value));
  return h("label", null, label, " ", select);
}

// --- tables

// A cell: what to show, and what to sort by (null is sorted last); `title` and `heat` (0 to 1) may be added.
const cell = (content, sort = null, look = "") => ({ content, sort, look });
const words = (text) => cell(text, String(text));
const figure = (value, digits = 3, sign = false) => cell(shown(value, digits, sign), value);

// A table in a box of its own that scrolls sideways, so that the page does not. `bodies` are groups of rows that stay
// together when sorted; a column is {name, over?, words?, look?}; `order` is [column, direction].
function table({ caption, columns, bodies, order = null, look = "", fixed = false, grouped = false }) {
  const head = h("tr", null, columns.map((column) => {
    const label = [column.over && !grouped ? h("small", null, column.over) : null, column.over && grouped ? spoken(`${column.over}: `) : null, column.name];
    const inside = fixed ? label : h("button", { type: "button" }, label);
    return h("th", { scope: "col", class: [column.words ? "" : "num", column.look ?? ""].join(" ").trim() || null }, inside);
  }));
  const spans = [];
  for (const column of grouped ? columns : []) {
    if (spans.length && spans.at(-1).over === column.over) spans.at(-1).wide += 1;
    else spans.push({ over: column.over, wide: 1, look: column.look });
  }
  const over = spans.length ? h("tr", { class: "over" }, spans.map((span) =>
    span.over ? h("th", { colspan: span.wide, scope: "colgroup", class: span.look || null }, span.over) : h("td", { colspan: span.wide }))) : null;
  const parts = bodies.filter((rows) => rows.length).map((rows) => h("tbody", null, rows.map((row) =>
    h("tr", { class: row.look || null }, row.cells.map((one, i) =>
      h(i ? "td" : "th", { scope: i ? null : "row", title: one.title, style: one.heat === undefined ? null : `--heat:${one.heat}`, class: [columns[i].words ? "" : "num", columns[i].look ?? "", one.look].join(" ").trim() || null }, one.content))))));
  bodies = bodies.filter((rows) => rows.length);
  const node = h("table", { class: look || null }, h("caption", null, h("span", null, caption)), h("thead", null, over, head), parts);
  const sortBy = (column, direction) => {
    [...head.cells].forEach((heading, i) => {
      if (i === column) heading.setAttribute("aria-sort", direction > 0 ? "ascending" : "descending");
      else heading.removeAttribute("aria-sort");
    });
    bodies.forEach((rows, i) => {
      const indexed = rows.map((row, at) => [row.cells[column].sort, rowNodes[i][at]]);
      indexed.sort(([a], [b]) => {
        if (a === null || b === null) return (a === null) - (b === null);
        return direction * (typeof a === "number" && typeof b === "number" ? a - b : String(a).localeCompare(String(b)));
      });
      parts[i].append(...indexed.map(([, row]) => row));
    });
    node.dispatchEvent(new CustomEvent("sorted", { detail: [column, direction] }));
  };
  const rowNodes = parts.map((part) => [...part.rows]);
  if (!fixed) {
    [...head.cells].forEach((heading, column) => heading.firstChild.addEventListener("click", () => {
      const first = columns[column].words ? 1 : -1;
      const now = heading.getAttribute("aria-sort");
      sortBy(column, now === null ? first : now === "ascending" ? -1 : 1);
    }));
  }
  if (order) sortBy(...order);
  return h("div", { class: "scroll", role: "region", tabindex: "0", "aria-label": caption }, node);
}
const tableIn = (box) => box.querySelector("table");

const said = (caption) => (data.synthetic ? `${caption} ${data.banner}` : caption);
