// The page: who is signed in, what is asked, and what comes back to where.

import { Connection } from "./connection.js";
import { $, count, make } from "./dom.js";
import { useTheme } from "./theme.js";
import { showTools } from "./tools.js";
import { Turn } from "./turn.js";

const connection = new Connection();
const turns = new Map(); // request id → Turn
const approvals = new Map(); // request id of an approval → [Turn, call id]
let registry = { tools: [], absent: [], agents: [] };
let renewal = null; // the new token that the server has not yet taken: [request id, token]
let user = null;

// --- small things ---------------------------------------------------------------------

const newId = () => Array.from(crypto.getRandomValues(new Uint8Array(8)),
  (one) => one.toString(16).padStart(2, "0")).join("");

function say(text, isAlarm = false) {
  $(isAlarm ? "alarm" : "said").textContent = text;
}

function note(text) {
  const time = new Date().toLocaleTimeString([], { hour: "2-digit", minute: "2-digit" });
  $("notes").append(make("li", {}, make("time", {}, time), ` ${text}`));
  if ($("notes").childElementCount > 5) $("notes").firstElementChild.remove();
}

function setState(state, text) {
  $("state").dataset.state = state;
  $("state").textContent = text;
}

const newestOpen = () => [...turns.values()].findLast((one) => one.isOpen);
const idOf = (turn) => [...turns].find(([, one]) => one === turn)[0];

function update() {
  const isIn = user !== null;
  $("sign-in").hidden = isIn;
  for (const id of ["work", "ask", "show-tools", "leave"]) $(id).hidden = !isIn;
  $("welcome").hidden = turns.size > 0;
  $("retry").hidden = $("state").dataset.state !== "lost";
  $("cancel").hidden = !newestOpen();
  $("ask").querySelector("[type=submit]").disabled = !connection.isOpen;
}

// --- signing in and out ---------------------------------------------------------------

$("sign-in-form").addEventListener("submit", async (event) => {
  event.preventDefault();
  const button = event.target.querySelector("button");
  $("sign-in-error").textContent = "";
  button.disabled = true;
  setState("busy", "Signing in");
  try {
    await connection.signIn($("token").value);
    $("token").value = "";
  } catch (error) {
    setState("out", "Not signed in");
    $("sign-in-error").replaceChildren(`${error.message} `, make("code", {}, error.code));
    $("token").focus();
  } finally {
    button.disabled = false;
  }
});

connection.addEventListener("open", () => {
  const isNew = user === null;
  if (connection.who.user !== $("turns").dataset.user) forget();
  user = connection.who.user;
  $("turns").dataset.user = user;
  setState("in", `Connected as ${user}`);
  connection.send("tool_introspection_request");
  update();
  if (isNew) $("message").focus();
});

connection.addEventListener("lost", ({ detail }) => {
  abandon();
  const why = detail.text ? ` (${detail.text})` : "";
  setState("lost", `Connection lost${why}. Next try in ${detail.seconds} s`);
  update();
});

connection.addEventListener("ended", ({ detail }) => {
  leave();
  $("sign-in-error").replaceChildren(`${detail.text} `, make("code", {}, detail.code));
});

$("leave").addEventListener("click", () => {
  connection.close();
  leave();
  forget();
});

$("retry").addEventListener("click", () => connection.retry());
addEventListener("online", () => connection.retry());

function abandon() {
  for (const turn of turns.values()) turn.abandon();
  $("renew").hidden = true;
}

/** Show the sign-in again; what was said stays for the same user. */
function leave() {
  abandon();
  $("tools").close();
  user = null;
  setState("out", "Not signed in");
  update();
  $("token").focus();
}

/** Take away what the last user saw. */
function forget() {
  turns.clear();
  approvals.clear();
  registry = { tools: [], absent: [], agents: [] };
  for (const id of ["turns", "notes", "agents", "tools-body"]) $(id).replaceChildren();
  for (const id of ["message", "token", "new-token"]) $(id).value = "";
  for (const id of ["said", "alarm", "sign-in-error"]) $(id).textContent = "";
}

// --- a token that ends soon -----------------------------------------------------------

$("renew").addEventListener("submit", (event) => {
  event.preventDefault();
  $("renew-error").textContent = "";
  renewal = [newId(), $("new-token").value];
  connection.send("authenticate", { token: renewal[1].trim(), request_id: renewal[0] });
});

function askToRenew() {
  $("renew").hidden = false;
  $("renew-text").textContent =
    "Your token ends within a minute. Show a new one to stay signed in.";
}

