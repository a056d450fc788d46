// When what of an utterance came and was heard: numbers only, in milliseconds since the request.
//
//     request ── first byte ── sound begins ── first sound ──── dry ════ … ── end
//        waiting for the node │ the browser's │ head silence
//                             │ sound output  │

import { RATE, headMs, joined } from "./sound.js";

export const PEAK_MS = 10;
const PER_PEAK = (RATE * PEAK_MS) / 1000;
/** Where speech begins is looked for again with each chunk, up to so much sound, and at the end. */
const LOOKED_FOR_MS = 2000;

export class Timing {
  /** The node that speaks. */
  node = null;
  /** When the first byte of the sound came. */
  firstByteMs = null;
  /** When bytes came, each [ms]. */
  arrivals = [];
  /** Stretches of sound without a gap: {atMs, fromMs}, where `fromMs` counts what was played before. */
  spans = [];
  /** The loudest sample of each PEAK_MS of sound. */
  peaks = [];
  chunks = [];
  soundMs = 0;
  /** Silence before the speech; null where nobody has spoken yet. */
  headMs = null;
  /** When the last byte came, or it was stopped. */
  wholeMs = null;
  isStopped = false;
  #samples = 0;

  /** Samples came at `ms`. */
  received(samples, ms) {
    this.firstByteMs ??= ms;
    this.arrivals.push(ms);
    this.chunks.push(samples);
    for (const sample of samples) {
      const peak = Math.floor(this.#samples++ / PER_PEAK);
      this.peaks[peak] = Math.max(this.peaks[peak] ?? 0, Math.abs(sample));
    }
    this.soundMs = (this.#samples * 1000) / RATE;
    if (this.soundMs < LOOKED_FOR_MS) this.#lookForSpeech();
  }

  /** Sound begins, or goes on after a gap, at `atMs`, with what comes next. */
  began(atMs) {
    this.spans.push({ atMs, fromMs: this.soundMs });
  }

  /** Nothing more comes. */
  finish(ms, isStopped = false) {
    this.wholeMs = ms;
    this.isStopped = isStopped;
    this.#lookForSpeech();
  }

  /** When the sound at `soundMs` from its beginning is heard; null before anything is. */
  heardAt(soundMs) {
    const span = this.spans.findLast(({ fromMs }) => fromMs <= soundMs);
    return span ? span.atMs + soundMs - span.fromMs : null;
  }

  /** When the first of the speech is heard. */
  get firstSoundMs() {
    return this.headMs === null ? null : this.heardAt(this.headMs);
  }

  /** When all that has come will have been heard. */
  get endMs() {
    const last = this.spans.at(-1);
    return last ? last.atMs + this.soundMs - last.fromMs : 0;
  }

  /** The stretches in which nothing was there to be played: {fromMs, toMs}. */
  get gaps() {
    return this.spans.slice(1).map((span, i) => {
      const before = this.spans[i];
      return { fromMs: before.atMs + span.fromMs - before.fromMs, toMs: span.atMs };
    });
  }

  /** Seconds that a second of sound takes to make, the wait for the first among them. */
  get realTimeFactor() {
    return this.soundMs && this.wholeMs !== null ? this.wholeMs / this.soundMs : null;
  }

  #lookForSpeech() {
    this.headMs = headMs(joined(this.chunks));
  }
}
