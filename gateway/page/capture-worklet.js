// The microphone's side of the audio thread: pieces of 40 ms at 24 kHz, 16 bit, as the protocol wants them.

import { Resampler } from "./resampler.js";

const WIRE_HZ = 24_000;
const PIECE_S = 0.04;

class Capture extends AudioWorkletProcessor {
  constructor() {
    super();
    this.resampler = new Resampler(sampleRate, WIRE_HZ);
    this.gathered = new Float32Array(Math.round(PIECE_S * sampleRate));
    this.filled = 0;
  }

  /** @param {Float32Array[][]} inputs */
  process([[channel]]) {
    for (let read = 0; channel && read < channel.length; ) {
      const part = channel.subarray(read, read + this.gathered.length - this.filled);
      this.gathered.set(part, this.filled);
      this.filled += part.length;
      read += part.length;
      if (this.filled === this.gathered.length) this.send(currentTime + read / sampleRate);
    }
    return true;
  }

  /** @param {number} capturedAt the audio context's time at the piece's end, s */
  send(capturedAt) {
    const samples = this.resampler.push(this.gathered);
    const pcm = Int16Array.from(samples, (sample) => Math.round(32_767 * Math.max(-1, Math.min(1, sample))));
    const level = Math.sqrt(samples.reduce((sum, sample) => sum + sample * sample, 0) / samples.length);
    this.filled = 0;
    this.port.postMessage({ pcm, capturedAt, level }, [pcm.buffer]);
  }
}

registerProcessor("capture", Capture);
