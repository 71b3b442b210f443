// --- figures: SVG, each with a table beside it that says the same

const scale = (from, to, low, high) => (value) => low + ((value - from) / (to - from)) * (high - low);

// A forest plot: lines of {label, ours, value, low, high, remark}; `marks` are upright lines {value, label}.
function forest(title, lines, marks, description) {
  const [left, right, top, step] = [142, 406, 40, 21];
  const bottom = top + lines.length * step;
  const numbers = lines.flatMap((line) => [line.low ?? line.value, line.value]).concat(marks.map((mark) => mark.value));
  const lowest = Math.max(0, Math.floor(Math.min(1, ...numbers.filter((value) => value !== null)) * 10 - 0.5));
  const from = (lowest < 3 ? lowest - (lowest % 2) : lowest) / 10; // the last tick is at 1
  const x = scale(from, 1, left, right);
  const ticks = [];
  for (let tick = Math.round(from * 10); tick <= 10; tick += from < 0.3 ? 2 : 1) ticks.push(tick / 10);
  return s("svg", { viewBox: `0 0 420 ${bottom + 26}`, role: "img", "aria-label": `${title}: ${description}`, class: "forest" },
    s("text", { class: "panel", x: 0, y: 15 }, title),
    ticks.map((tick) => [
      s("line", { class: "grid", x1: x(tick), x2: x(tick), y1: top - 6, y2: bottom }),
      s("text", { class: "axis", x: x(tick), y: bottom + 15 }, tick.toFixed(1)),
    ]),
    marks.map((mark, i) => [
      s("line", { class: `chance c${i}`, x1: x(mark.value), x2: x(mark.value), y1: top - 6, y2: bottom }),
      s("text", { class: "chance-label", x: x(mark.value), y: top - 10 }, mark.label),
    ]),
    lines.map((line, i) => {
      const y = top + (i + 0.5) * step;
      return s("g", { class: line.ours ? "ours" : line.look },
        s("text", { class: "label", x: left - 12, y: y + 4 }, line.label),
        line.value === null || line.value === undefined
          ? s("text", { class: "remark", x: left + 4, y: y + 4 }, line.remark ?? "")
          : [
              s("title", null, `${line.label}: ${shown(line.value)} ${bracket(line.low, line.high)}`),
              line.low === null || line.low === undefined ? null : s("line", { class: "range", x1: x(line.low), x2: x(line.high), y1: y, y2: y }),
              line.ours
                ? s("path", { class: "point", d: `M${x(line.value)} ${y - 5.5}l5.5 5.5-5.5 5.5-5.5-5.5z` })
                : s("circle", { class: "point", cx: x(line.value), cy: y, r: 3.8 }),
            ]);
    }));
}

// A radar: `axes` are names, `series` are {name, look, values}; the centre is 0.2, the rim 1.
function radar(title, axes, series, description) {
  const [width, height, radius] = [400, 330, 108];
  const [cx, cy] = [width / 2, height / 2 + 6];
  const angle = (i) => (i / axes.length) * 2 * Math.PI - Math.PI / 2;
  const at = (i, value) => {
    const length = (radius * Math.max(0, value - 0.2)) / 0.8;
    return [cx + length * Math.cos(angle(i)), cy + length * Math.sin(angle(i))];
  };
  const ring = (value) => axes.map((_, i) => at(i, value).map((v) => v.toFixed(1)).join(" ")).join("L");
  return s("svg", { viewBox: `0 0 ${width} ${height}`, role: "img", "aria-label": `${title}: ${description}`, class: "radar" },
    s("text", { class: "panel", x: 0, y: 15 }, title),
    [0.4, 0.6, 0.8, 1].map((value) => [
      s("path", { class: "grid", d: `M${ring(value)}z` }),
      value < 1 ? s("text", { class: "axis", x: cx + 3, y: at(0, value)[1] - 2 }, value.toFixed(1)) : null,
    ]),
    axes.map((axis, i) => {
      const [x, y] = at(i, 1.12);
      const anchor = Math.abs(x - cx) < 12 ? "middle" : x > cx ? "start" : "end";
      return [s("line", { class: "grid", x1: cx, y1: cy, x2: at(i, 1)[0], y2: at(i, 1)[1] }),
        s("text", { class: "spoke", x, y: y + 4, "text-anchor": anchor }, axis)];
    }),
    series.map((one) => {
      const points = one.values.map((value, i) => (value === null ? null : at(i, value)));
      const whole = points.every((point) => point !== null);
      const path = [];
      points.forEach((point, i) => {
        if (point) path.push(`${path.length && points[i - 1] ? "L" : "M"}${point.map((v) => v.toFixed(1)).join(" ")}`);
      });
      return s("g", { class: one.look },
        s("path", { class: "shape", d: path.join("") + (whole ? "z" : "") }),
        points.map((point, i) => point && s("g", null,
          s("title", null, `${one.name}, ${axes[i]}: ${shown(one.values[i])}`),
          one.look === "ours"
            ? s("path", { class: "point", d: `M${point[0]} ${point[1] - 4.5}l4.5 4.5-4.5 4.5-4.5-4.5z` })
            : one.look === "other"
              ? s("rect", { class: "point", x: point[0] - 3.2, y: point[1] - 3.2, width: 6.4, height: 6.4 })
              : s("circle", { class: "point", cx: point[0], cy: point[1], r: 2.6 }))));
    }));
}

