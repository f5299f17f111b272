/** Zero crossings of the sinc on each side of its middle: steeper with more. */
const LOBES = 16;
/** The passband, as a part of the lower rate's: 11 kHz of 12, with what folds over above that 80 dB down. */
const PASSBAND = 0.92;
const KAISER_BETA = 8;

/**
 * Changes the sample rate of a signal that comes in pieces, which join without a seam: polyphase filtering by
 * a windowed sinc, between any two whole rates, so that nothing drifts and nothing is delayed.
 */
export class Resampler {
  /**
   * @param {number} fromHz
   * @param {number} toHz
   */
  constructor(fromHz, toHz) {
    const divisor = greatestCommonDivisor(fromHz, toHz);
    this.phases = toHz / divisor; // outputs per `step` inputs
    this.step = fromHz / divisor;
    const cutoff = PASSBAND * Math.min(1, toHz / fromHz);
    this.half = this.phases === this.step ? 0 : Math.ceil(LOBES / cutoff);
    this.filters = filterBank(this.phases, this.half, cutoff);
    /** @type {Float32Array} the input that is needed on; first the silence before the first sample */
    this.pending = new Float32Array(Math.max(0, this.half - 1));
    this.phase = 0;
  }

  /**
   * @param {Float32Array} samples the signal's next
   * @returns {Float32Array} what can be computed by now: all but what needs the filter's half length more
   */
  push(samples) {
    if (this.half === 0) return samples;
    const input = new Float32Array(this.pending.length + samples.length);
    input.set(this.pending);
    input.set(samples, this.pending.length);
    const width = 2 * this.half;
    const span = (input.length - width + 1) * this.phases - this.phase;
    const output = new Float32Array(Math.max(0, Math.ceil(span / this.step)));
    let at = 0;
    for (let n = 0; n < output.length; n++) {
      const filter = this.filters[this.phase];
      let sum = 0;
      for (let tap = 0; tap < width; tap++) sum += input[at + tap] * filter[tap];
      output[n] = sum;
      this.phase += this.step;
      at += Math.floor(this.phase / this.phases);
      this.phase %= this.phases;
    }
    this.pending = input.slice(at);
    return output;
  }

  /** @returns {Float32Array} the rest of the signal, which is over */
  flush() {
    return this.push(new Float32Array(this.half));
  }
}

/**
 * @param {number} phases
 * @param {number} half
 * @param {number} cutoff as a part of the input's bandwidth
 * @returns {Float32Array[]} a filter for each place between two input samples
 */
function filterBank(phases, half, cutoff) {
  return Array.from({ length: phases }, (_, phase) => {
    const filter = Float32Array.from({ length: 2 * half }, (_, tap) => {
      const distance = tap - (half - 1) - phase / phases;
      return cutoff * sinc(cutoff * distance) * kaiser(distance / half);
    });
    const gain = filter.reduce((sum, tap) => sum + tap, 0);
    return filter.map((tap) => tap / gain);
  });
}

/** @param {number} x */
function sinc(x) {
  return x === 0 ? 1 : Math.sin(Math.PI * x) / (Math.PI * x);
}

/** @param {number} x from -1 to 1 */
function kaiser(x) {
  return bessel(KAISER_BETA * Math.sqrt(Math.max(0, 1 - x * x))) / bessel(KAISER_BETA);
}

/** The modified Bessel function of the first kind, of order 0. @param {number} x */
function bessel(x) {
  let sum = 1;
  let term = 1;
  for (let k = 1; term > 1e-9 * sum; k++) sum += term *= (x / (2 * k)) ** 2;
  return sum;
}

/**
 * @param {number} a
 * @param {number} b
 * @returns {number}
 */
function greatestCommonDivisor(a, b) {
  return b === 0 ? a : greatestCommonDivisor(b, a % b);
}
