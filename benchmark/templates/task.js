// --- the page of one task

const term = (name, ...text) => h("div", null, h("dt", null, name), h("dd", null, text));

function drawTask(t) {
  const task = data.tasks[t];
  const missing = task.missing.map(([modes, reason]) => h("p", { class: "note" }, `No score (${modes.join(", ")}): ${reason}.`));
  return [
    h("nav", { class: "way", "aria-label": "Tasks" },
      h("a", { href: "#tasks" }, "\u2190 All tasks"),
      t > 0 ? h("a", { href: `#task/${data.tasks[t - 1].name}` }, `Previous: ${data.tasks[t - 1].name}`) : null,
      t + 1 < data.tasks.length ? h("a", { href: `#task/${data.tasks[t + 1].name}` }, `Next: ${data.tasks[t + 1].name}`) : null),
    h("h2", { id: "task-title", tabindex: "-1" }, task.name),
    h("ul", { class: "chips" }, [capital(task.group), `${task.track} track`, `corpus ${task.corpus}`, languageName(task.language),
      task.new === null ? "" : task.new.length ? `${task.new.join(", ")} new to SLAP` : "nothing new to SLAP"].filter(Boolean).map((text) => h("li", null, text))),
    task.flags.length ? h("div", { class: "warning" }, h("b", null, "\u2691 A question to look into. "),
      task.flags.map((flag) => [`${flag.sentence} Macro-F1 ${shown(flag.macro_f1, 2)}. `]),
      "A model that scores no higher may have heard that, and not the voice. A flag is no verdict: of 100 tasks without such a link, about 5 carry one by chance.") : null,
    question(task), missing, hasScore[t] ? scoresOf(t) : null, promptsOf(t), hasScore[t] ? [learningOf(t), subgroupsOf(t)] : null,
    h("p", { class: "back" }, h("a", { href: "#tasks" }, "\u2190 All tasks")),
  ];
}

function question(task) {
  const protocol = task.protocol === "folds"
    ? `folds by person, since one split would leave few to test and no embedder was trained on the corpus. The probe: ${count(task.repeats, "repeat")}, everybody judged once in each by a probe that never heard them; who is judged taught the probes that judge the others, so that the answers depend on each other: intervals are widened for it, and AUROC compares within folds. Zero-shot: everybody once`
    : "one split by person: the probe learns on train and dev, all are judged on test";
  const chance = task.chance;
  return h("section", { "aria-labelledby": "q-title" }, h("h3", { id: "q-title" }, "What is asked"),
    h("dl", { class: "facts" },
      term("Yes", h("code", null, task.positive)), term("No", h("code", null, task.negative)),
      term("Cut-off", task.cutoff || "none: the condition is a stated fact"),
      term("Label from", task.source === "any" ? "any source" : `${task.source} or stronger`),
      term("One prediction for each", task.unit),
      term("Judged", task.n_speakers === null ? "-" : `${count(task.n_speakers, "person")}` + (task.unit === "speaker" ? "" : `, ${count(task.n, task.unit)}`)),
      term("Share of yes", shown(task.prevalence, 2)),
      term("Chance: always yes", chance ? `macro-F1 ${shown(chance[1])}, F1 ${shown(chance[0])}` : "-"),
      term("Chance: yes at random, as often as it is true", chance && chance[3] !== null ? `macro-F1 ${shown(chance[3])}, F1 ${shown(chance[2])}` : "-"),
      h("div", { class: "whole" }, h("dt", null, "Protocol"), h("dd", null, protocol))));
}