// Lines over a number of speakers: `series` are {name, look, points: [[x, value, low, high]]}.
function curve(series, description) {
  const [left, right, top, bottom] = [38, 330, 12, 170];
  const sizes = [...new Set(series.flatMap((one) => one.points.map(([n]) => n)))].sort((a, b) => a - b);
  const values = series.flatMap((one) => one.points.flatMap(([, value, low]) => [value, low]));
  const from = Math.max(0, Math.floor(Math.min(...values) * 10) / 10);
  const x = scale(Math.log(Math.max(1, sizes[0])), Math.log(Math.max(2, sizes.at(-1))), left + 10, right);
  const y = scale(from, 1, bottom, top);
  const ends = series.map((one) => ({ one, y: y(one.points.at(-1)[1]) })).sort((a, b) => a.y - b.y);
  ends.forEach((end, i) => { if (i && end.y < ends[i - 1].y + 14) end.y = ends[i - 1].y + 14; });
  return s("svg", { viewBox: "0 0 470 206", role: "img", "aria-label": description, class: "curve" },
    [from, (from + 1) / 2, 1].map((tick) => [
      s("line", { class: "grid", x1: left, x2: right, y1: y(tick), y2: y(tick) }),
      s("text", { class: "axis end", x: left - 6, y: y(tick) + 4 }, tick.toFixed(2)),
    ]),
    sizes.map((n) => s("text", { class: "axis", x: x(Math.log(n)), y: bottom + 16 }, n)),
    s("text", { class: "axis", x: (left + right) / 2, y: bottom + 32 }, "training speakers"),
    series.map((one) => s("g", { class: one.look },
      s("path", { class: "band", d: `M${[...one.points.map(([n, , , high]) => [n, high]), ...one.points.toReversed().map(([n, , low]) => [n, low])].map(([n, v]) => `${x(Math.log(n)).toFixed(1)} ${y(v).toFixed(1)}`).join("L")}z` }),
      s("path", { class: "shape", d: `M${one.points.map(([n, v]) => `${x(Math.log(n)).toFixed(1)} ${y(v).toFixed(1)}`).join("L")}` }),
      one.points.map(([n, v, low, high]) => s("circle", { class: "point", cx: x(Math.log(n)), cy: y(v), r: 3 },
        s("title", null, `${one.name}, ${n} speakers: ${shown(v)} (${shown(low)} to ${shown(high)})`))))),
    ends.map(({ one, y: at }) => s("text", { class: `end-label ${one.look}`, x: right + 8, y: at + 4 }, one.name)));
}

const legend = (entries) => h("ul", { class: "legend" }, entries.map(([look, text]) => h("li", { class: look }, h("i", { "aria-hidden": "true" }), text)));
