import { Failure } from "./failures.js";

const WIRE_SAMPLES_PER_MS = 24;

/** The microphone, with the browser's own echo cancellation, as pieces of 40 ms at 24 kHz. */
export class Microphone {
  /**
   * @param {AudioContext} context
   * @param {MediaStream} stream
   */
  constructor(context, stream) {
    this.context = context;
    this.stream = stream;
    /** @type {(pcm: Int16Array) => boolean} whether the piece was sent */
    this.onPiece = () => false;
    /** Called when it is unplugged. */
    this.onEnded = () => {};
    /** How loud it is now, 0 to 1. */
    this.level = 0;
    /** What was sent in this session, and when the last of it was recorded, by the page's clock. */
    this.sentSamples = 0;
    this.sentAt = 0;
    const capture = new AudioWorkletNode(context, "capture", { numberOfOutputs: 0, channelCount: 1, channelCountMode: "explicit" });
    capture.port.onmessage = ({ data }) => this.receive(data);
    context.createMediaStreamSource(stream).connect(capture);
    stream.getAudioTracks()[0].addEventListener("ended", () => this.onEnded());
  }

  /**
   * Ask the person for the microphone.
   * @returns {Promise<MediaStream>}
   */
  static async open() {
    try {
      return await navigator.mediaDevices.getUserMedia({
        audio: { echoCancellation: true, noiseSuppression: true, autoGainControl: true, channelCount: 1 },
      });
    } catch (error) {
      throw Failure.ofMicrophone(error);
    }
  }

  /** Count time anew: a new session has begun. */
  restart() {
    this.sentSamples = 0;
    this.sentAt = 0;
  }

  /** @param {{pcm: Int16Array, capturedAt: number, level: number}} piece */
  receive({ pcm, capturedAt, level }) {
    this.level = level;
    if (!this.onPiece(pcm)) return;
    this.sentSamples += pcm.length;
    this.sentAt = performance.now() - 1000 * (this.context.currentTime - capturedAt);
  }

  /**
   * When a sound of the session was made, by the page's clock.
   * @param {number} audioMs its place in all that was sent
   */
  momentOf(audioMs) {
    return this.sentAt - (this.sentSamples / WIRE_SAMPLES_PER_MS - audioMs);
  }

  close() {
    this.stream.getTracks().forEach((track) => track.stop());
  }
}
