// Samples: out of the bytes of an answer, where speech begins in them, and into a WAV file.

export const RATE = 24000;
const BYTES = 2;

/** Turns 16-bit little-endian PCM into samples of -1 to 1, however its bytes are parcelled. */
export class Pcm {
  #half = new Uint8Array(0);

  /** The samples that are whole by now, a Float32Array. */
  push(bytes) {
    const all = new Uint8Array(this.#half.length + bytes.length);
    all.set(this.#half);
    all.set(bytes, this.#half.length);
    const whole = all.length - (all.length % BYTES);
    this.#half = all.slice(whole);
    const view = new DataView(all.buffer);
    return Float32Array.from({ length: whole / BYTES }, (_, i) => view.getInt16(i * BYTES, true) / 32768);
  }
}

/** All chunks in one Float32Array. */
export function joined(chunks) {
  const all = new Float32Array(chunks.reduce((sum, chunk) => sum + chunk.length, 0));
  let at = 0;
  for (const chunk of chunks) {
    all.set(chunk, at);
    at += chunk.length;
  }
  return all;
}

/** A Blob of the chunks as a WAV file, 16-bit mono. */
export function wav(chunks) {
  const samples = joined(chunks);
  const view = new DataView(new ArrayBuffer(44 + samples.length * BYTES));
  const text = (at, letters) => [...letters].forEach((c, i) => view.setUint8(at + i, c.charCodeAt(0)));
  const words = (at, ...values) => values.forEach((v, i) => view.setUint32(at + 4 * i, v, true));
  text(0, "RIFF");
  words(4, 36 + samples.length * BYTES);
  text(8, "WAVEfmt ");
  words(16, 16, 0x10001, RATE, RATE * BYTES, 0x100000 | BYTES);
  text(36, "data");
  words(40, samples.length * BYTES);
  samples.forEach((sample, i) => view.setInt16(44 + i * BYTES, Math.round(sample * 32768), true));
  return new Blob([view.buffer], { type: "audio/wav" });
}

// The definition of orpheus_clone/silence.py, whose docstring argues it; a test holds both together.
const [WINDOW, HOP] = [240, 120];
const HOP_MS = 5;
const WINDOW_MS = 10;
const [CORE_BELOW_LOUD, CORE_ABOVE_FLOOR, EDGE_ABOVE_FLOOR, EDGE_BELOW_LOUD] = [20, 10, 6, 35];
const [CORE_RUN, EDGE_REACH, FLOOR_WINDOWS] = [8, 30, 10];
const [SILENT, NOTHING] = [-50, -120];

/** Milliseconds of silence before the speech; null where nobody speaks. */
export function headMs(samples) {
  const db = levels(samples);
  const sorted = db.slice().sort();
  const floor = sorted[Math.min(Math.floor(db.length / 10), FLOOR_WINDOWS)];
  const loud = percentile(sorted, 0.95);
  if (!db.length || loud < SILENT) return null;
  const core = Math.min(Math.max(loud - CORE_BELOW_LOUD, floor + CORE_ABOVE_FLOOR), loud - 1);
  const edge = Math.min(Math.max(floor + EDGE_ABOVE_FLOOR, loud - EDGE_BELOW_LOUD), core);
  let at = firstRun(db, core);
  if (at === null) return null;
  for (let back = 0; back < EDGE_REACH && at > 0 && db[at - 1] >= edge; back++) at--;
  return at === 0 ? 0 : at * HOP_MS + WINDOW_MS / 2;
}

function levels(samples) {
  const mean = samples.reduce((sum, sample) => sum + sample, 0) / samples.length;
  const count = Math.max(0, Math.floor((samples.length - WINDOW) / HOP) + 1);
  return Float64Array.from({ length: count }, (_, window) => {
    let power = 0;
    for (let i = window * HOP; i < window * HOP + WINDOW; i++) power += (samples[i] - mean) ** 2;
    return 10 * Math.log10(Math.max(power / WINDOW, 10 ** (NOTHING / 10)));
  });
}

function percentile(sorted, share) {
  const at = (sorted.length - 1) * share;
  const below = Math.floor(at);
  return sorted[below] + (sorted[Math.ceil(at)] - sorted[below]) * (at - below);
}

function firstRun(db, core) {
  let length = 0;
  for (let i = 0; i < db.length; i++) {
    length = db[i] >= core ? length + 1 : 0;
    if (length === CORE_RUN) return i - CORE_RUN + 1;
  }
  return null;
}
