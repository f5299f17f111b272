// The loudspeaker's side of the audio thread: a queue of spoken items, of which it is known to the sample how
// much was played.

import { Resampler } from "./resampler.js";

const WIRE_HZ = 24_000;
/** Sound fades in over so long, and out about as fast, so that no start, gap or interruption clicks. */
const FADE_S = 0.002;

/**
 * One item of the conversation, as far as it came.
 * @typedef {{itemId: string, contentIndex: number, resampler: Resampler, played: number, ended: boolean,
 *   segments: Float32Array[], read: number}} Item
 */

class Playback extends AudioWorkletProcessor {
  constructor() {
    super();
    /** @type {Item[]} the first is being played */
    this.items = [];
    this.gain = 0;
    this.last = 0;
    this.fade = 1 / (FADE_S * sampleRate);
    this.port.onmessage = ({ data }) => this.receive(data);
  }

  /** @param {{type: "play" | "end" | "clear", itemId: string, contentIndex: number, pcm: Int16Array}} message */
  receive({ type, itemId, contentIndex, pcm }) {
    if (type === "clear") return this.clear();
    let item = this.items.find((other) => other.itemId === itemId);
    if (!item) {
      if (type === "end") return;
      const resampler = new Resampler(WIRE_HZ, sampleRate);
      item = { itemId, contentIndex, resampler, played: 0, ended: false, segments: [], read: 0 };
      this.items.push(item);
    }
    if (type === "play") {
      item.segments.push(item.resampler.push(Float32Array.from(pcm, (sample) => sample / 32_768)));
    } else {
      item.segments.push(item.resampler.flush());
      item.ended = true;
    }
  }

  /** Silence, from the next sample on; what was played of each item is told. */
  clear() {
    const played = this.items.map(({ itemId, contentIndex, played }) => ({
      itemId,
      contentIndex,
      playedMs: Math.round((1000 * played) / sampleRate),
    }));
    this.items = [];
    this.port.postMessage({ type: "cleared", at: currentTime, played });
  }

  /**
   * @param {Float32Array[][]} _inputs
   * @param {Float32Array[][]} outputs
   */
  process(_inputs, [[output]]) {
    for (let n = 0; n < output.length; n++) {
      const sample = this.next(n);
      if (sample === undefined) {
        this.gain = 0;
        this.last *= 1 - 2 * this.fade;
      } else {
        this.gain = Math.min(1, this.gain + this.fade);
        this.last = sample * this.gain;
      }
      output[n] = this.last;
    }
    return true;
  }

  /**
   * @param {number} frame of the current block
   * @returns {number | undefined} the next sample to be played, if there is one by now
   */
  next(frame) {
    while (this.items.length > 0) {
      const item = this.items[0];
      while (item.segments.length > 0 && item.read === item.segments[0].length) {
        item.segments.shift();
        item.read = 0;
      }
      if (item.segments.length > 0) {
        if (item.played++ === 0) this.tell("started", item, frame);
        return item.segments[0][item.read++];
      }
      if (!item.ended) return undefined;
      this.items.shift();
      this.tell("finished", item, frame);
    }
    return undefined;
  }

  /**
   * @param {"started" | "finished"} type
   * @param {Item} item
   * @param {number} frame
   */
  tell(type, item, frame) {
    this.port.postMessage({ type, itemId: item.itemId, at: currentTime + frame / sampleRate });
  }
}

registerProcessor("playback", Playback);
