import { fromBase64, toBase64 } from "./realtime.js";

/**
 * One exchange: what the person said, what was answered, and when, by the page's clock (ms).
 * @typedef {object} Turn
 * @property {string} [itemId] the person's item; none if the server speaks by itself
 * @property {string} [responseId]
 * @property {string} said
 * @property {string} answered
 * @property {number} [speechEndAt] the last sound of the person's speech
 * @property {number} [turnEndAt] the server knows that they have finished
 * @property {number} [transcriptAt]
 * @property {number} [wordsAt] the answer's first words
 * @property {number} [audioAt] its first sound, heard
 * @property {number} [silentAfterMs] from the interruption until the answer fell silent
 * @property {boolean} over nothing more comes of it
 */

/** @typedef {"listening" | "hearing" | "thinking" | "speaking"} Phase */

const KEPT_TURNS = 20; // given to the server again after a lost connection
const SESSION = {
  type: "realtime",
  output_modalities: ["audio"],
  audio: {
    input: { format: { type: "audio/pcm", rate: 24_000 }, transcription: { model: "gpt-4o-mini-transcribe" } },
    output: { format: { type: "audio/pcm", rate: 24_000 } },
  },
};

/** A conversation over sessions, of which there is one at a time: the server's events become turns and sound. */
export class Conversation {
  /**
   * @param {import("./microphone.js").Microphone} microphone
   * @param {import("./speaker.js").Speaker} speaker
   */
  constructor(microphone, speaker) {
    this.microphone = microphone;
    this.speaker = speaker;
    /** @type {Turn[]} */
    this.turns = [];
    /** Called when a turn or the phase has changed. */
    this.onChange = () => {};
    /** @type {(detail: string) => void} an answer failed */
    this.onTurnFailed = () => {};
    /** @type {import("./realtime.js").Realtime | undefined} */
    this.session = undefined;
    this.begin();
    microphone.onPiece = (pcm) =>
      this.session?.send({ type: "input_audio_buffer.append", audio: toBase64(pcm) }) ?? false;
    speaker.onStarted = (itemId, at) => this.started(itemId, at);
    speaker.onFinished = () => this.onChange();
    speaker.onCleared = (played, at) => this.cleared(played, at);
  }

  begin() {
    this.hearing = false;
    /** @type {string | undefined} the response that may be heard */
    this.audible = undefined;
    /** @type {Map<string, Turn>} whose answer an item is */
    this.answers = new Map();
    /** @type {{turn: Turn, at: number} | undefined} */
    this.interruption = undefined;
  }

  /** @returns {Phase} */
  get phase() {
    if (this.hearing) return "hearing";
    if (this.speaker.playing) return "speaking";
    return this.waiting ? "thinking" : "listening";
  }

  /** Whether an answer is due of which nothing was heard. */
  get waiting() {
    const turn = this.turns.at(-1);
    return turn !== undefined && turn.audioAt === undefined && !turn.over;
  }

  /**
   * Go on in a session that has just begun; it is told what was said before.
   * @param {import("./realtime.js").Realtime} session
   */
  join(session) {
    this.begin();
    this.microphone.restart();
    session.send({ type: "session.update", session: SESSION });
    for (const { said, answered } of this.turns.slice(-KEPT_TURNS)) {
      if (said) session.send(message("user", "input_text", said));
      if (answered) session.send(message("assistant", "output_text", answered));
    }
    this.session = session;
    session.listen((event) => this.receive(event));
  }

  /** Let the answer end here. */
  interrupt() {
    if (!this.speaker.playing) return;
    if (this.audible) this.session?.send({ type: "response.cancel" });
    this.silence();
  }

  /** The session is lost; what came of the answer is still played. */
  leave() {
    this.session = undefined;
    this.hearing = false;
    this.turns.forEach((turn) => (turn.over = true));
    this.speaker.end();
    this.onChange();
  }

  close() {
    this.session?.close();
    this.session = undefined;
    this.speaker.clear();
    this.microphone.close();
  }

