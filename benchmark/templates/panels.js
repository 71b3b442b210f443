// --- transfer

function drawTransfers() {
  const box = byId("transfer-body");
  if (!box) return;
  let [which, who] = [0, null];
  const draw = () => {
    const found = data.transfers[which];
    const embedders = Object.keys(found.cells);
    if (!embedders.includes(who)) who = embedders.includes(data.ours) ? data.ours : embedders[0];
    const cells = new Map(found.cells[who].map((row) => [`${row[0]} ${row[1]}`, row]));
    const columns = [{ name: "Trained on \u2193, tested on \u2192", words: true }, ...found.corpora.map((name) => ({ name }))];
    const rows = found.corpora.map((train) => ({ cells: [words(train), ...found.corpora.map((test) => {
      const row = cells.get(`${train} ${test}`);
      if (!row || row[2] === null) return cell(h("small", null, row?.[10] || "not run"), null, "heat none");
      const inside = h("span", { class: "heat-value" }, shown(row[2], 2), h("small", null, bracket(row[3], row[4], 2)), h("small", null, `${row[7]} \u2192 ${row[8]} persons`));
      const one = cell(inside, row[2], train === test ? "heat same" : "heat");
      inside.style.setProperty("--heat", Math.max(0, Math.min(1, (row[2] - 0.4) / 0.6)).toFixed(2));
      return one;
    })] }));
    byId("transfer-choice").replaceChildren(
      choice("Label", data.transfers.map((one, i) => [i, one.name]), which, (i) => { which = Number(i); draw(); }),
      choice("Embedder", embedders.map((name) => [name, name]), who, (name) => { who = name; draw(); }));
    box.replaceChildren(table({ caption: said(`${who}, ${found.label}: macro-F1 of a linear probe with its 95 % interval, and persons trained on \u2192 tested on. Framed: the same corpus.`), columns, bodies: [rows], look: "heatmap", fixed: true }));
  };
  draw();
}

// --- where a number comes from

const dialog = byId("source");
let opener = null;
function show(title, ...content) {
  opener = document.activeElement;
  byId("source-title").textContent = title;
  byId("source-body").replaceChildren(...content.flat().filter(Boolean));
  dialog.showModal();
}
dialog.addEventListener("close", () => opener?.isConnected && opener.focus());
dialog.addEventListener("click", (event) => event.target === dialog && dialog.close());
byId("source-close").addEventListener("click", () => dialog.close());

const HASHES = { fingerprint: "Embedder", manifest: "Training manifest", split: "Split", data: "Labels and audio", task: "Task row", code: "Code", predictions: "Predictions file", key: "Key of all these" };

function showSource(e, mode, t) {
  const score = scoreOf(runOf(e, mode), t);
  const [embedder, task] = [data.embedders[e], data.tasks[t]];
  const command = `slap trace ${embedder.name}/${task.name}.${data.modes[mode]}`;
  show(`${embedder.name}, ${task.name}, ${MODES[mode].toLowerCase()}`,
    h("p", { class: "big" }, shown(number(score, "macro_f1")), " ", h("small", null, `macro-F1 ${bracket(number(score, "macro_f1_low"), number(score, "macro_f1_high"))}`)),
    data.synthetic ? h("p", { class: "banner" }, data.banner) : null,
    h("p", null, "This command follows it to predictions, checkpoint, manifest, shards and the hashes of the raw files, and checks each:"),
    copyable(command),
    h("dl", { class: "hashes" }, data.hashes.map((name, i) => { const text = data.texts[score.h[i]]; return h("div", null, h("dt", null, HASHES[name]), h("dd", null, text ? h("code", null, text) : "none")); })),
    h("p", null, h("a", { href: `#task/${task.name}`, onclick: () => { opener = null; dialog.close(); } }, `The page of ${task.name}`)));
}

function copyable(command) {
  const code = h("code", { tabindex: "0" }, command);
  const button = h("button", { type: "button", class: "plain", onclick: async () => {
    try {
      await navigator.clipboard.writeText(command);
      button.textContent = "Copied";
    } catch {
      getSelection().selectAllChildren(code); // no clipboard here: selected, to be copied by hand
      button.textContent = "Selected";
    }
  } }, "Copy");
  return h("p", { class: "command" }, code, button);
}

function showMean(e, mode, tasks) {
  const rows = tasks.map((t) => ({ cells: [cell(h("a", { href: `#task/${data.tasks[t].name}`, onclick: () => { opener = null; dialog.close(); } }, data.tasks[t].name), data.tasks[t].name), scoreCell(e, mode, t, scoreOf(runOf(e, mode), t))] }));
  show(`${data.embedders[e].name}, ${MODES[mode].toLowerCase()}: mean of ${count(tasks.length, "task")}`,
    h("p", null, "Each task counts the same. Press a number for its hashes and its command."),
    table({ caption: said("The scores that this mean is made of."), columns: [{ name: "Task", words: true }, { name: "Macro-F1 [95 %]" }], bodies: [rows], order: [1, -1] }));
}

// --- the way through the page

let lastTask = null;
let away = 0;
function route() {
  const name = decodeURIComponent(location.hash).match(/^#task\/(.+)$/)?.[1];
  const t = name === undefined ? undefined : taskAt.get(name);
  const [overview, view] = [byId("overview"), byId("task")];
  if (t === undefined) {
    const back = overview.hidden;
    [overview.hidden, view.hidden] = [false, true];
    document.title = data.title;
    if (!back) return;
    view.replaceChildren();
    const link = location.hash === "#tasks" && lastTask && [...document.querySelectorAll("#tasks-table a")].find((a) => a.hash === `#task/${lastTask}`);
    if (link) {
      scrollTo(0, away);
      link.focus({ preventScroll: true });
    } else document.querySelector(location.hash || "main")?.scrollIntoView();
    return;
  }
  if (!overview.hidden) away = scrollY;
  lastTask = name;
  view.replaceChildren(...drawTask(t).flat().filter(Boolean));
  [overview.hidden, view.hidden] = [true, false];
  document.title = `${name}: ${data.title}`;
  scrollTo(0, 0);
  byId("task-title").focus({ preventScroll: true });
}

fillFilters();
drawAll();
drawTransfers();
drawSpace();
addEventListener("hashchange", route);
route();
byId("needs-script").hidden = true;

// Paper has nothing to click on.
addEventListener("beforeprint", () => document.querySelectorAll("details").forEach((details) => { details.open = true; }));
