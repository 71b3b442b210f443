// --- transfer

function drawTransfers() {
  const box = byId("transfer-body");
  if (!box) return;
  let [which, who, detail] = [0, null, null];
  const draw = () => {
    const found = data.transfers[which];
    const embedders = Object.keys(found.cells);
    if (!embedders.includes(who)) who = embedders.includes(data.ours) ? data.ours : embedders[0];
    const cells = new Map(found.cells[who].map((row) => [`${row[0]} ${row[1]}`, row]));
    const compact = detail === null ? found.corpora.length > 8 : detail === "compact"; // a large matrix is read by its colours
    const columns = [{ name: "Trained on \u2193, tested on \u2192", words: true, look: "corner" }, ...found.corpora.map((name) => ({ name: compact ? h("span", null, name) : name }))];
    const rows = found.corpora.map((train) => ({ cells: [words(train), ...found.corpora.map((test) => {
      const row = cells.get(`${train} ${test}`);
      if (!row || row[2] === null) {
        const why = row?.[10] || "not run";
        return { ...cell(compact ? [h("span", { "aria-hidden": "true" }, "\u00b7"), spoken(why)] : h("small", null, why), null, "heat none"), title: `${train} \u2192 ${test}: ${why}` };
      }
      const [, , value, low, high, , auroc, taught, judged, , , leftOut] = row;
      const title = `${train} (${count(taught, "person")}) \u2192 ${test} (${count(judged, "person")}): macro-F1 ${shown(value, 2)} ${bracket(low, high, 2)}, AUROC ${shown(auroc, 2)}` +
        (leftOut ? `; ${count(leftOut, "person")} of both corpora not learned from` : "");
      const inside = compact ? shown(value, 2).replace("0.", ".").replace("1.00", "1") : [shown(value, 2), h("small", null, bracket(low, high, 2)), h("small", null, `${taught} \u2192 ${judged} persons`)];
      return { ...cell(inside, value, train === test ? "heat same" : "heat"), title, heat: Math.max(0, Math.min(1, (value - 0.4) / 0.6)).toFixed(2) };
    })] }));
    const of = (same) => mean([...cells.values()].filter((row) => row[2] !== null && (row[0] === row[1]) === same).map((row) => row[2]));
    byId("transfer-choice").replaceChildren(
      choice("Label", data.transfers.map((one, i) => [i, one.name]), which, (i) => { which = Number(i); draw(); }),
      choice("Embedder", embedders.map((name) => [name, name]), who, (name) => { who = name; draw(); }),
      choice("Cells", [["compact", "macro-F1"], ["full", "with interval and persons"]], compact ? "compact" : "full", (kind) => { detail = kind; draw(); }));
    const caption = `${who}, ${found.name}: macro-F1 of a linear probe${compact ? "" : " with its 95 % interval, and persons trained on \u2192 tested on"}. Mean on the corpus it learned from (framed) ${shown(of(true), 2)}, on others ${shown(of(false), 2)}; the fuller the colour, the better.`;
    const matrix = table({ caption: said(caption), columns, bodies: [rows], look: compact ? "heatmap compact" : "heatmap", fixed: true });
    matrix.classList.add("tall");
    box.replaceChildren(matrix);
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
