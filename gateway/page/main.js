import { Conversation } from "./conversation.js";
import { Failure } from "./failures.js";
import { Microphone } from "./microphone.js";
import { Realtime, typedKey } from "./realtime.js";
import { Speaker } from "./speaker.js";
import { View } from "./view.js";

/** What is tried again by itself: for how long (ms), and what it is called when that did not help. */
const RETRIED = {
  cold: { forMs: 150_000, then: "notStarted" },
  lost: { forMs: 45_000, then: "gone" },
  unreachable: { forMs: 45_000, then: "gone" },
};
const FIRST_WAIT_MS = 500;
const LONGEST_WAIT_MS = 8_000;
/** An answer that takes longer than this probably waits for a model that is being started. */
const SLOW_MS = 6_000;

const view = new View();
/** @type {AbortController | undefined} of the conversation that is being held */
let talk;

view.onTalk = () => (talk ? talk.abort() : start());
view.onKey = (key) => {
  typedKey.keep(key);
  start();
};

/** One conversation, from the click that starts it to the click, or the failure, that ends it. */
async function start() {
  talk?.abort();
  const controller = (talk = new AbortController());
  const { signal } = controller;
  view.clear();
  view.showPhase("connecting", "Connecting");
  /** @type {AudioContext | undefined} */
  let context;
  try {
    context = openContext();
    const [session] = await Promise.all([connect(signal, ["cold", "lost"]), loadWorklets(context)]);
    signal.addEventListener("abort", () => session.close());
    const stream = await Microphone.open();
    signal.addEventListener("abort", () => stream.getTracks().forEach((track) => track.stop()));
    signal.throwIfAborted();
    await hold(new Conversation(new Microphone(context, stream), new Speaker(context)), session, signal);
  } catch (error) {
    if (!signal.aborted) view.showProblem(error instanceof Failure ? error : new Failure("unsupported", String(error)));
  } finally {
    controller.abort();
    context?.close();
    if (talk === controller) {
      talk = undefined;
      view.showPhase("ready", "The conversation has ended");
    }
  }
}

/** @returns {AudioContext} which must be begun in the click itself, or it stays silent */
function openContext() {
  if (!window.isSecureContext || !navigator.mediaDevices) throw new Failure("insecure");
  if (!window.AudioWorkletNode) throw new Failure("unsupported");
  const context = new AudioContext({ latencyHint: "interactive" });
  context.resume();
  return context;
}

/** @param {AudioContext} context */
async function loadWorklets(context) {
  for (const name of ["capture", "playback"]) {
    await context.audioWorklet.addModule(new URL(`${name}-worklet.js`, import.meta.url));
  }
}

/**
 * Converse until it is ended, over one session after another where the connection is lost.
 * @param {Conversation} conversation
 * @param {Realtime} session
 * @param {AbortSignal} signal
 */
async function hold(conversation, session, signal) {
  show(conversation, signal);
  const awake = await navigator.wakeLock?.request("screen").catch(() => undefined);
  try {
    for (;;) {
      conversation.join(session);
      view.clearProblem();
      view.showPhase(conversation.phase, "Connected. Speak now.");
      const failure = await Promise.race([session.closed, ended(conversation.microphone, signal)]);
      conversation.leave();
      if (failure.kind !== "lost") throw failure;
      view.showProblem(failure);
      view.showPhase("connecting");
      session = await connect(signal, ["cold", "lost", "unreachable"]);
    }
  } finally {
    conversation.close();
    awake?.release();
  }
}

/**
 * @param {Microphone} microphone
 * @param {AbortSignal} signal
 * @returns {Promise<never>} rejects when this side ends
 */
function ended(microphone, signal) {
  return new Promise((_, reject) => {
    microphone.onEnded = () => reject(new Failure("microphoneLost"));
    signal.addEventListener("abort", () => reject(signal.reason));
    if (signal.aborted) reject(signal.reason);
  });
}

/**
 * A session; what may pass by itself is waited for.
 * @param {AbortSignal} signal
 * @param {string[]} retried kinds of failures
 * @returns {Promise<Realtime>}
 */
async function connect(signal, retried) {
  const began = performance.now();
  for (let wait = FIRST_WAIT_MS; ; wait = Math.min(2 * wait, LONGEST_WAIT_MS)) {
    try {
      const session = await Realtime.open();
      if (signal.aborted) session.close();
      signal.throwIfAborted();
      return session;
    } catch (error) {
      if (!(error instanceof Failure) || !retried.includes(error.kind)) throw error;
      const { forMs, then } = RETRIED[/** @type {keyof typeof RETRIED} */ (error.kind)];
      if (performance.now() - began > forMs) throw new Failure(then, error.detail);
      view.showProblem(error.kind === "unreachable" ? new Failure("lost") : error);
    }
    await new Promise((resolve) => setTimeout(resolve, wait));
    signal.throwIfAborted();
  }
}

/**
 * Keep the view as the conversation is.
 * @param {Conversation} conversation
 * @param {AbortSignal} signal
 */
function show(conversation, signal) {
  /** @type {number | undefined} */
  let slow;
  /** @type {import("./conversation.js").Phase | undefined} */
  let phase;
  conversation.onChange = () => {
    view.showTurns(conversation.turns);
    if (signal.aborted || !conversation.session || conversation.phase === phase) return;
    phase = conversation.phase;
    view.showPhase(phase);
    if (phase === "hearing" || phase === "speaking") view.clearProblem();
    clearTimeout(slow);
    if (phase === "thinking") slow = setTimeout(() => view.showProblem(new Failure("slow")), SLOW_MS);
  };
  conversation.onTurnFailed = (detail) => view.showProblem(new Failure("turnFailed", detail));
  view.onInterrupt = () => conversation.interrupt();
  const showLevel = () => {
    view.showLevel(signal.aborted ? 0 : conversation.microphone.level);
    if (!signal.aborted) requestAnimationFrame(showLevel);
  };
  showLevel();
}
