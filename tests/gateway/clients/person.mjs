// The person at a client, as person.py has it, for clients in JavaScript.

import { readFileSync } from 'node:fs';
import { parseArgs } from 'node:util';

export const SAMPLE_RATE_HZ = 24_000;
const FRAME_MS = 20;
const FRAME_BYTES = (SAMPLE_RATE_HZ * FRAME_MS * 2) / 1000;
const WAV_HEADER_BYTES = 44;
const INTERRUPTS_AFTER_MS = 500;

export const INSTRUCTIONS = 'You are a helpful assistant. Answer briefly.';
export const WEATHER = 'Sunny, with twenty one degrees.';
export const WEATHER_TOOL = 'get_weather';
export const WEATHER_DESCRIPTION = 'The weather in a city.';

export class Person {
  #recordings;
  #interrupts;
  #speech = Buffer.alloc(0);
  #reply = [];
  #text = '';
  #audible = () => {};
  #answered = () => {};

  constructor() {
    const { values, positionals } = parseArgs({
      options: { interrupt: { type: 'boolean' } },
      allowPositionals: true,
    });
    const [url, ...recordings] = positionals;
    this.url = url;
    this.realtimeUrl = `${url.replace('http', 'ws')}/v1/realtime`;
    this.#interrupts = values.interrupt;
    this.#recordings = recordings.map((path) => readFileSync(path).subarray(WAV_HEADER_BYTES));
  }

  async talk(send) {
    const began = performance.now();
    let sent = 0;
    const microphone = setInterval(() => {
      for (; sent * FRAME_MS <= performance.now() - began; sent++) {
        const frame = Buffer.alloc(FRAME_BYTES);
        this.#speech.copy(frame, 0, 0, FRAME_BYTES);
        this.#speech = this.#speech.subarray(FRAME_BYTES);
        send(frame.buffer.slice(frame.byteOffset, frame.byteOffset + frame.byteLength));
      }
    }, FRAME_MS);
    for (const [number, recording] of this.#recordings.entries()) {
      const audible = new Promise((resolve) => (this.#audible = resolve));
      const answered = new Promise((resolve) => (this.#answered = resolve));
      this.#speech = recording;
      if (this.#interrupts && number + 1 < this.#recordings.length) {
        await audible;
        await new Promise((resolve) => setTimeout(resolve, INTERRUPTS_AFTER_MS));
      } else {
        await answered;
      }
    }
    clearInterval(microphone);
  }

  transcribed(text) {
    report({ user: text });
  }

  called(args) {
    report({ tool: WEATHER_TOOL, arguments: args });
    return WEATHER;
  }

  hears(pcm) {
    this.#reply.push(Buffer.from(pcm));
    this.#audible();
  }

  reads(text) {
    this.#text += text;
  }

  interrupted() {
    this.#endOfReply(true);
  }

  answered() {
    if (this.#reply.length) {
      this.#endOfReply(false);
      this.#answered();
    }
  }

  failed(error) {
    report({ error: JSON.stringify(error) });
  }

  #endOfReply(interrupted) {
    report({ reply: this.#text, audio: Buffer.concat(this.#reply).toString('base64'), interrupted });
    this.#reply = [];
    this.#text = '';
  }
}

function report(fields) {
  process.stdout.write(`${JSON.stringify(fields)}\n`);
}
