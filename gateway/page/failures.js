/**
 * What the codes of the server's errors come to.
 * @type {Record<string, string>}
 */
const CODES = {
  invalid_api_key: "keyWanted",
  origin_not_allowed: "originRefused",
  session_limit_reached: "full",
  rate_limit_exceeded: "tooOften",
};

/**
 * What can go wrong, and what the person can do about it.
 * @type {Record<string, [what: string, todo: string]>}
 */
const FAILURES = {
  insecure: [
    "This page is not secure, so the browser keeps the microphone from it.",
    "Open it over https, or on the server's own machine as http://localhost.",
  ],
  unsupported: ["This browser cannot process sound for a conversation.", "Use a current Firefox, Chrome, Edge or Safari."],
  noMicrophone: ["No microphone was found.", "Connect one, or enable it in the system's settings, and start again."],
  noPermission: [
    "The microphone is not allowed.",
    "Allow it for this page (in the address bar, or the browser's settings), and start again.",
  ],
  microphoneBusy: [
    "The microphone cannot be opened.",
    "Another program may be using it: close that, and start again.",
  ],
  microphoneLost: ["The microphone was disconnected.", "Connect it, and start again."],
  keyWanted: ["This server wants a key.", "Enter the one that you were given. It is kept until you close this tab."],
  keyWrong: ["The server does not know this key.", "Check it, and enter it again."],
  originRefused: [
    "The server does not talk to pages from this address.",
    "Open the page at the server's own address, or have its operator allow this one.",
  ],
  full: ["All places for conversations are taken.", "Start again in a minute."],
  tooOften: ["There were too many requests with this key.", "Start again in a minute."],
  cold: ["The server is starting, which can take a minute.", "Wait: it is asked again by itself."],
  notStarted: ["The server did not start in time.", "Start again; if that does not help, ask its operator."],
  unreachable: ["The server cannot be reached.", "Check your connection, and that the server is running; then start again."],
  lost: ["The connection was lost.", "Wait: it is tried again by itself. What was said so far is kept."],
  gone: ["The connection was lost and did not come back.", "Check your network, and start again."],
  closed: ["The server ended the conversation.", "Start again."],
  slow: ["This takes longer than usual.", "Wait: a model is probably being started, which can take a minute."],
  turnFailed: ["This answer failed.", "Say it again."],
  refused: ["The server refused the conversation.", "Start again; if that does not help, ask its operator."],
};

/** Something went wrong that the person is told. */
export class Failure extends Error {
  /**
   * @param {string} kind of FAILURES
   * @param {string} [detail] what the server said about it
   */
  constructor(kind, detail = "") {
    const [what, todo] = FAILURES[kind];
    super(what);
    this.kind = kind;
    this.todo = todo;
    this.detail = detail;
  }

  /** @param {unknown} error of getUserMedia */
  static ofMicrophone(error) {
    const name = error instanceof Error ? error.name : "";
    if (name === "NotFoundError" || name === "OverconstrainedError") return new Failure("noMicrophone");
    if (name === "NotAllowedError" || name === "SecurityError") return new Failure("noPermission");
    return new Failure("microphoneBusy");
  }

  /**
   * @param {number} status of an HTTP answer
   * @param {{code?: string, message?: string} | undefined} error of its body; none if a proxy answers
   */
  static ofStatus(status, error) {
    const kind = CODES[error?.code ?? ""];
    if (kind) return new Failure(kind);
    if (status === 502 || status === 503 || status === 504) return new Failure("cold");
    return new Failure("refused", error?.message ?? `HTTP ${status}`);
  }

  /**
   * @param {{code: number, reason: string}} close of a WebSocket
   * @param {string | undefined} lastError the code of the last error event
   */
  static ofClose({ code, reason }, lastError) {
    const kind = CODES[lastError ?? ""];
    // Its secret has expired, or is of another process of a server without keys: with them all know each secret.
    if (kind === "keyWanted") return new Failure("lost");
    if (kind) return new Failure(kind);
    return code === 1000 || code === 1008 ? new Failure("closed", reason) : new Failure("lost");
  }
}
