// --- the board: filters, means over the tasks they leave, and everything that follows the filters

const filters = byId("filters");
const stateOf = () => Object.fromEntries(new FormData(filters));
const keyOf = (state) => [state.track, state.group, state.domain, state.language, state.only === "clean" ? "clean" : state.only].join("|");

const hasScore = data.tasks.map((_, task) => data.runs.some((run) => run.scores[task]));
function chosenBy(state) {
  return data.tasks.map((_, i) => i).filter((i) => {
    const task = data.tasks[i];
    return (!state.track || task.track === state.track) && (!state.group || task.group === state.group) &&
      (!state.domain || task.domains.includes(state.domain)) && (!state.language || task.language === state.language) &&
      (!state.only || hasScore[i]) && (state.only !== "clean" || !task.flags.length);
  });
}

// Means of a run over tasks; null while one is missing.
function means(run, tasks) {
  const scores = tasks.map((task) => scoreOf(run, task)).filter(Boolean);
  const complete = `${scores.length}/${tasks.length}`;
  if (!tasks.length || scores.length < tasks.length) return { complete, macro: null, f1: null, balanced: null, auroc: null, gap: null };
  const over = (name) => mean(scores.map((score) => number(score, name)));
  const gaps = scores.map((score) => score.gap ?? null).filter((gap) => gap !== null);
  return { complete, macro: over("macro_f1"), f1: over("f1"), balanced: over("balanced_accuracy"), auroc: over("auroc"), gap: mean(gaps) };
}
const intervalOf = (state, run) => data.means.intervals[data.means.sets[keyOf(state)]]?.[run] ?? null;

const VERDICT = { above: ["\u25b2", "SLAP is above"], below: ["\u25bc", "SLAP is below"], "not separable": ["\u2248", "not separable"] };
function against(found) {
  if (!found || found.length < 6) return cell("-");
  const [, , difference, low, high, verdict] = found;
  const [sign, text] = VERDICT[verdict];
  return cell([`${sign} ${shown(difference, 3, true)} `, h("small", null, bracket(low, high)), " ", h("small", null, text)], difference, `verdict ${verdict.replace(" ", "-")}`);
}

// The paper's own figures, where the filters leave the tasks that they are about.
function published(embedder, state) {
  const part = state.language || state.only ? null : [state.track, state.group, state.domain].join("|");
  const found = data.published.filter((one) => one.embedder === data.embedders[embedder].name && one.part === part);
  return found.length ? cell(found.map((one) => h("span", { class: "theirs" }, `${one.mode} ${one.value}`)), null) : cell("");
}

let boardOrder = null;
function drawBoard(state, tasks) {
  const columns = [{ name: "Embedder", words: true }];
  const judged = data.embedders.map((_, e) => [runOf(e, ZERO), runOf(e, PROBE)]);
  for (const mode of [PROBE, ZERO]) {
    columns.push({ over: MODES[mode], name: "Macro-F1 [95\u00a0%]", look: "first" }, { over: MODES[mode], name: "F1" },
      { over: MODES[mode], name: "AUROC" });
    if (ours >= 0) columns.push({ over: MODES[mode], name: "SLAP minus it [95\u00a0%]", words: true, look: "narrow" });
    if (!data.synthetic) columns.push({ over: MODES[mode], name: "Worst gap" });
  }
  const theirs = data.embedders.map((_, e) => published(e, state));
  const anyTheirs = theirs.some((one) => one.content);
  columns.push({ name: "Tasks", look: "first", words: true });
  if (anyTheirs) columns.push({ over: "The paper, other data", name: "F1, %", words: true, look: "apart-column" });
  const row = (e) => {
    const embedder = data.embedders[e];
    const cells = [cell([h("span", { class: "name" }, embedder.name), embedder.about ? h("small", { title: embedder.about }, embedder.about) : null], embedder.name)];
    for (const mode of [PROBE, ZERO]) {
      const run = judged[e][mode];
      const found = run < 0 ? null : means(run, tasks);
      const interval = run < 0 ? null : intervalOf(state, run);
      if (found === null) {
        const rest = 2 + (ours >= 0) + !data.synthetic;
        cells.push(cell(h("small", { class: "mute" }, embedder.mute)), ...Array.from({ length: rest }, () => cell("")));
        continue;
      }
      if (found.macro === null) cells.push(cell(["- ", h("small", null, `${found.complete} tasks`)]));
      else cells.push(cell(meanButton(e, mode, tasks, found.macro, interval), found.macro));
      cells.push(figure(found.f1), figure(found.auroc));
      if (ours >= 0) cells.push(e === ours ? cell("") : against(interval));
      if (!data.synthetic) cells.push(figure(found.gap, 2));
    }
    const complete = judged[e].filter((run) => run >= 0).map((run) => means(run, tasks).complete);
    cells.push(words([...new Set(complete)].join(", ")), ...(anyTheirs ? [theirs[e]] : []));
    return { cells, look: e === ours ? "ours" : embedder.kind };
  };
  const of = (kind) => data.embedders.map((_, e) => e).filter((e) => data.embedders[e].kind === kind).map(row);
  const flagged = tasks.filter((task) => data.tasks[task].flags.length).length;
  const caption = said(`Means over ${count(tasks.length, "task")}; press a mean to see them.` +
    (flagged ? ` ${flagged} of them ${flagged === 1 ? "carries" : "carry"} a confound flag \u2691, a question to look into: see below what the label betrays without listening.` : "") +
    " Below the line: guessing and a constant.");
  const first = columns.findIndex((column) => column.over === MODES[PROBE]);
  const box = table({ caption, columns, bodies: [of("model"), of("chance")], order: boardOrder && boardOrder[0] < columns.length ? boardOrder : [first, -1], look: "board", grouped: true });
  tableIn(box).addEventListener("sorted", (event) => { boardOrder = event.detail; });
  byId("board-table").replaceChildren(box);
}

