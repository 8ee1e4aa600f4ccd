// Lets a table be sorted by the heading that is pressed. Without it a table is as it was written.
"use strict";

const NUMBER = /^[-−+]?[\d.,]+%?$/;
const collator = new Intl.Collator(undefined, { numeric: true });
const number = (text) => Number(text.replace(/[,%+]/g, "").replace("−", "-"));

function sort(head, heads, body, column) {
  const rows = [...body.rows];
  const text = (row) => row.cells[column].textContent.trim();
  const filled = rows.filter((row) => text(row));
  const numeric = filled.every((row) => NUMBER.test(text(row)));
  const before = head.getAttribute("aria-sort");
  const down = before ? before === "ascending" : numeric; // of numbers, the largest first
  const order = numeric
    ? (a, b) => number(text(a)) - number(text(b))
    : (a, b) => collator.compare(text(a), text(b));
  filled.sort((a, b) => (down ? order(b, a) : order(a, b)));
  body.append(...filled, ...rows.filter((row) => !text(row)));
  heads.forEach((other) => other.removeAttribute("aria-sort"));
  head.setAttribute("aria-sort", down ? "descending" : "ascending");
}

for (const table of document.querySelectorAll(".table table")) {
  const body = table.tBodies[0];
  const heads = [...(table.tHead?.rows[0]?.cells ?? [])];
  const regular = (row) => row.cells.length === heads.length;
  if (table.tHead?.rows.length !== 1 || !(body?.rows.length > 1)) continue;
  if (![...body.rows].every(regular)) continue;
  heads.forEach((head, column) => {
    if (!head.textContent.trim()) return;
    const button = document.createElement("button");
    button.type = "button";
    button.append(...head.childNodes);
    head.append(button);
    button.addEventListener("click", () => sort(head, heads, body, column));
  });
}
