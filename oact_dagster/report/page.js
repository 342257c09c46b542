// The report's tables: read from the page's own data, sorted, searched, and shown a window at a time.
"use strict";
(() => {
  const ROW = 26; // height of a row in page.css, px
  const BEYOND = 8; // rows kept above and below the visible ones
  const HIGHEST = 8e6; // about the furthest that browsers scroll, px; longer tables scroll faster
  const ON_PAPER = 60; // rows printed
  const LONG = 20; // characters; wider columns wrap on paper
  const LETTERS = new Intl.NumberFormat("en-US");

  // --- reading -------------------------------------------------------------------------------------------------

  async function read() {
    if (typeof DecompressionStream === "undefined") {
      throw new Error("this browser cannot unpack them (it has no DecompressionStream): open the report in" +
        " Chrome, Chromium or Edge 80, Firefox 113, Safari 16.4, or a newer one");
    }
    const holder = document.getElementById("data");
    const letters = atob(holder.textContent.trim());
    holder.textContent = "";
    const bytes = new Uint8Array(letters.length);
    for (let i = 0; i < letters.length; i++) bytes[i] = letters.charCodeAt(i);
    const stream = new Blob([bytes]).stream().pipeThrough(new DecompressionStream("gzip"));
    return new Response(stream).json();
  }

  function decoded(table) {
    const byKey = new Map();
    for (const column of table.columns) {
      byKey.set(column.key, column);
      if (column.kind === "word") {
        column.codes = Int32Array.from(column.codes);
        column.small = column.words.map((word) => word.toLowerCase());
      } else if (column.kind === "number") {
        const values = new Float64Array(table.rows);
        let last = 0;
        column.values.forEach((value, row) => {
          if (value === null) values[row] = NaN;
          else values[row] = column.steps ? (last += value) : value;
        });
        column.values = values;
      }
    }
    for (const column of table.columns) {
      if (column.kind !== "derived") continue;
      const first = byKey.get(column.first).values, second = byKey.get(column.second).values;
      column.values = first.map((value, row) =>
        column.factor * (column.operation === "/" ? value / (second[row] || NaN) : value * second[row]));
    }
    table.byKey = byKey;
    return table;
  }

  // --- showing values ------------------------------------------------------------------------------------------

  const two = (number) => String(number).padStart(2, "0");

  function duration(seconds) {
    if (seconds < 60) return `${seconds.toFixed(1)} s`;
    const whole = Math.round(seconds);
    return `${Math.floor(whole / 3600)}:${two(Math.floor(whole / 60) % 60)}:${two(whole % 60)}`;
  }

  function time(seconds) {
    const when = new Date(seconds * 1000);
    return `${when.getFullYear()}-${two(when.getMonth() + 1)}-${two(when.getDate())}` +
      ` ${two(when.getHours())}:${two(when.getMinutes())}`;
  }

  function significant(value, digits) {
    if (value === 0) return "0";
    const behind = digits - 1 - Math.floor(Math.log10(Math.abs(value)));
    return value.toFixed(Math.min(Math.max(behind, 0), 20));
  }

  function shown(column, row) {
    if (column.kind === "word") {
      const code = column.codes[row];
      return code < 0 ? "" : column.words[code];
    }
    const value = column.values[row];
    if (Number.isNaN(value)) return "";
    switch (column.shown) {
      case "fixed": return value.toFixed(column.digits);
      case "significant": return significant(value, column.digits);
      case "duration": return duration(value);
      case "time": return time(value);
      default: return String(value);
    }
  }

  // --- sorting and searching -----------------------------------------------------------------------------------

  // Sort keys: numbers, or the alphabetical positions of words; NaN for no value.
  function sortKeys(column) {
    if (column.kind !== "word") return column.values;
    const places = column.words.map((_, code) => code);
    places.sort((a, b) => (column.small[a] < column.small[b] ? -1 : column.small[a] > column.small[b] ? 1 : 0));
    const rank = new Float64Array(places.length);
    places.forEach((code, place) => { rank[code] = place; });
    return Float64Array.from(column.codes, (code) => (code < 0 ? NaN : rank[code]));
  }

  // Rows without a value come last in both directions; equal rows keep their order.
  function sorted(rows, column, direction) {
    const keys = sortKeys(column);
    const there = rows.filter((row) => !Number.isNaN(keys[row]));
    const missing = rows.filter((row) => Number.isNaN(keys[row]));
    there.sort((a, b) => direction * (keys[a] - keys[b]) || a - b);
    const all = new Uint32Array(rows.length);
    all.set(there);
    all.set(missing, there.length);
    return all;
  }

  const COMPARISON = /^([a-z_]+)(>=|<=|>|<|=|:)(.+)$/;

  // Test of a row for one word of a search: `U`, `42`, `status:failed`, `scf>100`; null if no row can pass.
  function condition(table, word) {
    const found = COMPARISON.exec(word);
    const column = found && (table.byKey.get(found[1]) ||
      table.columns.find((one) => one.key.startsWith(found[1]) || one.label.toLowerCase().startsWith(found[1])));
    if (column) {
      const [, , sign, text] = found;
      if (column.kind === "word") {
        const exact = sign === "=";
        const hits = column.small.map((one) => (exact ? one === text : one.includes(text)));
        return (row) => column.codes[row] >= 0 && hits[column.codes[row]];
      }
      const limit = Number(text), values = column.values;
      if (Number.isNaN(limit)) return null;
      switch (sign) {
        case ">": return (row) => values[row] > limit;
        case "<": return (row) => values[row] < limit;
        case ">=": return (row) => values[row] >= limit;
        case "<=": return (row) => values[row] <= limit;
        default: return (row) => values[row] === limit;
      }
    }
    // A bare number is a structure's number, not one of the many in formulas and messages.
    if (/^\d+$/.test(word)) return (row) => table.columns[0].values[row] === Number(word);
    const tests = [];
    for (const one of table.columns) {
      if (one.kind !== "word") continue;
      const hits = Uint8Array.from(one.small, (text) => (text.includes(word) ? 1 : 0));
      if (hits.includes(1)) tests.push((row) => one.codes[row] >= 0 && hits[one.codes[row]] === 1);
    }
    return tests.length ? (row) => tests.some((test) => test(row)) : null;
  }

  // Test of a row for an element symbol, case-sensitive: `U` is uranium, and does not match Pu or Lu.
  function ofElement(table, word) {
    const formula = table.byKey.get("formula");
    if (!formula || !/^[A-Z][a-z]?$/.test(word)) return null;
    const symbol = new RegExp(`${word}(?![a-z])`);
    const hits = formula.words.map((text) => symbol.test(text));
    return hits.includes(true) ? (row) => formula.codes[row] >= 0 && hits[formula.codes[row]] : null;
  }

  function matching(table, search) {
    const words = search.split(/\s+/).filter(Boolean);
    const tests = words.map((word) => ofElement(table, word) || condition(table, word.toLowerCase()));
    const rows = new Uint32Array(table.rows);
    let count = 0;
    if (!tests.includes(null)) {
      for (let row = 0; row < table.rows; row++) {
        if (tests.every((test) => test(row))) rows[count++] = row;
      }
    }
    return rows.subarray(0, count);
  }

  // --- a table in the page -------------------------------------------------------------------------------------

  function element(name, properties = {}, ...children) {
    const made = Object.assign(document.createElement(name), properties);
    made.append(...children);
    return made;
  }

  class TableView {
    constructor(table, place, open) {
      this.table = table;
      this.open = open;
      this.sort = null; // [column, direction]
      this.rows = matching(table, "");
      this.printing = false;
      this.search = element("input", { type: "search", placeholder: place.dataset.hint || "search" });
      this.search.setAttribute("aria-label", `Search the ${table.name}`);
      this.count = element("span", { className: "quiet" });
      this.count.setAttribute("role", "status");
      this.scroller = element("div", { className: "scroller", tabIndex: 0 });
      this.scroller.setAttribute("role", "region");
      this.scroller.setAttribute("aria-label", `Table of the ${table.name}`);
      this.body = element("tbody");
      this.scroller.append(this.made());
      place.replaceChildren(element("div", { className: "tools" }, this.search, this.count), this.scroller);
      let waiting = 0;
      for (const kind of ["input", "change"]) {
        this.search.addEventListener(kind, () => {
          clearTimeout(waiting);
          waiting = setTimeout(() => this.select(), 120);
        });
      }
      let asked = false;
      const later = () => {
        if (asked) return;
        asked = true;
        requestAnimationFrame(() => { asked = false; this.show(); });
      };
      this.scroller.addEventListener("scroll", later, { passive: true });
      new ResizeObserver(later).observe(this.scroller);
      this.body.addEventListener("click", (event) => this.clicked(event));
      this.arrange();
    }

    made() {
      const columns = this.table.columns;
      // Leave room for the heading and its arrow.
      const wide = columns.map((column) => Math.max(column.width, column.label.length + 2));
      const widths = element("colgroup", {}, ...wide.map((width) => {
        const one = element("col");
        one.style.width = `calc(${width}ch + .9rem)`;
        return one;
      }));
      this.heads = columns.map((column) => {
        const button = element("button", { type: "button", textContent: column.label });
        button.addEventListener("click", () => this.sortBy(column));
        const head = element("th", { scope: "col", title: column.title || "" }, button);
        head.className = column.kind === "word" ? "" : "number";
        head.setAttribute("aria-sort", "none");
        return head;
      });
      const table = element("table", {}, widths, element("thead", {}, element("tr", {}, ...this.heads)), this.body);
      const sum = wide.reduce((before, width) => before + width, 0);
      table.style.width = `max(100%, calc(${sum}ch + ${(0.9 * columns.length).toFixed(1)}rem))`;
      this.element = table;
      return table;
    }

    sortBy(column) {
      const [before, direction] = this.sort || [null, 0];
      this.sort = [column, before === column ? -direction : 1];
      this.heads.forEach((head, place) => head.setAttribute("aria-sort",
        this.table.columns[place] !== column ? "none" : this.sort[1] > 0 ? "ascending" : "descending"));
      this.arrange();
    }

    select() {
      this.rows = matching(this.table, this.search.value);
      this.arrange();
    }

    arrange() {
      this.order = this.sort ? sorted(this.rows, ...this.sort) : this.rows;
      const all = LETTERS.format(this.table.rows), some = LETTERS.format(this.order.length);
      this.count.textContent = this.order.length === this.table.rows ? `${all} rows` : `${some} of ${all} rows`;
      this.element.setAttribute("aria-rowcount", this.order.length + 1);
      this.scroller.scrollTop = 0;
      this.show();
    }

    show() {
      const count = this.order.length;
      if (this.printing) {
        this.fill(0, Math.min(count, ON_PAPER), 0, 0);
        return;
      }
      const high = Math.min(count * ROW, HIGHEST);
      // Without a limited height, as on paper, all rows would be visible.
      const seen = Math.min(Math.ceil(this.scroller.clientHeight / ROW) + 1, ON_PAPER);
      const furthest = Math.max(1, high - this.scroller.clientHeight);
      const share = Math.min(1, this.scroller.scrollTop / furthest);
      const top = high < count * ROW ? Math.round(share * Math.max(0, count - seen)) :
        Math.floor(this.scroller.scrollTop / ROW);
      const from = Math.max(0, top - BEYOND), to = Math.min(count, top + seen + BEYOND);
      const above = high < count * ROW ?
        Math.max(0, Math.min(this.scroller.scrollTop - (top - from) * ROW, high - (to - from) * ROW)) : from * ROW;
      this.fill(from, to, above, Math.max(0, high - above - (to - from) * ROW));
    }

    fill(from, to, above, below) {
      const rows = [];
      for (let place = from; place < to; place++) rows.push(this.row(place));
      const focused = document.activeElement;
      const kept = this.body.contains(focused) ? focused.closest("tr").dataset.row : null;
      this.body.replaceChildren(this.space(above), ...rows, this.space(below));
      if (kept !== null) {
        const again = this.body.querySelector(`tr[data-row="${kept}"] button`);
        (again || this.scroller).focus({ preventScroll: true });
      }
    }

    space(height) {
      const cell = element("td", { colSpan: this.table.columns.length });
      cell.style.height = `${height}px`;
      const row = element("tr", { className: "space" }, cell);
      row.setAttribute("aria-hidden", "true");
      return row;
    }

    row(place) {
      const number = this.order[place];
      const made = element("tr");
      made.dataset.row = number;
      made.setAttribute("aria-rowindex", place + 2);
      this.table.columns.forEach((column, at) => {
        const text = shown(column, number);
        const kind = column.kind !== "word" ? "number" : column.width < LONG ? "" : "long";
        const cell = element("td", { className: kind });
        if (at === 0) cell.append(element("button", { type: "button", textContent: text || "?" }));
        else cell.textContent = text;
        if (column.kind === "word" && text.length > column.width) cell.title = text;
        if (column.key === "status" || column.key === "outcome") cell.classList.add(text);
        made.append(cell);
      });
      return made;
    }

    clicked(event) {
      const row = event.target.closest("tr[data-row]");
      // Selecting text to copy must not open the dialog.
      if (row && String(getSelection()) === "") this.open(this.table.columns[0].values[Number(row.dataset.row)]);
    }

    print(on) {
      this.printing = on;
      const more = this.order.length - ON_PAPER;
      if (on && more > 0) {
        this.said = this.count.textContent;
        this.count.textContent = `${this.said}, the first ${ON_PAPER} of them on paper`;
      } else if (!on && this.said) {
        this.count.textContent = this.said;
        this.said = "";
      }
      this.show();
    }
  }

  // --- one structure -------------------------------------------------------------------------------------------

  function rowsOf(table, index) {
    const values = table.columns[0].values, found = [];
    for (let row = 0; row < table.rows; row++) if (values[row] === index) found.push(row);
    return found;
  }

  function fields(table, row) {
    const list = element("dl", { className: "fields" });
    for (const column of table.columns.slice(1)) {
      const text = shown(column, row);
      if (!text) continue;
      const one = element("div", { className: text.length > 40 ? "long" : "" },
        element("dt", { textContent: column.label }), element("dd", { textContent: text }));
      if (column.title) one.title = column.title;
      list.append(one);
    }
    return list;
  }

  function attemptsOf(table, rows) {
    const columns = table.columns.slice(1);
    const head = element("tr", {}, ...columns.map((column) =>
      element("th", { textContent: column.label, className: column.kind === "word" ? "" : "number" })));
    const body = rows.sort((a, b) => table.columns[1].values[a] - table.columns[1].values[b]).map((row) =>
      element("tr", {}, ...columns.map((column) =>
        element("td", { textContent: shown(column, row), className: column.kind === "word" ? "" : "number" }))));
    return element("div", { className: "plain" },
      element("table", {}, element("thead", {}, head), element("tbody", {}, ...body)));
  }

  function detailOf(data, tables, index) {
    const parts = [];
    const [row] = rowsOf(tables.structures, index);
    const name = row === undefined ? "" : shown(tables.structures.byKey.get("formula"), row);
    parts.push(element("h2", { id: "detail-title", textContent: `Structure ${index}${name ? `: ${name}` : ""}` }));
    if (row !== undefined) parts.push(fields(tables.structures, row));
    for (const one of rowsOf(tables.failures, index)) {
      parts.push(element("h3", { textContent: "Failure" }), fields(tables.failures, one));
    }
    const tried = rowsOf(tables.attempts, index);
    if (tried.length) parts.push(element("h3", { textContent: "Attempts" }), attemptsOf(tables.attempts, tried));
    const more = (data.details || {})[index];
    const pictures = (more ? more.pictures : []).map(([title, picture]) => element("figure", {},
      element("figcaption", { textContent: title }),
      element("img", { alt: title, src: `data:image/svg+xml;charset=utf-8,${encodeURIComponent(picture)}` })));
    if (pictures.length) parts.push(element("div", { className: "drawn" }, ...pictures));
    if (more && more.tail) {
      parts.push(element("h3", { textContent: "Last lines of its output" }), element("pre", { textContent: more.tail }));
    }
    return parts;
  }

  // --- all together --------------------------------------------------------------------------------------------

  async function start() {
    const places = [...document.querySelectorAll("[data-table]")];
    let data;
    try {
      data = await read();
    } catch (error) {
      for (const place of places) {
        place.replaceChildren(element("p", { className: "note", textContent: `The tables cannot be shown: ${error.message}.` }));
      }
      return;
    }
    const tables = {};
    for (const table of data.tables) tables[table.key] = decoded(table);
    const dialog = document.getElementById("detail");
    const open = (index) => {
      if (Number.isNaN(index)) return;
      const close = element("button", { type: "button", className: "close", textContent: "Close" });
      close.addEventListener("click", () => dialog.close());
      dialog.replaceChildren(close, ...detailOf(data, tables, index));
      dialog.showModal();
      dialog.scrollTop = 0;
    };
    dialog.addEventListener("click", (event) => { if (event.target === dialog) dialog.close(); });
    const views = places.map((place) => new TableView(tables[place.dataset.table], place, open));
    for (const one of document.querySelectorAll("[data-open]")) {
      one.addEventListener("click", () => open(Number(one.dataset.open)));
    }
    addEventListener("beforeprint", () => views.forEach((view) => view.print(true)));
    addEventListener("afterprint", () => views.forEach((view) => view.print(false)));
    document.documentElement.dataset.ready = Math.round(performance.now());
  }

  start();
})();
