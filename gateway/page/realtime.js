import { Failure } from "./failures.js";

const SECRET_S = 120;
const KEY = "s2s-key"; // in the tab's session storage

/** A key that a person typed, for as long as the tab is open; none is needed where the server has none. */
export const typedKey = {
  /** @param {string} key */
  keep(key) {
    sessionStorage.setItem(KEY, key);
  },
  forget() {
    sessionStorage.removeItem(KEY);
  },
  /** @returns {string | null} */
  get value() {
    return sessionStorage.getItem(KEY);
  },
};

/** A connection to the server that speaks the Realtime protocol: events out, events in. */
export class Realtime {
  /** @param {WebSocket} socket */
  constructor(socket) {
    this.socket = socket;
    /** @type {(event: any) => void} */
    this.onEvent = () => {};
    /** @type {(failure: Failure) => void} called once, unless this side closes */
    this.onClosed = () => {};
    /** @type {string | undefined} */
    this.lastError = undefined;
    socket.onmessage = ({ data }) => this.receive(JSON.parse(data));
    socket.onclose = ({ code, reason }) => this.onClosed(Failure.ofClose(code, reason, this.lastError));
  }

  /**
   * A new session, once the server has said that there is one.
   * @returns {Promise<Realtime>}
   */
  static async open() {
    const secret = await clientSecret();
    const url = new URL("v1/realtime", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const realtime = new Realtime(new WebSocket(url, ["realtime", `openai-insecure-api-key.${secret}`]));
    await new Promise((resolve, reject) => {
      realtime.onEvent = ({ type }) => type === "session.created" && resolve(undefined);
      realtime.onClosed = reject;
    });
    return realtime;
  }

  /** @param {any} event */
  receive(event) {
    if (event.type === "error") this.lastError = event.error.code;
    this.onEvent(event);
  }

  /**
   * @param {object} event
   * @returns {boolean} whether there is a connection that takes it
   */
  send(event) {
    if (this.socket.readyState !== WebSocket.OPEN) return false;
    this.socket.send(JSON.stringify(event));
    return true;
  }

  close() {
    this.onClosed = () => {};
    this.socket.close(1000);
  }
}

/**
 * A key for this page alone, valid for two minutes: long enough to open a session with it.
 * @returns {Promise<string>}
 */
async function clientSecret() {
  const answer = await fetch(new URL("v1/realtime/client_secrets", document.baseURI), {
    method: "POST",
    headers: {
      "Content-Type": "application/json",
      ...(typedKey.value && { Authorization: `Bearer ${typedKey.value}` }),
    },
    body: JSON.stringify({
      expires_after: { anchor: "created_at", seconds: SECRET_S },
      session: { type: "realtime" },
    }),
  }).catch(() => {
    throw new Failure("unreachable");
  });
  const body = await answer.json().catch(() => ({}));
  if (answer.ok) return body.value;
  const known = typedKey.value !== null;
  if (answer.status === 401) typedKey.forget();
  throw answer.status === 401 && known ? new Failure("keyWrong") : Failure.ofStatus(answer.status, body.error);
}

/**
 * @param {Int16Array} samples
 * @returns {string} little-endian, as every browser's machine has them
 */
export function toBase64(samples) {
  return btoa(String.fromCharCode(...new Uint8Array(samples.buffer, samples.byteOffset, samples.byteLength)));
}

/**
 * @param {string} base64
 * @returns {Int16Array}
 */
export function fromBase64(base64) {
  return new Int16Array(Uint8Array.from(atob(base64), (character) => character.charCodeAt(0)).buffer);
}