function scoresOf(t) {
  const task = data.tasks[t];
  const panels = [PROBE, ZERO].map((mode) => {
    const lines = data.embedders.map((embedder, e) => [embedder, e, scoreOf(runOf(e, mode), t)])
      .filter(([embedder, , score]) => score && embedder.kind !== "confound" && embedder.name !== "always-yes")
      .map(([embedder, e, score]) => ({ label: embedder.name, kind: embedder.kind, look: embedder.kind, ours: e === ours, value: number(score, "macro_f1"), low: number(score, "macro_f1_low"), high: number(score, "macro_f1_high") }));
    lines.sort((a, b) => (a.kind !== "model") - (b.kind !== "model") || b.value - a.value);
    return lines.length ? forest(MODES[mode], lines, task.chance ? [{ value: task.chance[1], label: "always yes" }] : [], `macro-F1 on ${task.name} with 95 % intervals; the numbers are in the table below`) : null;
  });
  const columns = [{ name: "Embedder", words: true }, { name: "Mode", words: true }, { name: "Macro-F1 [95 %]" }, { name: "F1 [95 %]" }, { name: "AUROC [95 %]" },
    { name: "Bal. acc." }, { name: "Says yes" }, { name: "Brier" }, { name: "Calibr. error" }, { name: "Taught by", over: "Persons" }];
  const rowsOf = (mode, confounds) => data.embedders.map((embedder, e) => [embedder, e, scoreOf(runOf(e, mode), t)]).filter(([embedder, , score]) => score && (embedder.kind === "confound") === confounds).map(([embedder, e, score]) => ({
    cells: [words(embedder.name), words(MODES[mode]), scoreCell(e, mode, t, score), withInterval(score, "f1"), withInterval(score, "auroc"),
      ...["balanced_accuracy", "predicted_positive_rate", "brier", "calibration_error"].map((name) => figure(number(score, name))),
      figure(number(score, "n_train_speakers"), 0)],
    look: e === ours ? "ours" : embedder.kind,
  }));
  return h("section", { "aria-labelledby": "s-title" }, h("h3", { id: "s-title" }, "Every embedder"),
    h("div", { class: "panels" }, panels),
    table({ caption: said(`${task.name}: 95 % intervals over speakers; press a macro-F1 for where it comes from. Below: zero-shot, then what does not listen to the voice.`), columns, bodies: [rowsOf(PROBE, false), rowsOf(ZERO, false), rowsOf(PROBE, true)], look: "stacked", order: [2, -1] }),
    h("div", { class: "panels" }, [PROBE, ZERO].map((mode) => separable(task, mode))));
}

function withInterval(score, name) {
  const value = number(score, name);
  return cell([shown(value), " ", h("small", null, bracket(number(score, `${name}_low`), number(score, `${name}_high`)))], value);
}

// Who is above whom after the correction for all pairs.
function separable(task, mode) {
  const { order, signs, detectable } = task.pairs[mode];
  if (order.length < 2) return null;
  const sign = (i, j) => {
    if (i === j) return "";
    const [low, high] = i < j ? [i, j] : [j, i];
    const found = signs[(low * (2 * order.length - low - 1)) / 2 + high - low - 1];
    return found === "0" ? "0" : (found === "+") === (i < j) ? "+" : "-";
  };
  const name = (e) => data.embedders[e].name;
  const equal = order.filter((_, j) => j > 0 && sign(0, j) === "0").map(name);
  const text = { "+": "\u25b2", "-": "\u25bc", 0: "\u2248", "": "" };
  const meaning = { "+": "above", "-": "below", 0: "not separable", "": "itself" };
  const columns = [{ name: "Row against column", words: true }, ...order.map((e, i) => ({ name: [String(i + 1), spoken(` ${name(e)}`)], look: "sign" }))];
  const rows = order.map((e, i) => ({ look: e === ours ? "ours" : "", cells: [words(`${i + 1} ${name(e)}`), ...order.map((_, j) => cell([h("span", { "aria-hidden": "true" }, text[sign(i, j)]), spoken(meaning[sign(i, j)])], null, `sign ${meaning[sign(i, j)].replace(" ", "-")}`))] }));
  return h("div", null,
    h("h4", null, MODES[mode]),
    h("p", null, `Highest: ${name(order[0])}. `, equal.length ? `Not separable from it: ${equal.join(", ")}.` : "It is above everyone else.",
      detectable === null ? "" : ` A difference below about ${shown(detectable, 2)} in macro-F1 would go unseen here (80 % power, median over the pairs).`),
    h("details", null, h("summary", null, "Who is above whom"),
      table({ caption: said(`${MODES[mode]}: \u25b2 the row is above the column, \u25bc below, \u2248 not separable, after Holm's correction for all pairs.`), columns, bodies: [rows], look: "matrix", fixed: true })));
}

