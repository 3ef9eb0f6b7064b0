// The events of one run, each with the seconds since the run began.

import { count, fold, make } from "./dom.js";

const seconds = (number) => `${number.toFixed(number < 10 ? 2 : 1)}\u00a0s`;
const name = (text) => make("code", {}, text);

const TEXT = {
  agent_started: ({ agent, requested_agent: wanted }) =>
    wanted
      ? [`There is no agent ${wanted}; `, name(agent), " answers"]
      : [name(agent), " began"],
  agent_thinking: ({ thought }) => [thought],
  tool_executing: ({ tool }) => [name(tool), " runs"],
  tool_completed: (data) =>
    data.ok
      ? [name(data.tool), ` done in ${seconds(data.seconds)}`]
      : [name(data.tool), ` failed: ${data.error ?? ""} `, name(data.error_code)],
  agent_completed: (data) => [
    `Answered in ${seconds(data.seconds)}, ${count(data.tool_calls, "tool call")}`,
  ],
  error: ({ code, message }) => [`${message} `, name(code)],
};

function folded(type, data) {
  if (type === "tool_executing" && Object.keys(data.arguments ?? {}).length > 0) {
    return fold("Arguments", data.arguments);
  }
  if (type === "tool_completed" && data.ok) {
    return fold(data.truncated ? "Result, cut to the limit" : "Result", data.result);
  }
  return null;
}

export class Timeline {
  #list = make("ol", { className: "events" });
  #title = make("summary", {}, "Waiting for the agent");
  #startedAt = 0;
  #beat = null; // the last event, if it said only that the run goes on
  #count = 0;

  constructor() {
    this.element = make("details", { className: "timeline", open: true }, this.#title, this.#list);
  }

  add({ type, data, timestamp }) {
    const at = Date.parse(timestamp);
    this.#startedAt ||= at;
    const isBeat = "waiting_for" in data;
    const item = make(
      "li",
      { "data-type": type, className: type === "tool_completed" && !data.ok ? "bad" : "" },
      make("time", {}, seconds(Math.max(0, at - this.#startedAt) / 1000)),
      make("span", { className: "kind" }, type),
      make("span", { className: "what" }, ...TEXT[type](data)),
      folded(type, data),
    );
    if (isBeat && this.#beat) this.#beat.replaceWith(item);
    else {
      this.#list.append(item);
      this.#count += 1;
    }
    this.#beat = isBeat ? item : null;
    this.#title.textContent = count(this.#count, "event");
  }

  /** Make room for the answer where both are below each other. */
  end() {
    this.element.open = matchMedia("(min-width: 64rem)").matches;
  }
}
