/**
 * What was played of an item until it was interrupted.
 * @typedef {{itemId: string, contentIndex: number, playedMs: number}} Played
 */

/** Plays spoken items one after another, and tells by the page's clock when. */
export class Speaker {
  /** @param {AudioContext} context */
  constructor(context) {
    this.context = context;
    /** @type {(itemId: string, at: number) => void} */
    this.onStarted = () => {};
    /** @type {(itemId: string) => void} */
    this.onFinished = () => {};
    /** @type {(played: Played[], at: number) => void} silent, at this moment */
    this.onCleared = () => {};
    /** @type {Set<string>} items that are not over */
    this.items = new Set();
    this.playback = new AudioWorkletNode(context, "playback", { numberOfInputs: 0, outputChannelCount: [1] });
    this.playback.port.onmessage = ({ data }) => this.receive(data);
    this.playback.connect(context.destination);
  }

  /** Whether there is anything to interrupt. */
  get playing() {
    return this.items.size > 0;
  }

  /**
   * @param {string} itemId
   * @param {number} contentIndex
   * @param {Int16Array} pcm the item's next, at 24 kHz
   */
  play(itemId, contentIndex, pcm) {
    this.items.add(itemId);
    this.playback.port.postMessage({ type: "play", itemId, contentIndex, pcm }, [pcm.buffer]);
  }

  /** Nothing more comes of any item. */
  end() {
    for (const itemId of this.items) this.playback.port.postMessage({ type: "end", itemId });
  }

  /** Silence at once. */
  clear() {
    this.items.clear();
    this.playback.port.postMessage({ type: "clear" });
  }

  /** @param {any} message of the worklet */
  receive({ type, itemId, at, played }) {
    const moment = performance.now() + 1000 * (at + this.latency - this.context.currentTime);
    if (type === "cleared") this.onCleared(played.map(this.heard, this), moment);
    if (type === "started") this.onStarted(itemId, moment);
    if (type === "finished" && this.items.delete(itemId)) this.onFinished(itemId);
  }

  /**
   * What is on its way to the ear was not heard yet.
   * @param {Played} item
   */
  heard({ playedMs, ...item }) {
    return { ...item, playedMs: Math.max(0, Math.round(playedMs - 1000 * this.latency)) };
  }

  /** From the worklet to the ear, s; some browsers do not know it. */
  get latency() {
    return this.context.outputLatency || this.context.baseLatency || 0;
  }
}