// Mean with a bar for the eye; the interval is there for every combination of the filters.
function meanButton(e, mode, tasks, value, interval) {
  const label = `${data.embedders[e].name}, ${MODES[mode]}: what this mean is made of`;
  return [h("button", { type: "button", class: "score", onclick: () => showMean(e, mode, tasks) }, shown(value), spoken(`, ${label}`)), " ",
    h("small", null, interval ? bracket(interval[0], interval[1]) : "no interval")];
}

const chanceOf = (tasks) => mean(tasks.map((task) => data.tasks[task].chance?.[1] ?? null).filter((value) => value !== null));

function drawForest(state, tasks) {
  const panels = [PROBE, ZERO].map((mode) => {
    const lines = data.embedders.map((embedder, e) => {
      const run = runOf(e, mode);
      const found = run < 0 ? null : means(run, tasks);
      const interval = run < 0 ? null : intervalOf(state, run);
      return found && { label: embedder.name, ours: e === ours, look: embedder.kind, value: found?.macro ?? null, low: interval?.[0], high: interval?.[1],
        remark: `${found.complete} tasks`, kind: embedder.kind };
    }).filter((line) => line && line.kind !== "confound" && line.label !== "always-yes");
    lines.sort((a, b) => (a.kind !== "model") - (b.kind !== "model") || (b.value ?? -1) - (a.value ?? -1));
    const chance = chanceOf(tasks);
    return forest(MODES[mode], lines, chance === null ? [] : [{ value: chance, label: "always yes" }], "mean macro-F1 of every embedder with its 95 % interval; the numbers are in the table above");
  });
  byId("board-forest").replaceChildren(...panels);
}

// --- by family: two radars and the table of the same means

