"use strict";
// Sorting, filtering and the dialog. Without this script all of the page can be read as it is.
(() => {
  const compare = new Intl.Collator("en", { numeric: true }).compare;

  function sortBy(table, column, direction) {
    const sign = direction === "ascending" ? 1 : -1;
    const body = table.tBodies[0];
    const keyed = [...body.rows].map((row) => {
      const cell = row.cells[column];
      const number = cell && cell.dataset.sort !== undefined ? Number(cell.dataset.sort) : null;
      return { row, number, text: cell ? cell.textContent : "" };
    });
    const numeric = keyed.some((item) => item.number !== null);
    keyed.sort((a, b) => {
      if (!numeric) return sign * compare(a.text, b.text);
      if (a.number === null || b.number === null) {
        return (a.number === null ? 1 : 0) - (b.number === null ? 1 : 0); // what is missing, last
      }
      return sign * (a.number - b.number);
    });
    body.append(...keyed.map((item) => item.row));
    for (const head of table.tHead.rows[0].cells) head.removeAttribute("aria-sort");
    table.tHead.rows[0].cells[column].setAttribute("aria-sort", direction);
  }

  function makeSortable(table) {
    if (!table.tHead || table.tBodies[0].rows.length < 2) return;
    [...table.tHead.rows[0].cells].forEach((head, column) => {
      if (head.tagName !== "TH") return; // the empty corner of a table
      const numeric = table.tBodies[0].querySelector(
        `:scope > tr > :nth-child(${column + 1})[data-sort]`);
      const button = document.createElement("button");
      button.type = "button";
      button.append(...head.childNodes);
      button.addEventListener("click", () => {
        const first = numeric ? "descending" : "ascending";
        const other = numeric ? "ascending" : "descending";
        sortBy(table, column, head.getAttribute("aria-sort") === first ? other : first);
      });
      head.append(button);
      if (numeric && !head.classList.contains("text")) head.classList.add("n");
    });
  }

  function makeFilter(table) {
    const box = document.getElementById("filter");
    const input = document.getElementById("filter-text");
    const count = document.getElementById("filter-count");
    const rows = [...table.tBodies[0].rows];
    const apply = () => {
      const words = input.value.toLowerCase().split(/\s+/).filter(Boolean);
      let shown = 0;
      for (const row of rows) {
        row.hidden = !words.every((word) => row.dataset.foundBy.includes(word));
        shown += row.hidden ? 0 : 1;
      }
      count.textContent = `${shown} of ${rows.length} rows`;
    };
    input.addEventListener("input", apply);
    apply();
    box.hidden = false;
  }

  function copyOf(element) {
    const copy = element.cloneNode(true);
    copy.removeAttribute("id");
    for (const inner of copy.querySelectorAll(".see")) inner.remove();
    return copy;
  }

  function makeDialog(table) {
    const dialog = document.getElementById("dialog");
    const content = document.getElementById("dialog-content");
    const title = document.getElementById("dialog-title");
    const close = document.getElementById("dialog-close");
    if (typeof dialog.showModal !== "function") return; // the links lead there all the same
    for (const link of table.querySelectorAll("a[href^='#']")) {
      link.setAttribute("aria-haspopup", "dialog");
    }
    close.addEventListener("click", () => dialog.close());
    dialog.addEventListener("click", (event) => {
      if (event.target === dialog) dialog.close(); // beside it
    });
    table.addEventListener("click", (event) => {
      const link = event.target.closest("a[href^='#']");
      if (!link || event.ctrlKey || event.metaKey || event.shiftKey) return;
      const behind = document.getElementById(link.getAttribute("href").slice(1));
      if (!behind) return;
      event.preventDefault();
      const parts = [copyOf(behind)];
      for (const key of (behind.dataset.protocols || "").split(" ").filter(Boolean)) {
        const protocol = document.getElementById(key);
        const heading = document.createElement("h3");
        heading.textContent = protocol.dataset.title;
        parts.push(heading, copyOf(protocol));
      }
      title.textContent = behind.dataset.title;
      content.replaceChildren(...parts);
      dialog.showModal();
      dialog.scrollTop = 0;
      markScrolling();
    });
  }

  // Only what scrolls is a stop for the tab key.
  function markScrolling() {
    for (const box of document.querySelectorAll(".scroll")) {
      const scrolls = box.scrollWidth > box.clientWidth || box.scrollHeight > box.clientHeight;
      if (scrolls) box.tabIndex = 0;
      else box.removeAttribute("tabindex");
    }
  }

  // A place inside closed parts: open what hides it.
  function openTarget() {
    const target = location.hash && document.getElementById(location.hash.slice(1));
    for (let at = target; at; at = at.parentElement) if (at.tagName === "DETAILS") at.open = true;
  }

  const numbers = document.getElementById("numbers");
  document.querySelectorAll("section:not(#behind) > .scroll > table").forEach(makeSortable);
  makeFilter(numbers);
  makeDialog(numbers);
  window.addEventListener("hashchange", openTarget);
  window.addEventListener("resize", markScrolling);
  document.addEventListener("toggle", markScrolling, true);
  openTarget();
  markScrolling();
})();
