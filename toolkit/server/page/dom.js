// Makes elements. Text always becomes a text node, so that nothing of it is ever markup.

export const $ = (id) => document.getElementById(id);

/** Make an element: `make("p", { className: "quiet" }, "text", otherElement)`. */
export function make(tag, properties = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(properties)) {
    if (name.includes("-")) element.setAttribute(name, value);
    else element[name] = value;
  }
  element.append(...children.filter((one) => one !== null && one !== undefined));
  return element;
}

const SHOWN = 20_000; // characters of one value; more makes a page slow

/** Make a part that folds, and is written when it is opened first. */
export function fold(title, value) {
  const details = make("details", { className: "fold" }, make("summary", {}, title));
  details.addEventListener("toggle", () => {
    if (details.childElementCount > 1) return;
    const text = typeof value === "string" ? value : JSON.stringify(value, null, 2);
    const left = text.length - SHOWN;
    details.append(
      make("pre", { tabIndex: 0, "aria-label": title }, text.slice(0, SHOWN)),
      left > 0 ? make("p", { className: "quiet" }, `${left} more characters.`) : "",
    );
  });
  return details;
}

/** Tell a number and what it counts: "1 tool", "2 tools". */
export const count = (number, word) => `${number} ${word}${number === 1 ? "" : "s"}`;
