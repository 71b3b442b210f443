"use strict";

// Sort a table by the column whose heading is pressed; cells without a value stay at the end.
function sortBy(table, column, direction) {
  const value = (row) => {
    const raw = row.cells[column].dataset.value;
    if (raw === undefined || raw === "") return null;
    return Number.isNaN(Number(raw)) ? raw : Number(raw);
  };
  const compare = (a, b) => {
    const [left, right] = [value(a), value(b)];
    if (left === null || right === null) return (left === null) - (right === null);
    if (typeof left === "number" && typeof right === "number") return direction * (left - right);
    return direction * String(left).localeCompare(String(right));
  };
  const body = table.tBodies[0];
  body.append(...[...body.rows].sort(compare));
}

for (const table of document.querySelectorAll("table")) {
  [...table.tHead.rows[0].cells].forEach((heading, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...heading.childNodes);
    heading.append(button);
    button.addEventListener("click", () => {
      const first = heading.classList.contains("num") ? "descending" : "ascending";
      const other = first === "ascending" ? "descending" : "ascending";
      const order = heading.getAttribute("aria-sort") === first ? other : first;
      for (const cell of table.tHead.rows[0].cells) cell.removeAttribute("aria-sort");
      heading.setAttribute("aria-sort", order);
      sortBy(table, column, order === "ascending" ? 1 : -1);
    });
  });
}

// Hide the rows that a form's choices do not fit.
for (const form of document.querySelectorAll("form.filters")) {
  const tables = [...document.querySelectorAll(`table[data-filters="${form.dataset.for}"]`)];
  const fits = (row, control) => {
    const mark = row.dataset[control.name] ?? "";
    if (control.type === "search") return mark.includes(control.value.trim().toLowerCase());
    return control.value === "" || mark.split(", ").includes(control.value);
  };
  const apply = () => {
    const controls = [...form.querySelectorAll("select, input")];
    for (const table of tables) {
      for (const row of table.tBodies[0].rows) row.hidden = !controls.every((control) => fits(row, control));
    }
    const rows = [...(tables[0]?.tBodies[0].rows ?? [])];
    form.querySelector("output").value = `${rows.filter((row) => !row.hidden).length} of ${rows.length} rows`;
  };
  form.addEventListener("input", apply);
  form.addEventListener("submit", (event) => event.preventDefault());
  form.hidden = false;
  apply();
}

// Paper has nothing to click on.
window.addEventListener("beforeprint", () => {
  for (const details of document.querySelectorAll("details")) details.open = true;
});