let rival = null;
function drawFamilies(state) {
  const base = { ...state, group: "", domain: "", language: "" };
  const within = (change) => chosenBy({ ...base, ...change });
  const languages = [...new Set(within({}).map((task) => data.tasks[task].language))].filter(Boolean).sort();
  const axes = [
    ...data.groups.map((group) => [capital(group), { group }]),
    ["In-domain", { domain: "in-domain" }], ["Out-of-domain", { domain: "out-of-domain" }],
    ...languages.map((language) => [languageName(language), { language }]),
  ].map(([name, change]) => [name, { ...base, ...change }, within(change)]).filter(([, , tasks]) => tasks.length);
  if (!axes.length) { // the filters leave nothing: a circle without spokes cannot be drawn
    for (const part of ["choice", "legend", "table"]) byId(`families-${part}`).replaceChildren();
    byId("families-figure").replaceChildren(h("p", { class: "note" }, "No task is left by this choice."));
    return;
  }
  const valueOf = (e, mode) => axes.map(([, , tasks]) => (runOf(e, mode) < 0 ? null : means(runOf(e, mode), tasks).macro));
  const models = data.embedders.map((_, e) => e).filter((e) => e !== ours && isModel(e));
  const best = models.toSorted((a, b) => (mean(valueOf(b, PROBE).filter((v) => v !== null)) ?? 0) - (mean(valueOf(a, PROBE).filter((v) => v !== null)) ?? 0))[0];
  if (rival === null || !models.includes(rival)) rival = best ?? null;
  const random = data.embedders.findIndex((embedder) => embedder.name === "random");
  const box = byId("families-figure");
  const draw = () => {
    const series = [[random, "chance"], [rival, "other"], [ours, "ours"]].filter(([e]) => e !== null && e >= 0);
    box.replaceChildren(...[PROBE, ZERO].map((mode) => radar(MODES[mode], axes.map(([name]) => name),
      series.filter(([e]) => runOf(e, mode) >= 0).map(([e, look]) => ({ name: data.embedders[e].name, look, values: valueOf(e, mode) })),
      "mean macro-F1 by family of task, domain and language; the numbers are in the table below")));
    byId("families-legend").replaceChildren(legend(series.toReversed().map(([e, look]) => [look, data.embedders[e].name])));
  };
  byId("families-choice").replaceChildren(models.length ? choice("Beside SLAP", models.map((e) => [e, data.embedders[e].name]), rival, (e) => { rival = Number(e); draw(); }) : "");
  draw();
  const columns = [{ name: "Embedder", words: true }, { name: "Mode", words: true }, ...axes.map(([name, , tasks]) => ({ name, over: count(tasks.length, "task") }))];
  const of = (kind) => data.runs.map((run, r) => [run, r]).filter(([run]) => data.embedders[run.embedder].kind === kind).map(([run, r]) => ({
    cells: [words(data.embedders[run.embedder].name), words(MODES[run.mode]), ...axes.map(([, of, tasks]) => {
      const found = means(r, tasks);
      const interval = intervalOf(of, r);
      return found.macro === null ? cell(["- ", h("small", null, found.complete)]) : cell([shown(found.macro), " ", h("small", null, interval ? bracket(interval[0], interval[1], 2) : "")], found.macro);
    })],
    look: run.embedder === ours ? "ours" : kind,
  }));
  byId("families-table").replaceChildren(table({ caption: said("Mean macro-F1 by family, domain and language, with 95 % intervals; '-' while a task is missing."), columns, bodies: [of("model"), of("chance")], look: "stacked" }));
}

// --- confounds: what does not listen to the voice

function drawConfounds(tasks) {
  const box = byId("confounds-body");
  if (!box) return;
  const confounds = data.embedders.map((embedder, e) => [embedder, e]).filter(([embedder]) => embedder.kind === "confound");
  const rows = confounds.map(([embedder, e]) => {
    const scores = tasks.map((t) => scoreOf(runOf(e, PROBE), t)).filter(Boolean);
    const flags = tasks.filter((t) => data.tasks[t].flags.some((flag) => flag.confound === embedder.name)).length;
    const over = (name) => mean(scores.map((score) => number(score, name)));
    return { cells: [words(embedder.name), words(embedder.about), cell(`${flags} of ${scores.length}`, flags), figure(over("macro_f1")), figure(over("auroc"))] };
  });
  const flagged = tasks.filter((t) => data.tasks[t].flags.length).flatMap((t) => data.tasks[t].flags.map((flag) => ({ cells: [
    cell(h("a", { href: `#task/${data.tasks[t].name}` }, data.tasks[t].name), data.tasks[t].name), words(flag.confound), figure(flag.auroc, 2), figure(flag.macro_f1, 2),
    figure(ours < 0 ? null : number(scoreOf(runOf(ours, PROBE), t), "macro_f1"), 2), cell(flag.sentence, flag.sentence, "long"),
  ] })));
  box.replaceChildren(
    table({ caption: said(`A linear probe on what is no voice, over ${count(tasks.length, "task")}; means are over the tasks where it knows anything.`), look: "narrow-table",
      columns: [{ name: "Confound", words: true }, { name: "What it has", words: true }, { name: "Flags, of tasks" }, { name: "Macro-F1" }, { name: "AUROC" }], bodies: [rows] }),
    ...(flagged.length ? [table({ caption: said("The flags: a question for whoever reads the scores of the task, not a verdict on them."), order: [2, -1],
      columns: [{ name: "Task", words: true }, { name: "Confound", words: true }, { name: "AUROC" }, { name: "Macro-F1" }, { name: "SLAP, probe" }, { name: "What was found", words: true }], bodies: [flagged] })] : [h("p", { class: "note" }, "No task of this choice carries a flag.")]));
}

// --- every task

