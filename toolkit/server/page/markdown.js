// Shows an answer. The text comes from agents, tools and their data, so nothing in it is
// trusted: elements are made one by one, and a link leads to http or https or nowhere.

import { make } from "./dom.js";

const DEPTH = 6; // of lists within lists, and of emphasis within emphasis
const FENCE = /^ {0,3}(```+|~~~+)/;
const HEADING = /^ {0,3}(#{1,6}) +(.*)$/;
const RULE = /^ {0,3}([-*_])( *\1){2,} *$/;
const ITEM = /^( *)([-*+]|\d{1,9}[.)]) +(.*)$/;
const QUOTE = /^ {0,3}> ?(.*)$/;
const NUMBER = /^(-|[-+]?[\d.,]+( ?(%|[A-Z]{3}))?)?$/; // 7, +1,200.50 USD, 3.1 %, or none
const DIVIDER = /^:?-+:?$/;

/** Lines that are read once, from the first to the last. */
class Lines {
  #all;
  #at = 0;

  constructor(text) {
    this.#all = text.split(/\r?\n/);
  }

  get areLeft() {
    return this.#at < this.#all.length;
  }

  peek(ahead = 0) {
    return this.#all[this.#at + ahead] ?? "";
  }

  next() {
    this.#at += 1;
    return this.#all[this.#at - 1] ?? "";
  }
}

/** Return a fragment that shows the text. */
export function render(text, depth = 0) {
  const lines = new Lines(text);
  const shown = document.createDocumentFragment();
  while (lines.areLeft) {
    if (lines.peek().trim() === "") lines.next();
    else shown.append(block(lines, depth));
  }
  return shown;
}

/** Take the lines of one block; return its element. */
function block(lines, depth) {
  const line = lines.peek();
  if (FENCE.test(line)) return fenced(lines);
  const heading = HEADING.exec(line);
  if (heading) {
    lines.next();
    // the page has h1, and the question above is h2
    const level = Math.min(heading[1].length + 2, 6);
    return inline(make(`h${level}`), heading[2].trimEnd().replace(/ #+$/, "").trimEnd());
  }
  if (RULE.test(line)) {
    lines.next();
    return make("hr");
  }
  if (isTable(lines)) return table(lines);
  if (QUOTE.test(line) && depth < DEPTH) return quote(lines, depth);
  if (ITEM.test(line) && depth < DEPTH) return list(lines, depth);
  return paragraph(lines);
}

function fenced(lines) {
  const [, mark] = FENCE.exec(lines.next());
  const code = [];
  while (lines.areLeft && !lines.peek().trim().startsWith(mark)) code.push(lines.next());
  lines.next();
  return make("pre", { tabIndex: 0 }, make("code", {}, code.join("\n")));
}

function quote(lines, depth) {
  const inner = [];
  while (lines.areLeft && QUOTE.test(lines.peek())) inner.push(QUOTE.exec(lines.next())[1]);
  return make("blockquote", {}, render(inner.join("\n"), depth + 1));
}

function list(lines, depth) {
  const [, indent, mark] = ITEM.exec(lines.peek());
  const isOrdered = /\d/.test(mark);
  const shown = make(isOrdered ? "ol" : "ul");
  if (isOrdered) shown.start = Number.parseInt(mark, 10);
  for (let item = next(); item; item = next()) {
    const inner = [item[3]];
    lines.next();
    while (lines.areLeft && belongs(indent.length)) inner.push(undent(lines.next()));
    const body = render(inner.join("\n"), depth + 1);
    const only = body.children.length > 0 && body.children[0];
    if (only && only.tagName === "P") only.replaceWith(...only.childNodes); // tight
    shown.append(make("li", {}, body));
  }
  return shown;

  function next() {
    const item = lines.areLeft ? ITEM.exec(lines.peek()) : null;
    return item && item[1].length === indent.length && /\d/.test(item[2]) === isOrdered
      ? item
      : null;
  }

  function belongs(width) {
    if (lines.peek().trim() !== "") return lines.peek().search(/\S/) > width;
    return /\S/.test(lines.peek(1)) && lines.peek(1).search(/\S/) > width;
  }

  function undent(line) {
    return line.replace(new RegExp(`^ {0,${indent.length + mark.length + 1}}`), "");
  }
}

function isTable(lines) {
  const below = lines.peek(1);
  if (!lines.peek().includes("|") || !below.includes("|")) return false;
  return cells(below).every((one) => DIVIDER.test(one));
}

function table(lines) {
  const titles = cells(lines.next());
  const sides = cells(lines.next()).map((one) => one.endsWith(":"));
  const rows = [];
  while (lines.areLeft && lines.peek().includes("|")) rows.push(cells(lines.next()));
  const isNumbers = titles.map((_, column) =>
    sides[column] || (rows.length > 0 && rows.every((row) => NUMBER.test(row[column] ?? ""))));
  const write = (tag, texts) =>
    titles.map((_, column) =>
      inline(make(tag, { className: isNumbers[column] ? "number" : "" }), texts[column] ?? ""),
    );
  const head = make("thead", {}, make("tr", {}, ...write("th", titles)));
  for (const one of head.querySelectorAll("th")) one.scope = "col";
  const body = make("tbody", {}, ...rows.map((row) => make("tr", {}, ...write("td", row))));
  // a wide table moves within this, reachable by keyboard
  const frame = { className: "wide", tabIndex: 0, role: "region", "aria-label": "Table" };
  return make("div", frame, make("table", {}, head, body));
}

/** Return the texts between the bars of a line; `\|` is no bar. */
function cells(line) {
  const parts = line.trim().replace(/^\|/, "").replace(/(?<!\\)\|$/, "").split(/(?<!\\)\|/);
  return parts.map((one) => one.replaceAll("\\|", "|").trim());
}

function paragraph(lines) {
  const text = [lines.next()];
  while (lines.areLeft && !ends(lines)) text.push(lines.next());
  return inline(make("p"), text.join("\n"));
}

function ends(lines) {
  const starts = [FENCE, HEADING, RULE, ITEM, QUOTE];
  return lines.peek().trim() === "" || starts.some((one) => one.test(lines.peek())) || isTable(lines);
}

const INLINE = [
  /(`+)(?<code>[^`]{1,2000})\1/,
  /!?\[(?<label>[^[\]\n]{0,500})\]\((?<address>[^\s()]{0,2000})\)/,
  /(?<bare>https?:\/\/[^\s<>"'`|]{1,1000}[^\s<>"'`|.,;:!?)\]])/,
  /\*\*(?<strong>[^\s*][^*\n]{0,1000}?)\*\*/,
  /(?<![\w*])\*(?<em>[^\s*][^*\n]{0,1000}?)\*(?![\w*])/,
  /(?<![\w_])_(?<under>[^\s_][^_\n]{0,1000}?)_(?![\w_])/,
];
const ANY = new RegExp(INLINE.map((one) => one.source.replace("\\1", "\\k<tick>")
  .replace("(`+)", "(?<tick>`+)")).join("|"), "g");

/** Write text with its emphasis, code and links into an element; return that. */
function inline(element, text, depth = 0) {
  let end = 0;
  for (const found of depth < DEPTH ? text.matchAll(ANY) : []) {
    element.append(plain(text.slice(end, found.index)), piece(found, depth));
    end = found.index + found[0].length;
  }
  element.append(plain(text.slice(end)));
  return element;
}

function piece(found, depth) {
  const { code, label, address, bare, strong, em, under } = found.groups;
  if (code !== undefined) return make("code", {}, code);
  if (bare !== undefined) return link(bare, make("span", {}, bare), bare);
  if (label !== undefined) {
    return link(address, inline(make("span"), label, depth + 1), found[0]);
  }
  if (strong !== undefined) return inline(make("strong"), strong, depth + 1);
  return inline(make("em"), em ?? under, depth + 1);
}

/** Return a link to an address of the web; for any other, the text as it was written. */
function link(address, label, written) {
  let url;
  try {
    url = new URL(address);
  } catch {
    return written;
  }
  if (url.protocol !== "https:" && url.protocol !== "http:") return written;
  const properties = { href: url.href, target: "_blank", rel: "noopener noreferrer nofollow" };
  return make("a", properties, label);
}

/** Take the backslash off what was escaped. */
const plain = (text) => text.replace(/\\([\\`*_{}[\]()#+\-.!|>])/g, "$1");
