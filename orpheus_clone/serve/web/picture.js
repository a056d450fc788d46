// Draws a Timing: what the first sound waited for, the wave as it came and was heard, the figures.
//
//     ┊request  ┊first byte 214 ms
//     ┊         ┊   ┊first sound 312 ms
//     ┊         ┊ ..┊▂▅█▅▂▁▃█▆▂▁      ╱╱dry╱╱  ▂▅█▃
//     ┊         │ │  │ │ │ │                 │ │ │      when bytes came
//     0 s                1                    2

import { PEAK_MS } from "./timing.js";
import { drawn, made } from "./svg.js";

const HEIGHT = 196;
const [LABELS, MIDDLE, HALF, CAME, AXIS] = [44, 98, 48, 158, 172];
const SIDE = 8;
const BAR = 3;
const SCALES_S = [1, 2, 3, 5, 8, 12, 20, 30, 45, 60, 90, 120, 180, 300, 600];
const LABEL_SPACE = 130;
/** What fills the height: quiet voices are not drawn as silence. */
const LEAST_PEAK = 0.25;

const ms = (value) => `${Math.round(value)} ms`;
const seconds = (value) => `${(value / 1000).toFixed(2)} s`;

/** Draw all of it, `nowMs` after the request. */
export function draw(timing, nowMs) {
  drawFirstSound(timing, nowMs);
  drawUntil(timing);
  drawWave(document.getElementById("wave"), timing, nowMs);
  drawFigures(timing);
}

/** The first sound, or how long it has been waited for. */
function drawFirstSound({ firstSoundMs, wholeMs }, nowMs) {
  const isWaiting = firstSoundMs === null && wholeMs === null;
  const waited = matchMedia("(prefers-reduced-motion: reduce)").matches ? "…" : ms(nowMs);
  const strong = document.querySelector("#first-sound strong");
  strong.textContent = isWaiting ? waited : firstSoundMs === null ? "—" : ms(firstSoundMs);
  strong.classList.toggle("waiting", isWaiting);
}

/** The parts of the time to the first sound: a bar, and below it what they are. */
function drawUntil({ firstByteMs, spans, headMs, firstSoundMs }) {
  const isHeard = firstSoundMs !== null;
  document.getElementById("until-bar").hidden = document.getElementById("until").hidden = !isHeard;
  if (!isHeard) return;
  const parts = [
    ["node", "until the first byte", firstByteMs],
    ["browser", "in the browser’s sound output", spans[0].atMs - firstByteMs],
    ["head", "head silence", headMs],
  ];
  document.getElementById("until-bar").replaceChildren(
    ...parts.map(([part, , value]) => {
      const segment = made("span", { "data-part": part });
      segment.style.flexGrow = value;
      return segment;
    }),
  );
  document.getElementById("until").replaceChildren(
    ...parts.map(([part, name, value]) =>
      made("li", { "data-part": part, "data-ms": value.toFixed(1) }, made("i"), made("b", {}, ms(value)), name),
    ),
  );
}

function drawWave(svg, timing, nowMs) {
  const width = Math.max(240, svg.clientWidth);
  const end = Math.max(timing.endMs, timing.wholeMs ?? nowMs);
  const scale = SCALES_S.find((s) => s * 1000 >= end) ?? end / 1000;
  const x = (at) => SIDE + (at / (scale * 1000)) * (width - 2 * SIDE);
  const wave = bars(timing, x, width);
  svg.setAttribute("viewBox", `0 0 ${width} ${HEIGHT}`);
  svg.setAttribute("aria-label", summary(timing));
  svg.replaceChildren(
    drawn("clipPath", { id: "played" }, drawn("rect", { width: x(nowMs), height: HEIGHT })),
    ...axis(scale, x),
    ...timing.gaps.map((gap) => dry(gap, x)),
    ...timing.arrivals.map((at) => drawn("path", { class: "came", d: `M${x(at)} ${CAME}v8` })),
    drawn("path", { class: "wave", d: wave }),
    drawn("path", { class: "wave played", d: wave, "clip-path": "url(#played)" }),
    ...marks(timing, x, width),
    ...(nowMs < timing.endMs ? [line("now", x(nowMs), LABELS)] : []),
  );
}

