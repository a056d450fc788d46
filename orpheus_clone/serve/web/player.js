// Plays samples as they come, each chunk on the sample after the last.
//
// By buffers on the clock of an AudioContext: an AudioWorklet would need HTTPS, which a node inside
// a network seldom has. The first chunk is played at once; where the next comes too late, the player
// has run dry, and goes on with it as soon as it is there.

import { RATE } from "./sound.js";

/** From a chunk to its first sample, in seconds: less, and its beginning may be past already. */
const LEAD_S = 0.02;

export class Player {
  #context;
  #began;
  #ended;
  #sources = new Set();
  #next = -Infinity;
  #frame = 0;
  #isWhole = false;

  /**
   * `began(inMs)` is told each time that sound begins, at first and after each time it ran dry, and
   * in how many milliseconds; `ended()` once all that was pushed has been played.
   */
  constructor(context, began, ended) {
    this.#context = context;
    this.#began = began;
    this.#ended = ended;
  }

  /** Whether all that has come has been played, and there is more to come. */
  get isDry() {
    return this.#frame > 0 && !this.#isWhole && this.#next < this.#context.currentTime;
  }

  /** Play a Float32Array of samples after those that came before. */
  push(samples) {
    if (!samples.length) return;
    if (this.#next < this.#context.currentTime) this.#begin();
    const buffer = this.#context.createBuffer(1, samples.length, RATE);
    buffer.copyToChannel(samples, 0);
    const source = new AudioBufferSourceNode(this.#context, { buffer });
    source.connect(this.#context.destination);
    source.addEventListener("ended", () => this.#done(source));
    source.start(this.#frame / RATE);
    this.#sources.add(source);
    this.#frame += samples.length;
    this.#next = this.#frame / RATE;
  }

  /** Nothing more will come. */
  finish() {
    this.#isWhole = true;
    if (!this.#sources.size) this.#ended();
  }

  /** Silence, at once. */
  stop() {
    this.#isWhole = true;
    for (const source of this.#sources) source.stop();
  }

  #begin() {
    this.#frame = Math.ceil((this.#context.currentTime + LEAD_S) * RATE);
    const inS = this.#frame / RATE - this.#context.currentTime + (this.#context.outputLatency || 0);
    this.#began(inS * 1000);
  }

  #done(source) {
    this.#sources.delete(source);
    if (this.#isWhole && !this.#sources.size) this.#ended();
  }
}