function promptsOf(t) {
  const everyLanguage = data.texts[data.tasks[t].prompts];
  const judged = data.embedders.map((embedder, e) => [embedder, e, scoreOf(runOf(e, ZERO), t)]).filter(([, , score]) => score && number(score, "prompt_min") !== null);
  const used = judged.find(([, , score]) => score.language)?.[2].language ?? "en";
  const wanted = new Set(["en", data.tasks[t].language, used]); // a set of prompts is shared with tasks in other languages
  const sets = Object.fromEntries(Object.entries(everyLanguage).filter(([language]) => wanted.has(language.toLowerCase().split("-")[0]) || language === used));
  const rows = judged.map(([embedder, e, score]) => {
    const best = number(score, "best_prompt");
    const pair = best === null ? null : (sets[score.language ?? "en"] ?? [])[best];
    return { look: e === ours ? "ours" : embedder.kind, cells: [words(embedder.name), scoreCell(e, ZERO, t, score),
      cell(`${shown(number(score, "prompt_min"))} to ${shown(number(score, "prompt_max"))}`, number(score, "prompt_max") - number(score, "prompt_min")),
      withInterval(score, "best_prompt_macro_f1"), cell(pair ? `${best + 1}: ${pair[1]}` : "-", best)] };
  });
  return h("section", { "aria-labelledby": "p-title" }, h("h3", { id: "p-title" }, "Zero-shot prompts"),
    Object.entries(sets).map(([language, pairs]) => h("details", { open: language === used }, h("summary", null, `${languageName(language)}: ${count(pairs.length, "pair")}${language === used && judged.length ? ", used here" : ""}`),
      h("ol", { class: "prompts", lang: language }, pairs.map(([no, yes]) => h("li", null, h("b", null, yes), h("span", { class: "versus" }, ` ${no}`)))))),
    h("p", { class: "about" }, "Bold stands for yes. The score takes all pairs together."),
    rows.length ? table({ caption: said("What the choice of words does. The best honest pair is chosen on the training persons and judged on the test persons."),
      columns: [{ name: "Embedder", words: true }, { name: "All pairs [95 %]" }, { name: "Worst to best single pair" }, { name: "Best honest pair [95 %]" }, { name: "That pair", words: true }], bodies: [rows], look: "stacked" }) : null);
}

// What the seeds deal out anew; see benchmark/score.py.
const SEEDS_OF = {
  folds: (n) => `${n} dealings of the folds`,
  split: (n) => `${n} other splits of the persons`,
  "inner folds": (n) => `${n} dealings of the folds that choose C`,
};

