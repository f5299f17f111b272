/** @typedef {import("./conversation.js").Turn} Turn */

/**
 * The steps from the end of the person's speech to the answer's first sound, by the moment that ends each.
 * @type {["turn-end" | "transcript" | "words" | "audio", "turnEndAt" | "transcriptAt" | "wordsAt" | "audioAt"][]}
 */
const STEPS = [
  ["turn-end", "turnEndAt"],
  ["transcript", "transcriptAt"],
  ["words", "wordsAt"],
  ["audio", "audioAt"],
];
const SHOWN_TURNS = 5;

/**
 * @param {Turn} turn
 * @returns {number | undefined} from the end of the person's speech to the answer's first sound, ms
 */
export function voiceToVoiceMs({ speechEndAt, audioAt }) {
  return speechEndAt === undefined || audioAt === undefined ? undefined : audioAt - speechEndAt;
}

/**
 * @param {number[]} values at least one
 */
export function median(values) {
  const sorted = values.toSorted((one, other) => one - other);
  const middle = sorted.length >> 1;
  return sorted.length % 2 ? sorted[middle] : (sorted[middle - 1] + sorted[middle]) / 2;
}

/**
 * The newest turns as rows of a table: a row of figures, and the same as a bar below it.
 * @param {Turn[]} turns
 * @returns {HTMLTableRowElement[]}
 */
export function waterfallRows(turns) {
  const timed = turns.map((turn, index) => ({ turn, number: index + 1 })).filter(({ turn }) => turn.speechEndAt !== undefined);
  const shown = timed.slice(-SHOWN_TURNS).reverse();
  const longest = Math.max(1, ...shown.flatMap(({ turn }) => STEPS.map(([, at]) => since(turn, at) ?? 0)));
  return shown.flatMap(({ turn, number }) => [figures(turn, number), bar(turn, longest)]);
}

/**
 * @param {Turn} turn
 * @param {(typeof STEPS)[number][1]} at
 */
function since(turn, at) {
  const moment = turn[at];
  return moment === undefined || turn.speechEndAt === undefined ? undefined : moment - turn.speechEndAt;
}

/**
 * @param {Turn} turn
 * @param {number} number
 */
function figures(turn, number) {
  const row = document.createElement("tr");
  const name = row.appendChild(document.createElement("th"));
  name.scope = "row";
  name.textContent = String(number);
  for (const [, at] of STEPS) {
    const ms = since(turn, at);
    row.insertCell().textContent = ms === undefined ? "–" : String(Math.round(ms));
  }
  return row;
}

/**
 * Each step from where the one before it ended; a transcript that comes after the first words adds nothing.
 * @param {Turn} turn
 * @param {number} longest ms, of all turns that are shown
 */
function bar(turn, longest) {
  const row = document.createElement("tr");
  row.ariaHidden = "true";
  row.className = "bar";
  const cell = row.insertCell();
  cell.colSpan = 1 + STEPS.length;
  let ended = 0;
  for (const [name, at] of STEPS) {
    const ms = since(turn, at);
    if (ms === undefined || ms <= ended) continue;
    const span = cell.appendChild(document.createElement("span"));
    span.className = name;
    span.style.width = `${(100 * (ms - ended)) / longest}%`;
    ended = ms;
  }
  if (turn.silentAfterMs !== undefined) {
    const note = cell.appendChild(document.createElement("small"));
    note.textContent = `interrupted: silent after ${Math.round(turn.silentAfterMs)} ms`;
  }
  return row;
}