function renewed() {
  connection.renewed(renewal[1]);
  renewal = null;
  $("new-token").value = "";
  $("renew").hidden = true;
  note("You stay signed in.");
  say("You stay signed in.");
  $("message").focus();
}

// --- asking ---------------------------------------------------------------------------

$("ask").addEventListener("submit", (event) => {
  event.preventDefault();
  const message = $("message").value.trim();
  if (!message || !connection.isOpen) return;
  const requestId = newId();
  const turn = new Turn(message, {
    say,
    approve: (callId, isApproved) => approve(turn, callId, isApproved),
  });
  turns.set(requestId, turn);
  $("turns").append(turn.element);
  const fields = { message, request_id: requestId };
  if ($("agent").value) fields.agent = $("agent").value;
  connection.send("agent_request", fields);
  $("message").value = "";
  fit();
  update();
  turn.element.scrollIntoView({ block: "start" });
});

function approve(turn, callId, approved) {
  const requestId = newId();
  approvals.set(requestId, [turn, callId]);
  connection.send("tool_approval", { call_id: callId, approved, request_id: requestId });
  $("message").focus();
}

function cancel() {
  const turn = newestOpen();
  if (turn) connection.send("cancel", { request_id: idOf(turn) });
}

function fit() {
  $("message").style.height = "auto";
  $("message").style.height = `${$("message").scrollHeight + 2}px`;
}

$("message").addEventListener("input", fit);
$("message").addEventListener("keydown", (event) => {
  if (event.key !== "Enter" || event.shiftKey || event.isComposing) return;
  event.preventDefault();
  $("ask").requestSubmit();
});
$("cancel").addEventListener("click", () => {
  cancel();
  $("message").focus();
});
addEventListener("keydown", (event) => {
  if (event.key === "Escape" && !$("tools").open && !event.isComposing) cancel();
});

// --- what comes back ------------------------------------------------------------------

connection.addEventListener("message", ({ detail: message }) => {
  const { type, request_id: requestId } = message;
  if (type === "tool_registry_state") return showRegistry(message);
  if (type === "tools_changed") return showChange(message.data);
  if (type === "error" && !message.run_id) return showError(message);
  const turn = turns.get(requestId);
  if (!turn) return;
  turn.hear(message);
  update();
});

function showError(message) {
  const turn = turns.get(message.request_id);
  if (message.code === "token_expires_soon") askToRenew();
  else if (renewal && message.request_id === renewal[0]) {
    renewal = null;
    $("renew-error").replaceChildren(`${message.message} `, make("code", {}, message.code));
  } else if (approvals.has(message.request_id)) {
    const [asked, callId] = approvals.get(message.request_id);
    asked.refuse(callId, message);
  } else if (message.code === "run_not_found") update(); // it ended while we cancelled it
  else if (turn) {
    turn.hear(message);
    update();
  } else if (!message.data.fatal) {
    note(`${message.message} (${message.code})`);
    say(message.message, true);
  }
}

function showRegistry(message) {
  if (renewal && message.request_id === renewal[0]) renewed();
  registry = message.data;
  const chosen = $("agent").value;
  const options = registry.agents.map(({ name }) => make("option", { value: name }, name));
  $("agent").replaceChildren(make("option", { value: "" }, "chosen for me"), ...options);
  $("agent").value = registry.agents.some(({ name }) => name === chosen) ? chosen : "";
  $("agents").replaceChildren(...registry.agents.map(agentButton));
  showPanel();
}

function agentButton({ name, description }) {
  const button = make("button", { type: "button" },
    make("code", {}, name), make("span", {}, description.split("\n")[0]));
  button.addEventListener("click", () => {
    $("agent").value = name;
    $("message").focus();
  });
  return make("li", {}, button);
}

function showChange({ tools, added, removed, changed }) {
  const list = (word, names) => (names.length > 0 ? `${word} ${names.join(", ")}` : "");
  const parts = [list("added", added), list("removed", removed), list("changed", changed)];
  const text = `Your tools have changed: ${parts.filter(Boolean).join("; ")}.`;
  note(text);
  say(text);
  registry = { ...registry, tools };
  showPanel();
  connection.send("tool_introspection_request"); // agents and absent tools may be others too
}

function showPanel() {
  $("show-tools").textContent = count(registry.tools.length, "tool");
  showTools($("tools-body"), registry, connection.who);
}

$("show-tools").addEventListener("click", () => $("tools").showModal());
$("close-tools").addEventListener("click", () => $("tools").close());

useTheme($("theme"));
update();
$("token").focus();