  /** @param {any} event of the server */
  receive(event) {
    const now = performance.now();
    switch (event.type) {
      case "input_audio_buffer.speech_started":
        this.hearing = true;
        this.silence();
        break;
      case "input_audio_buffer.speech_stopped":
        this.hearing = false;
        this.add({
          itemId: event.item_id,
          speechEndAt: Math.min(now, this.microphone.momentOf(event.audio_end_ms)),
          turnEndAt: now,
        });
        break;
      case "conversation.item.input_audio_transcription.delta":
        this.transcribed(event.item_id, (turn) => (turn.said += event.delta), now);
        break;
      case "conversation.item.input_audio_transcription.completed":
        this.transcribed(event.item_id, (turn) => (turn.said = event.transcript), now);
        break;
      case "response.created":
        this.audible = event.response.id;
        this.answering(event.response.id);
        break;
      case "response.output_audio_transcript.delta":
        this.answering(event.response_id).wordsAt ??= now;
        this.answering(event.response_id).answered += event.delta;
        break;
      case "response.output_audio.delta":
        if (event.response_id !== this.audible) return; // made before the server knew of the interruption
        this.answers.set(event.item_id, this.answering(event.response_id));
        this.speaker.play(event.item_id, event.content_index, fromBase64(event.delta));
        break;
      case "response.done":
        this.done(event.response);
        break;
      default:
        return;
    }
    this.onChange();
  }

  /** @param {Partial<Turn>} turn */
  add(turn) {
    this.turns.push({ said: "", answered: "", over: false, ...turn });
    return this.turns[this.turns.length - 1];
  }

  /**
   * @param {string} itemId
   * @param {(turn: Turn) => void} change
   * @param {number} now
   */
  transcribed(itemId, change, now) {
    const turn = this.turns.find((one) => one.itemId === itemId);
    if (!turn) return;
    turn.transcriptAt ??= now;
    change(turn);
  }

  /**
   * @param {string} responseId
   * @returns {Turn} that it answers
   */
  answering(responseId) {
    const known = this.turns.find((turn) => turn.responseId === responseId);
    if (known) return known;
    const last = this.turns.at(-1);
    const turn = last && last.responseId === undefined ? last : this.add({});
    turn.responseId = responseId;
    return turn;
  }

  /** @param {any} response */
  done(response) {
    this.answering(response.id).over = true;
    this.speaker.end();
    if (response.status === "failed") this.onTurnFailed(response.status_details?.error?.message ?? "");
  }

  silence() {
    const playing = this.speaker.playing;
    const turn = this.turns.find((one) => one.responseId === this.audible) ?? this.turns.at(-1);
    this.audible = undefined;
    if (!playing) return;
    this.interruption = turn && { turn, at: performance.now() };
    this.speaker.clear();
  }

  /**
   * @param {string} itemId
   * @param {number} at
   */
  started(itemId, at) {
    const turn = this.answers.get(itemId);
    if (turn) turn.audioAt ??= at;
    this.onChange();
  }

  /**
   * Tell the server how much of its answer was heard, so that it remembers no more than that.
   * @param {import("./speaker.js").Played[]} played
   * @param {number} at
   */
  cleared(played, at) {
    for (const { itemId, contentIndex, playedMs } of played) {
      if (!this.answers.has(itemId)) continue; // of a session that was lost
      this.session?.send({
        type: "conversation.item.truncate",
        item_id: itemId,
        content_index: contentIndex,
        audio_end_ms: playedMs,
      });
    }
    if (this.interruption) this.interruption.turn.silentAfterMs = at - this.interruption.at;
    this.interruption = undefined;
    this.onChange();
  }
}

/**
 * @param {"user" | "assistant"} role
 * @param {"input_text" | "output_text"} type
 * @param {string} text
 */
function message(role, type, text) {
  return { type: "conversation.item.create", item: { type: "message", role, content: [{ type, text }] } };
}