let tasksMode = PROBE;
let search = "";
function drawTasks(state, tasks) {
  const judged = data.embedders.map((_, e) => e).filter((e) => runOf(e, tasksMode) >= 0 && data.embedders[e].kind !== "confound" && data.embedders[e].name !== "always-yes");
  const columns = [
    { name: "Task", words: true }, { name: "Family", words: true }, { name: "Language", words: true },
    ...(ours >= 0 ? [{ name: "New to SLAP", words: true }] : []), { name: "Persons" }, { name: "Share yes" }, { name: "Always-yes", over: "Macro-F1" },
    ...judged.map((e) => ({ name: data.embedders[e].name, look: e === ours ? "our-column" : "" })),
  ];
  const fits = tasks.filter((t) => `${data.tasks[t].name} ${data.tasks[t].corpus}`.includes(search.trim().toLowerCase()));
  const rows = fits.map((t) => {
    const task = data.tasks[t];
    const scores = judged.map((e) => scoreOf(runOf(e, tasksMode), t));
    const top = Math.max(...judged.map((e, i) => (isModel(e) ? number(scores[i], "macro_f1") ?? -1 : -1)));
    return { cells: [
      cell([h("a", { href: `#task/${task.name}` }, task.name), flagMark(task)], task.name), words(task.group), words(languageName(task.language)),
      ...(ours >= 0 ? [words(task.new === null ? "-" : task.new.join(", ") || "nothing")] : []),
      figure(task.n_speakers, 0), figure(task.prevalence, 2), figure(task.chance?.[1] ?? null, 2),
      ...judged.map((e, i) => scoreCell(e, tasksMode, t, scores[i], 2, isModel(e) && number(scores[i], "macro_f1") === top)),
    ] };
  });
  const caption = said(`${MODES[tasksMode]}, each task: macro-F1 with its 95 % interval over speakers. Bold: the highest. Press a task for its page, a number for where it comes from.`);
  byId("tasks-table").replaceChildren(table({ caption, columns, bodies: [rows], look: "stacked" }));
  byId("tasks-count").value = `${fits.length} of ${count(data.tasks.length, "task")}`;
}

const flagMark = (task) => (task.flags.length ? h("span", { class: "flag", title: `A question to look into: ${task.flags.map((flag) => flag.sentence).join(" ")}` }, " \u2691", spoken(" confound flag")) : null);

function scoreCell(e, mode, t, score, digits = 3, best = false) {
  if (!score) return cell("-");
  const value = number(score, "macro_f1");
  return cell([scoreButton(e, mode, t, shown(value, digits)), " ", h("small", null, bracket(number(score, "macro_f1_low"), number(score, "macro_f1_high"), digits))], value, best ? "best" : "");
}

const scoreButton = (e, mode, t, text) => h("button", { type: "button", class: "score", onclick: () => showSource(e, mode, t) }, text, spoken(`, ${data.embedders[e].name}, ${data.tasks[t].name}, ${MODES[mode]}: where it comes from`));

function drawAll() {
  const state = stateOf();
  const tasks = chosenBy(state);
  drawBoard(state, tasks);
  drawForest(state, tasks);
  drawFamilies(state);
  drawConfounds(tasks);
  drawTasks(state, tasks);
  const corpora = new Set(tasks.map((task) => data.tasks[task].corpus)).size;
  byId("filters-count").value = `${count(tasks.length, "task")} on ${corpora} ${corpora === 1 ? "corpus" : "corpora"}`;
}

function fillFilters() {
  const fill = (name, options) => filters.elements[name].append(...options.map(([value, text]) => h("option", { value }, text)));
  const languages = [...new Set(data.tasks.map((task) => task.language))].filter(Boolean);
  fill("track", data.tracks.map((track) => [track, track]));
  fill("group", data.groups.map((group) => [group, group]));
  fill("language", languages.map((tag) => [tag, languageName(tag)]).sort(([, a], [, b]) => a.localeCompare(b)));
  // The paper's tasks are one list, and a mean is over all or none; the open track holds whatever corpora there are.
  const start = () => {
    filters.elements.track.value = data.tracks[0] ?? "";
    filters.elements.only.value = data.tracks[0] === "paper" ? "" : "scored";
  };
  start();
  filters.addEventListener("input", drawAll);
  filters.addEventListener("submit", (event) => event.preventDefault());
  filters.addEventListener("reset", () => setTimeout(() => { start(); drawAll(); }));
  byId("tasks-choice").prepend(choice("Mode", MODES.map((mode, i) => [i, mode]), tasksMode, (mode) => { tasksMode = Number(mode); drawAll(); }));
  byId("tasks-search").addEventListener("input", (event) => { search = event.target.value; drawTasks(stateOf(), chosenBy(stateOf())); });
}