function learningOf(t) {
  const judged = data.embedders.map((embedder, e) => [embedder, e, scoreOf(runOf(e, PROBE), t)]).filter(([embedder, , score]) => score && (score.curve || score.seeds) && embedder.kind === "model");
  if (!judged.length) return null;
  judged.sort(([, , a], [, , b]) => number(b, "macro_f1") - number(a, "macro_f1"));
  const drawn = judged.filter(([, e], i) => e === ours || i < (judged.findIndex(([, one]) => one === ours) < 3 ? 4 : 3)).filter(([, , score]) => score.curve);
  const sizes = [...new Set(judged.flatMap(([, , score]) => (score.curve ?? []).map(([n]) => n)))].sort((a, b) => a - b);
  const columns = [{ name: "Embedder", words: true }, { name: "Other seeds, lowest to highest" }, ...sizes.map((n) => ({ name: `${n}`, over: "Persons" }))];
  const rows = judged.map(([embedder, e, score]) => ({ look: e === ours ? "ours" : "", cells: [words(embedder.name),
    score.seeds ? cell([`${shown(Math.min(...score.seeds))} to ${shown(Math.max(...score.seeds))} `, h("small", null, SEEDS_OF[score.seeds_of]?.(score.seeds.length) ?? count(score.seeds.length, "seed"))], Math.max(...score.seeds) - Math.min(...score.seeds)) : cell("-"),
    ...sizes.map((n) => { const point = (score.curve ?? []).find(([size]) => size === n); return point ? cell([shown(point[1]), " ", h("small", null, `${shown(point[2], 2)} to ${shown(point[3], 2)}`)], point[1]) : cell("-"); })] }));
  return h("section", { "aria-labelledby": "l-title" }, h("h3", { id: "l-title" }, "How the probe learns"),
    drawn.length ? h("figure", { class: "small" }, curve(drawn.map(([embedder, e, score], i) => ({ name: embedder.name, look: e === ours ? "ours" : `line${i % 4}`, points: score.curve })), "macro-F1 by number of training speakers; the numbers are in the table below"),
      h("figcaption", null, said("Macro-F1 of the probe trained on fewer persons: mean, with the lowest and highest of several draws. SLAP and the best of the others."))) : null,
    table({ caption: said("The probe under other seeds, and trained on fewer persons: macro-F1, with the lowest and highest draw."), columns, bodies: [rows], look: "stacked" }));
}

let groupsOf = null;
function subgroupsOf(t) {
  const task = data.tasks[t];
  const head = h("h3", { id: "g-title" }, "Subgroups");
  const section = (...inside) => h("section", { "aria-labelledby": "g-title" }, head, inside);
  if (data.synthetic) return section(h("p", { class: "note" }, "Not shown: rendered voices have no subgroups of people."));
  const hidden = task.hidden ? ` ${count(task.hidden, "subgroup")} not shown: they, or the rest beside them, have fewer than ${data.smallest} persons.` : "";
  if (!task.groups.length) return section(h("p", { class: "note" }, "No subgroup can be shown.", hidden));
  const judged = data.embedders.map((_, e) => e).filter((e) => scoreOf(runOf(e, PROBE), t) || scoreOf(runOf(e, ZERO), t));
  if (groupsOf === null || !judged.includes(groupsOf)) groupsOf = judged.includes(ours) ? ours : judged[0];
  const box = h("div");
  const draw = () => {
    const modes = [PROBE, ZERO].filter((mode) => scoreOf(runOf(groupsOf, mode), t));
    const columns = [{ name: "Subgroup", words: true }, { name: "Persons" }, { name: "Share yes" },
      ...modes.flatMap((mode) => [{ over: MODES[mode], name: "Macro-F1", look: "first" }, { over: MODES[mode], name: "Yes found" }, { over: MODES[mode], name: "False alarms" }])];
    const rows = task.groups.map(([attribute, value, n, share], i) => ({ cells: [words(`${attribute}: ${attribute === "language" ? languageName(value) : value}`), figure(n, 0), figure(share, 2),
      ...modes.flatMap((mode) => scoreOf(runOf(groupsOf, mode), t).groups[i].map((v) => figure(v, 2)))] }));
    const gaps = modes.map((mode) => [mode, scoreOf(runOf(groupsOf, mode), t).gap]).filter(([, gap]) => gap !== null);
    box.replaceChildren(
      h("p", null, gaps.map(([mode, gap]) => `${MODES[mode]}: worst-group gap ${shown(gap, 2)}. `), hidden),
      table({ caption: `${data.embedders[groupsOf].name} by subgroup. Gap: macro-F1 of the best minus the worst subgroup, of the attribute where they differ most; small groups differ by chance too.`, columns, bodies: [rows] }));
  };
  draw();
  return section(h("div", { class: "filters" }, choice("Embedder", judged.map((e) => [e, data.embedders[e].name]), groupsOf, (e) => { groupsOf = Number(e); draw(); })), box);
}
