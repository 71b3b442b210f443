// --- the map: densities of groups of speakers on a grid, see benchmark/space.py; no point is a person

function drawSpace() {
  const box = byId("space-body");
  if (!box) return;
  const embedders = Object.keys(data.space);
  let who = embedders.includes(data.ours) ? data.ours : embedders[0];
  let attribute = "sex";
  const draw = () => {
    const found = data.space[who];
    const attributes = found.attributes;
    if (!attributes[attribute]) attribute = Object.keys(attributes)[0];
    const { categories, neighbours, chance } = attributes[attribute];
    byId("space-choice").replaceChildren(
      choice("Embedder", embedders.map((name) => [name, name]), who, (name) => { who = name; draw(); }),
      choice("Coloured by", Object.keys(attributes).map((name) => [name, name]), attribute, (name) => { attribute = name; draw(); }));
    const label = (name) => (attribute === "language" ? languageName(name) : name);
    const groups = categories.map((group, i) => ({ ...group, label: label(group.name), color: `oklch(0.64 0.14 ${Math.round((i * 360) / categories.length + 190) % 360})`, cells: [...group.cells].map(Number) }));
    const total = found.n_speakers + found.n_left_out;
    box.replaceChildren(
      h("p", null, `${count(found.n_speakers, "speaker")}${found.n_left_out ? ` of ${total}` : ""}; ${found.method}.`,
        neighbours === null || neighbours === undefined ? "" : ` Of a speaker's nearest other people, ${shown(100 * neighbours, 0)} % share the ${attribute}; ${shown(100 * chance, 0)} % would if the space knew nothing of it.`),
      h("div", { class: "maps" },
        h("figure", { class: "large" }, overlaid(groups, found.grid, `${who}: which ${attribute} is most frequent where`),
          h("figcaption", null, said("Each square in the colour of the group most frequent there; the fuller, the more speakers."))),
        groups.map((group) => h("figure", null, single(group, groups, found.grid, `${who}: where ${attribute} ${group.label} lies`),
          h("figcaption", null, swatch(group.color), group.label, " ", h("small", null, count(group.n, "speaker")))))),
      h("details", null, h("summary", null, "The map as a table"), spaceTable(groups, found.grid, attribute)));
  };
  draw();
}

function swatch(color) {
  const box = h("i", { class: "swatch", "aria-hidden": "true" });
  box.style.background = color;
  return box;
}

// Squares of one colour in steps of opacity: one path a step.
function squares(levels, grid, colorOf) {
  const paths = new Map();
  levels.forEach((level, i) => {
    if (!level) return;
    const key = `${colorOf(i)} ${Math.ceil(level * 9)}`;
    paths.set(key, `${paths.get(key) ?? ""}M${i % grid} ${Math.floor(i / grid)}h1v1h-1z`);
  });
  return [...paths].map(([key, d]) => {
    const at = key.lastIndexOf(" ");
    return s("path", { d, fill: key.slice(0, at), "fill-opacity": (0.12 + (0.88 * Number(key.slice(at + 1))) / 9).toFixed(2) });
  });
}
const frame = (grid, description, ...inside) => s("svg", { viewBox: `-1 -1 ${grid + 2} ${grid + 2}`, role: "img", "aria-label": `${description}; in numbers in the table below`, "shape-rendering": "crispEdges" }, inside);

// How many speakers of a group a square stands for, up to a factor that all squares share.
function weights(groups) {
  return groups.map((group) => {
    const sum = group.cells.reduce((a, b) => a + b, 0) || 1;
    return group.cells.map((cell) => (cell * group.n) / sum);
  });
}
function overlaid(groups, grid, description) {
  const parts = weights(groups);
  const sums = groups[0].cells.map((_, i) => parts.reduce((sum, part) => sum + part[i], 0));
  const most = Math.max(...sums);
  const first = sums.map((_, i) => parts.reduce((best, part, g) => (part[i] > parts[best][i] ? g : best), 0));
  return frame(grid, description, squares(sums.map((sum) => Math.sqrt(sum / most)), grid, (i) => groups[first[i]].color));
}
function single(group, groups, grid, description) {
  const anyone = group.cells.map((_, i) => (groups.some((one) => one.cells[i]) ? 0.1 : 0));
  return frame(grid, description, squares(anyone, grid, () => "var(--others)"), squares(group.cells.map((cell) => cell / 9), grid, () => group.color));
}

function spaceTable(groups, grid, attribute) {
  const rows = groups.map((group) => {
    const sum = group.cells.reduce((a, b) => a + b, 0);
    const centre = (of) => (sum ? (100 * group.cells.reduce((a, cell, i) => a + cell * (of(i) + 0.5), 0)) / sum / grid : null);
    return { cells: [words(group.label), figure(group.n, 0), figure(centre((i) => i % grid), 0), figure(centre((i) => Math.floor(i / grid)), 0),
      figure((100 * group.cells.filter(Boolean).length) / group.cells.length, 0)] };
  });
  return table({ caption: said("Where each group lies: the centre of its density in percent of the map, from the left and from the top, and the share of the map that it covers."),
    columns: [{ name: capital(attribute), words: true }, { name: "Speakers" }, { name: "From left, %" }, { name: "From top, %" }, { name: "Covers, %" }], bodies: [rows] });
}
