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
    /** @type {any[]} events that nobody has listened to yet */
    this.pending = [];
    /** @type {(event: any) => void} */
    this.onEvent = (event) => this.pending.push(event);
    /** @type {string | undefined} */
    let lastError;
    /** The server has said that there is a session. */
    this.created = new Promise((resolve) => {
      socket.onmessage = ({ data }) => {
        const event = JSON.parse(data);
        if (event.type === "session.created") resolve(undefined);
        if (event.type === "error") lastError = event.error.code;
        this.onEvent(event);
      };
    });
    /** @type {Promise<Failure>} how it ended */
    this.closed = new Promise((resolve) => {
      socket.onclose = (close) => resolve(Failure.ofClose(close, lastError));
    });
  }

  /**
   * A new session.
   * @returns {Promise<Realtime>}
   */
  static async open() {
    const secret = await clientSecret();
    const url = new URL("v1/realtime", document.baseURI);
    url.protocol = url.protocol.replace("http", "ws");
    const realtime = new Realtime(new WebSocket(url, ["realtime", `openai-insecure-api-key.${secret}`]));
    const failure = await Promise.race([realtime.created, realtime.closed]);
    if (failure) throw failure;
    return realtime;
  }

  /** @param {(event: any) => void} onEvent is called with all events, those that have come already first */
  listen(onEvent) {
    this.onEvent = onEvent;
    this.pending.splice(0).forEach(onEvent);
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
  const failure = Failure.ofStatus(answer.status, body.error);
  if (failure.kind !== "keyWanted" || typedKey.value === null) throw failure;
  typedKey.forget();
  throw new Failure("keyWrong");
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
