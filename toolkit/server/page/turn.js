// One question, what was done about it, and its answer.

import { count, fold, make } from "./dom.js";
import { render } from "./markdown.js";
import { Timeline } from "./timeline.js";

const LONGEST = 200_000; // characters of an answer that are shown
const ENDS = new Set(["agent_completed", "error"]);

export class Turn {
  #timeline = new Timeline();
  #state = make("p", { className: "turn-state" }, "Asking");
  #answer = make("div", { className: "answer" });
  #approvals = new Map(); // call id → its box
  #actions;
  isOpen = true;

  /** `actions.approve(callId, isApproved)` and `actions.say(text, isAlarm)`. */
  constructor(question, actions) {
    this.#actions = actions;
    const isLong = question.length > 200 || question.includes("\n");
    const title = make("h2", { className: isLong ? "question long" : "question" }, question);
    if (isLong) title.tabIndex = 0; // it scrolls
    const main = make("div", { className: "main" }, this.#state, this.#answer);
    this.element = make(
      "article",
      { className: "turn", "aria-label": "Question and answer" },
      title,
      make("div", { className: "turn-parts" }, this.#timeline.element, main),
    );
  }

  hear(message) {
    const { type, data } = message;
    if (!this.isOpen) return;
    this.#timeline.add(message);
    if (type === "agent_started") this.#show(`${data.agent} is working`, true);
    if (data.approval) this.#ask(data.approval);
    if (data.approval_settled) this.#settle(data.approval_settled.call_id);
    if (type === "agent_completed") this.#complete(data);
    if (type === "error") this.#fail(data);
    if (ENDS.has(type)) this.#end();
  }

  /** End it without an answer: the connection is gone. */
  abandon() {
    if (!this.isOpen) return;
    const message = "The connection was lost before the answer came. Ask again.";
    this.#fail({ code: "connection_lost", message });
    this.#end();
  }

  /** Say that an approval was not taken. */
  refuse(callId, { code, message }) {
    this.#settle(callId);
    this.#actions.say(`${message} (${code})`, true);
  }

  #complete(data) {
    const tools = count(data.tool_calls, "tool call");
    this.#show(`${data.agent}, ${data.seconds.toFixed(2)}\u00a0s, ${tools}`);
    this.#answer.append(render(data.result.slice(0, LONGEST)));
    const left = data.result.length - LONGEST;
    if (left > 0) this.#answer.append(make("p", { className: "quiet" }, `${left} more characters.`));
    this.#actions.say(`${data.agent} answers: ${this.#answer.textContent.slice(0, 600)}`);
    if (data.details !== null) this.#answer.append(fold("Data behind this answer", data.details));
  }

  #fail({ code, message }) {
    this.#show(code === "run_cancelled" ? "Cancelled" : "No answer");
    this.#answer.append(
      make("p", { className: "failure" }, message, " ", make("code", {}, code)),
    );
    this.#actions.say(`${message} (${code})`, true);
  }

  #end() {
    this.isOpen = false;
    for (const callId of this.#approvals.keys()) this.#settle(callId);
    this.#timeline.end();
  }

  #show(text, isWorking = false) {
    this.#state.textContent = text;
    this.#state.classList.toggle("working", isWorking);
  }

  #ask({ call_id: callId, tool, arguments: given }) {
    const decide = (isApproved) => {
      for (const one of box.querySelectorAll("button")) one.disabled = true;
      this.#actions.approve(callId, isApproved);
    };
    const button = (text, isApproved, className = "") => {
      const one = make("button", { type: "button", className }, text);
      one.addEventListener("click", () => decide(isApproved));
      return one;
    };
    const box = make(
      "div",
      { className: "approval", role: "group", "aria-label": `Approval of ${tool}` },
      make("p", {}, make("code", {}, tool), " waits for you. May it run with this?"),
      make("pre", { tabIndex: 0, "aria-label": "Arguments" }, JSON.stringify(given, null, 2)),
      make("div", { className: "buttons" },
        button("Approve", true, "primary"), button("Refuse", false)),
    );
    this.#approvals.set(callId, box);
    this.#answer.before(box);
    box.scrollIntoView({ block: "nearest" });
    this.#actions.say(`${tool} waits for your approval`, true);
  }

  #settle(callId) {
    this.#approvals.get(callId)?.remove();
    this.#approvals.delete(callId);
  }
}