/** One bar for so many pixels, as high as the loudest of what is heard in them. */
function bars(timing, x, width) {
  const loudest = Math.max(LEAST_PEAK, ...timing.peaks);
  const columns = new Float32Array(Math.ceil(width / BAR));
  timing.peaks.forEach((peak, i) => {
    const at = timing.heardAt(i * PEAK_MS);
    const last = Math.ceil(x(at + PEAK_MS) / BAR);
    // 0 is where there is no sound; a silent one is a dot.
    for (let column = Math.floor(x(at) / BAR); column < last; column++) {
      columns[column] = Math.max(columns[column], peak, 1e-6);
    }
  });
  return [...columns].reduce((d, peak, column) => {
    const half = (peak / loudest) * HALF;
    return peak ? `${d}M${column * BAR + 1.5} ${(MIDDLE - half).toFixed(1)}v${(2 * half).toFixed(1)}` : d;
  }, "");
}

function marks({ firstByteMs, firstSoundMs }, x, width) {
  const all = [
    ["request", 0, "request", 0],
    ["first-byte", firstByteMs, "first byte", 0],
    ["first-sound", firstSoundMs, "first sound", 1],
  ];
  return all
    .filter(([, at]) => at !== null)
    .map(([name, at, says, row]) => {
      const isLeft = x(at) + LABEL_SPACE > width;
      const isHidden = name === "request" && firstByteMs !== null && x(firstByteMs) < 70;
      const text = drawn("text", { x: x(at) + (isLeft ? -5 : 5), y: 14 + 18 * row });
      text.append(at ? `${says} ${ms(at)}` : says);
      if (isLeft) text.setAttribute("text-anchor", "end");
      const mark = drawn("g", { "data-mark": name, "data-ms": at.toFixed(1) }, line(name, x(at), 4 + 18 * row));
      if (!isHidden) mark.append(text);
      return mark;
    });
}

function line(name, at, from) {
  return drawn("path", { class: `line ${name}`, d: `M${at} ${from}V${AXIS}` });
}

function dry({ fromMs, toMs }, x) {
  const width = Math.max(2, x(toMs) - x(fromMs));
  const box = drawn("rect", { x: x(fromMs), y: LABELS + 2, width, height: CAME - LABELS - 6 });
  const title = drawn("title", {}, `ran dry for ${ms(toMs - fromMs)}`);
  return drawn("g", { "data-mark": "dry", "data-ms": (toMs - fromMs).toFixed(1) }, title, box);
}

function axis(scale, x) {
  const step = [0.2, 0.5, 1, 2, 5, 10, 20, 60].find((s) => scale / s <= 6) ?? 120;
  const ticks = Array.from({ length: Math.floor(scale / step + 1e-9) + 1 }, (_, i) => i * step);
  return [
    drawn("path", { class: "axis", d: `M${x(0)} ${AXIS}H${x(scale * 1000)}` }),
    ...ticks.map((at, i) => {
      const anchor = i === 0 ? "start" : at >= scale ? "end" : "middle";
      const label = drawn("text", { class: "tick", x: x(at * 1000), y: AXIS + 16, "text-anchor": anchor });
      label.append(i === 0 ? "0 s" : String(Number(at.toFixed(1))));
      return label;
    }),
  ];
}

function drawFigures(timing) {
  const gaps = timing.gaps.map(({ fromMs, toMs }) => toMs - fromMs);
  const dryMs = gaps.reduce((sum, gap) => sum + gap, 0);
  const factor = timing.realTimeFactor;
  const all = [
    ["length", "Sound", seconds(timing.soundMs), timing.isStopped ? "until it was stopped" : `spoken by ${timing.node}`],
    ["factor", "Real-time factor", factor?.toFixed(2) ?? "…", "seconds to make one second of sound"],
    ["dry", "Ran dry", gaps.length ? `${gaps.length} ×, ${ms(dryMs)}` : "never", "sound that came too late"],
  ];
  document.getElementById("figures").replaceChildren(
    ...all.map(([name, label, value, note]) =>
      made("div", { "data-figure": name }, made("dt", {}, label), made("dd", {}, value), made("dd", { class: "note" }, note)),
    ),
  );
}

/** The picture in words. */
function summary({ firstByteMs, firstSoundMs, soundMs, gaps }) {
  if (firstByteMs === null) return "Nothing has come yet";
  const heard = firstSoundMs === null ? "nobody has spoken yet" : `first sound after ${ms(firstSoundMs)}`;
  const ran = gaps.length ? `; it ran dry ${gaps.length} times` : "";
  return `First byte after ${ms(firstByteMs)}, ${heard}; ${seconds(soundMs)} of sound${ran}`;
}
