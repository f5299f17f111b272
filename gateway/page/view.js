import { median, voiceToVoiceMs, waterfallRows } from "./waterfall.js";

/** @typedef {import("./conversation.js").Turn} Turn */
/** @typedef {import("./failures.js").Failure} Failure */

const PHASES = {
  ready: "Ready",
  connecting: "Connecting …",
  listening: "Listening",
  hearing: "You speak",
  thinking: "Thinking …",
  speaking: "Speaking",
};

/** @param {string} id */
const element = (id) => /** @type {HTMLElement} */ (document.getElementById(id));

/** What the person sees, and what a screen reader says. */
export class View {
  constructor() {
    /** @type {() => void} */
    this.onTalk = () => {};
    /** @type {() => void} */
    this.onInterrupt = () => {};
    /** @type {(key: string) => void} */
    this.onKey = () => {};
    /** @type {Map<Turn, {said: HTMLElement, answered: HTMLElement}>} */
    this.shown = new Map();
    element("talk").addEventListener("click", () => this.onTalk());
    document.addEventListener("keydown", ({ key }) => key === "Escape" && this.onInterrupt());
    element("key").addEventListener("submit", (event) => {
      event.preventDefault();
      const field = /** @type {HTMLInputElement} */ (element("key-value"));
      element("key").hidden = true;
      this.onKey(field.value.trim());
      field.value = "";
    });
  }

  /**
   * @param {keyof typeof PHASES} phase
   * @param {string} [announcement] for screen readers; short, since the microphone may hear it
   */
  showPhase(phase, announcement) {
    document.body.dataset.phase = phase;
    element("phase").textContent = PHASES[phase];
    element("talk-name").textContent = phase === "ready" ? "Start talking" : "Stop";
    if (announcement !== undefined) element("status").textContent = announcement;
  }

  /** @param {number} level of the microphone, 0 to 1 */
  showLevel(level) {
    element("talk").style.setProperty("--level", Math.min(1, 4 * level).toFixed(2));
  }

  /** @param {Failure} failure */
  showProblem({ kind, message, todo, detail }) {
    const problem = element("problem");
    const what = document.createElement("strong");
    what.textContent = message;
    problem.replaceChildren(what, ` ${todo}`);
    if (detail) {
      const said = problem.appendChild(document.createElement("small"));
      said.textContent = `The server says: ${detail}`;
    }
    if (kind === "keyWanted" || kind === "keyWrong") {
      element("key").hidden = false;
      element("key-value").focus();
    }
  }

  /** A conversation begins: nothing was said, and nothing is wrong. */
  clear() {
    this.clearProblem();
    this.shown.clear();
    element("words").replaceChildren();
    element("key").hidden = true;
    this.showTurns([]);
  }

  /** Nothing is wrong any more. */
  clearProblem() {
    element("problem").replaceChildren();
  }

  /** @param {Turn[]} turns */
  showTurns(turns) {
    for (const turn of turns) this.showWords(turn);
    element("waterfall").replaceChildren(...waterfallRows(turns));
    element("no-turns").hidden = turns.some((turn) => turn.speechEndAt !== undefined);
    const times = turns.map(voiceToVoiceMs).filter((ms) => ms !== undefined);
    if (times.length === 0) return;
    element("voice-to-voice").textContent = `${Math.round(times[times.length - 1])} ms`;
    element("median").textContent =
      times.length === 1
        ? "From the end of your speech to the first sound of the answer, as you hear it."
        : `Median of ${times.length} turns: ${Math.round(median(times))} ms`;
  }

  /** @param {Turn} turn */
  showWords(turn) {
    const list = element("words");
    const atEnd = list.scrollHeight - list.scrollTop - list.clientHeight < 40;
    let lines = this.shown.get(turn);
    if (!lines) {
      lines = { said: line(list, "said", "You"), answered: line(list, "answered", "Answer") };
      this.shown.set(turn, lines);
    }
    write(lines.said, turn.said);
    write(lines.answered, turn.answered);
    lines.answered.classList.toggle("interrupted", turn.silentAfterMs !== undefined);
    if (atEnd) list.scrollTop = list.scrollHeight;
  }
}

/**
 * @param {HTMLElement} list
 * @param {string} className
 * @param {string} who
 */
function line(list, className, who) {
  const item = list.appendChild(document.createElement("li"));
  item.className = className;
  item.hidden = true;
  item.appendChild(document.createElement("b")).textContent = `${who}: `;
  item.appendChild(document.createElement("span"));
  return item;
}

/**
 * @param {HTMLElement} item
 * @param {string} text
 */
function write(item, text) {
  const words = /** @type {HTMLElement} */ (item.lastElementChild);
  if (words.textContent !== text) words.textContent = text;
  item.hidden = text === "";
}
