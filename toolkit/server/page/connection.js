// One connection to /ws that comes back by itself. The token lives here, in memory only.

const PING = 20_000; // milliseconds; two without any answer, and the connection is dead
const LONGEST = 30_000;
const SIGN_IN_AGAIN = new Set([400, 401, 403]);
const POLICY = 1008;

/** What the server, or this page, says against a sign-in or a connection. */
class Refused extends Error {
  constructor(code, message, status = 0, retryAfter = 0) {
    super(message);
    Object.assign(this, { code, status, retryAfter });
  }
}

/** Return what a token says, for show: only the server verifies it. */
function claims(token) {
  try {
    const part = token.split(".")[1].replaceAll("-", "+").replaceAll("_", "/");
    const bytes = Uint8Array.from(atob(part), (one) => one.charCodeAt(0));
    const said = JSON.parse(new TextDecoder().decode(bytes));
    const scopes = typeof said.scope === "string" ? said.scope.split(" ") : said.scope;
    return { user: String(said.sub), scopes: [scopes ?? []].flat().filter(Boolean) };
  } catch {
    return { user: "unknown", scopes: [] };
  }
}

/**
 * Tells of `open`, `lost` (with seconds until the next try), `ended` (sign in again; with
 * code and text) and `message`.
 */
export class Connection extends EventTarget {
  #token = "";
  #socket = null;
  #tries = 0;
  #timer = 0;
  #pinger = 0;
  #isAnswered = true;
  #attempt = 0; // grows when what is under way no longer counts
  #last = null; // the last error that ended a connection
  who = null;

  get isOpen() {
    return this.#socket?.readyState === WebSocket.OPEN;
  }

  /** Sign in; throws `Refused` when that does not succeed at once. */
  async signIn(text) {
    const token = text.replaceAll(/\s/g, "");
    if (!/^[\w-]+\.[\w-]+\.[\w-]+$/.test(token)) {
      throw new Refused("malformed", "A token has three parts with dots between them.");
    }
    this.close();
    this.#token = token;
    try {
      await this.#open();
    } catch (error) {
      this.#token = "";
      throw error;
    }
  }

  /** Send a command; returns whether there is a connection to send it on. */
  send(type, fields = {}) {
    if (this.isOpen) this.#socket.send(JSON.stringify({ type, ...fields }));
    return this.isOpen;
  }

  /** Use another token of the same user from now on. */
  renewed(text) {
    this.#token = text.replaceAll(/\s/g, "");
    this.who = claims(this.#token);
  }

  /** Try again at once, if it is lost. */
  retry() {
    if (!this.#timer) return;
    clearTimeout(this.#timer);
    this.#reopen();
  }

  /** End it, and forget the token. */
  close() {
    clearTimeout(this.#timer);
    this.#timer = 0;
    this.#attempt += 1;
    this.#token = "";
    this.#drop()?.close(1000);
  }

  async #open() {
    const scheme = location.protocol === "https:" ? "wss:" : "ws:";
    const protocols = ["toolkit.v1", `bearer.${this.#token}`];
    const socket = new WebSocket(`${scheme}//${location.host}/ws`, protocols);
    this.#socket = socket;
    this.#last = null;
    const isOpen = await new Promise((resolve) => {
      socket.addEventListener("open", () => resolve(true), { once: true });
      socket.addEventListener("close", () => resolve(false), { once: true });
    });
    if (socket !== this.#socket) throw new Refused("given_up", "Signed out.");
    if (!isOpen) {
      this.#drop();
      throw await this.#why();
    }
    socket.addEventListener("message", (event) => this.#hear(JSON.parse(event.data)));
    socket.addEventListener("close", (event) => socket === this.#socket && this.#lose(event));
    this.#tries = 0;
    this.#isAnswered = true;
    this.#pinger = setInterval(() => this.#ping(), PING);
    this.who = claims(this.#token);
    this.#tell("open");
  }

  /** A browser does not say why a websocket was refused; the same over HTTP does. */
  async #why() {
    try {
      const headers = { authorization: `Bearer ${this.#token}` };
      const response = await fetch("/tools", { headers, cache: "no-store" });
      if (response.ok) {
        const text = "The server lets you in, but websockets to it do not open.";
        return new Refused("no_websocket", text);
      }
      const { code, message, retry_after: after } = await response.json();
      return new Refused(code, message, response.status, after);
    } catch {
      return new Refused("no_answer", "The server does not answer.");
    }
  }

  async #reopen() {
    const attempt = this.#attempt;
    this.#timer = 0;
    try {
      await this.#open();
    } catch (error) {
      if (attempt !== this.#attempt) return;
      if (SIGN_IN_AGAIN.has(error.status)) this.#end(error.code, error.message);
      else this.#wait(error.message, error.retryAfter);
    }
  }

  #hear(message) {
    this.#isAnswered = true;
    if (message.type === "error" && message.data.fatal) this.#last = message;
    if (message.type !== "pong") this.#tell("message", message);
  }

  #ping() {
    if (!this.#isAnswered) this.#lose({ code: 0, reason: "nothing is heard from it" });
    this.#isAnswered = false;
    this.send("ping");
  }

  #lose({ code, reason }) {
    this.#drop()?.close();
    const text = this.#last?.message ?? reason;
    if (code === POLICY) this.#end(this.#last?.code ?? "refused", text || "You were let go.");
    else this.#wait(text);
  }

  #wait(text, minimum = 0) {
    const backOff = Math.min(LONGEST, 500 * 2 ** this.#tries) * (0.75 + Math.random() / 2);
    const milliseconds = Math.max(backOff, (minimum ?? 0) * 1000);
    this.#tries += 1;
    this.#timer = setTimeout(() => this.#reopen(), milliseconds);
    this.#tell("lost", { text, seconds: Math.max(1, Math.round(milliseconds / 1000)) });
  }

  #end(code, text) {
    this.close();
    this.#tell("ended", { code, text });
  }

  #drop() {
    const socket = this.#socket;
    this.#socket = null;
    clearInterval(this.#pinger);
    return socket;
  }

  #tell(type, detail = null) {
    this.dispatchEvent(new CustomEvent(type, { detail }));
  }
}
