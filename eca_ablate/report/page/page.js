"use strict";
// Sorts a table by the column whose header is pressed, and the other way round when it is pressed again.
// Numbers are compared by the `data-value` of a cell, all else as text; what is missing stays last.
for (const table of document.querySelectorAll("table.sortable")) {
  const headers = [...table.tHead.rows[0].cells];
  headers.forEach((header, column) => {
    const button = document.createElement("button");
    button.type = "button";
    button.append(...header.childNodes);
    header.append(button);
    button.addEventListener("click", () => sort(table, headers, column));
  });
}

function sort(table, headers, column) {
  const header = headers[column];
  const sign = header.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  headers.forEach((other) => other.removeAttribute("aria-sort"));
  header.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const numeric = header.dataset.kind === "number";
  const lines = [...table.tBodies[0].rows].map((row) => {
    const cell = row.cells[column];
    const text = cell.textContent.trim();
    const value = numeric ? parseFloat(cell.dataset.value) : text;
    return { row, value, missing: numeric ? Number.isNaN(value) : text === "–" };
  });
  lines.sort((a, b) => {
    if (a.missing || b.missing) return a.missing - b.missing;
    return sign * (numeric ? a.value - b.value : a.value.localeCompare(b.value, "en", { numeric: true }));
  });
  table.tBodies[0].append(...lines.map((line) => line.row));
}
