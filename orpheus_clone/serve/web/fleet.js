// The fleet as a ring, asked for again and again while somebody looks, and the same as a table.
//
//           (node a) 2 sessions; around it, how much of its slots is taken
//          ↗   ↑
//      jack   mary      an arrow leads to each node that speaks the voice, dashed where it is not
//        ⇢     |        loaded yet; of many voices, and of stock voices, only the chosen one's
//           (node b)

import { ask } from "./node.js";
import { drawn, made } from "./svg.js";

const ASK_MS = 2000;
const SIZE = 400;
const [CENTRE, RING] = [SIZE / 2, 142];
const [TOP, BOTTOM, BOTTOM_OF_ONE] = [-12, 406, 360];
const ROW = 28;
const MOST_VOICES = 8;
const NAMED_NODES = 12;
const SILENT_S = 3;

/** The node that speaks for this page now; null if none does. */
let speaking = null;
let chosen = null;
let last = null;
/** Whether only another key helps: until there is one, nothing is asked. */
let isRefused = false;

/** Mark the node that speaks; null where none does. */
export function markSpeaking(node) {
  speaking = node;
  if (last) show(last);
}

/** Mark the voice that is chosen; null where there is none. */
export function markChosen(voice) {
  chosen = voice;
  if (last) show(last);
}

/** Ask for the fleet from now on, while the page is looked at. */
export async function watchFleet() {
  for (;;) {
    await new Promise((resume) => setTimeout(resume, ASK_MS));
    if (!document.hidden && !isRefused) await update();
  }
}

/** Ask once; what is refused is said in the fleet's own place. */
export async function update() {
  try {
    last = await (await ask("v1/nodes")).json();
    isRefused = false;
    show(last);
  } catch (error) {
    isRefused = error.wantsKey;
    last = null;
    document.getElementById("ring").hidden = true;
    document.getElementById("fleet-table").replaceChildren();
    say(error.message);
  }
}

function show(fleet) {
  const ring = document.getElementById("ring");
  ring.removeAttribute("hidden");
  const bottom = fleet.nodes.length === 1 ? BOTTOM_OF_ONE : BOTTOM;
  ring.setAttribute("viewBox", `0 ${TOP} ${SIZE} ${bottom - TOP}`);
  ring.replaceChildren(...picture(fleet));
  document.getElementById("fleet-table").replaceChildren(table(fleet));
  say(summary(fleet));
}

/** Said only where it has changed, or a screen reader would read it all the time. */
function say(text) {
  const note = document.getElementById("fleet-note");
  if (note.textContent !== text) note.textContent = text;
}

function picture({ node: here, nodes, owners }) {
  const places = new Map(nodes.map((node, i) => [node.id, around(RING, turn(i, nodes.length))]));
  const radius = nodes.length <= 8 ? 26 : nodes.length <= 16 ? 18 : 9;
  const voices = voicePlaces(owners);
  return [
    arrowhead(),
    drawn("circle", { class: "track", cx: CENTRE, cy: CENTRE, r: RING }),
    ...voices.flatMap((voice, row) => arrows(voice, row, nodes, owners, places, radius)),
    ...voices.map(voiceMark),
    ...nodes.map((node) => nodeMark(node, places.get(node.id), radius, nodes, here)),
  ];
}

function arrowhead() {
  const shape = drawn("path", { d: "M0 0 6 3 0 6Z" });
  const box = { id: "head", markerWidth: 6, markerHeight: 6, refX: 5, refY: 3, orient: "auto" };
  return drawn("marker", box, shape);
}

/** The voices one below the other in the middle, the chosen one among them: {name, x, y, half}. */
function voicePlaces(owners) {
  const all = Object.keys(owners).sort();
  const isMany = all.length > MOST_VOICES;
  const shown = isMany ? [] : all;
  if (chosen && !shown.includes(chosen)) shown.push(chosen);
  return shown.map((name, row) => {
    const half = shortened(name).length * 3.7 + 9;
    return { name, x: CENTRE, y: CENTRE + (row - (shown.length - 1) / 2) * ROW, half };
  });
}

/** From a voice, by its side, in a bow to each node that speaks it. */
function arrows({ name, x, y, half }, row, nodes, owners, places, radius) {
  return nodes.flatMap((node) => {
    const isStock = !owners[name] && node.phase === "ready";
    const isLoaded = isStock || Object.keys(node.load.resident).some((it) => it.split("@")[0] === name);
    if (!isLoaded && !owners[name]?.includes(node.id)) return [];
    const to = places.get(node.id);
    const isAside = Math.abs(to.x - x) > 1;
    const side = isAside ? Math.sign(to.x - x) : row % 2 ? 1 : -1;
    const from = { x: x + side * half, y };
    const bow = { x: from.x + side * 36, y: isAside ? y : (y + to.y) / 2 };
    const [dx, dy] = [to.x - bow.x, to.y - bow.y];
    const short = 1 - (radius + 9) / Math.hypot(dx, dy);
    const d = `M${from.x} ${from.y}Q${bow.x} ${bow.y} ${bow.x + dx * short} ${bow.y + dy * short}`;
    const state = `${isLoaded ? "loaded" : "waiting"}${name === chosen ? " chosen" : ""}`;
    const said = { "data-voice": name, "data-node": node.id, "marker-end": "url(#head)" };
    return [drawn("path", { class: `arrow ${state}`, d, ...said })];
  });
}

function voiceMark({ name, x, y, half }) {
  return drawn(
    "g",
    { class: name === chosen ? "voice chosen" : "voice", "data-voice": name },
    drawn("title", {}, name),
    drawn("rect", { x: x - half, y: y - 11, width: 2 * half, height: 22, rx: 11 }),
    drawn("text", { x, y: y + 4 }, shortened(name)),
  );
}

function nodeMark(node, { x, y }, radius, nodes, here) {
  const { sessions, slots, resident } = node.load;
  const used = slots ? Math.min(1, Object.keys(resident).length / slots) : 0;
  const around = 2 * Math.PI * (radius + 5);
  const isSpeaking = node.id === speaking;
  const mark = drawn("g", { class: `node ${node.phase}${isSpeaking ? " speaking" : ""}`, "data-node": node.id });
  mark.append(
    drawn("title", {}, `${node.id}: ${node.phase}, ${sessions} sessions`),
    drawn("circle", { class: "halo", cx: x, cy: y, r: radius + 10 }),
    drawn("circle", { class: "body", cx: x, cy: y, r: radius }),
    drawn("circle", {
      class: "slots", cx: x, cy: y, r: radius + 5, "stroke-dasharray": `${used * around} ${around}`,
      transform: `rotate(-90 ${x} ${y})`,
    }),
  );
  if (radius > 9) mark.append(drawn("text", { class: "count", x, y: y + radius / 4 }, String(sessions)));
  if (nodes.length > NAMED_NODES) return mark;
  const isAbove = y < CENTRE - RING / 2;
  const isMixed = new Set(nodes.map(({ pool }) => pool.language)).size > 1;
  const says = [
    shortened(bare(node.id), 18),
    [node.phase, isMixed && node.pool.language, node.id === here && "this one"].filter(Boolean).join(" · "),
  ];
  const first = isAbove ? y - radius - 31 : y + radius + 24;
  says.forEach((line, i) => mark.append(drawn("text", { class: `line${i}`, x, y: first + 15 * i }, line)));
  return mark;
}

function table({ node: here, nodes }) {
  const head = ["Node", "Phase", "Sessions", "Adapters"].map((name) => made("th", { scope: "col" }, name));
  const rows = nodes.map((node) => {
    const { sessions, slots, resident } = node.load;
    const name = made("th", { scope: "row" }, bare(node.id));
    if (node.id === here) name.append(made("small", {}, " this one"));
    const phase = node.silent_s > SILENT_S ? `silent for ${Math.round(node.silent_s)} s` : node.phase;
    const cells = [phase, sessions, `${Object.keys(resident).length} of ${slots}`];
    return made("tr", {}, name, ...cells.map((cell) => made("td", {}, String(cell))));
  });
  const caption = made("caption", {}, "Each node, with the adapters that its engine holds");
  return made("table", {}, caption, made("thead", {}, made("tr", {}, ...head)), made("tbody", {}, ...rows));
}

function summary({ nodes, owners }) {
  const voices = Object.keys(owners).length;
  const ready = nodes.filter((node) => node.phase === "ready").length;
  const who = nodes.length === 1 ? `One node, ${nodes[0].phase}` : `${nodes.length} nodes, ${ready} ready`;
  const held = voices === 1 ? "one cloned voice" : `${voices || "no"} cloned voices`;
  const versions = [...new Set(nodes.map((node) => node.version))];
  const mixed = versions.length > 1 ? ` Versions side by side: ${versions.join(", ")}.` : "";
  const sessions = nodes.reduce((sum, node) => sum + node.load.sessions, 0);
  const live = sessions === 1 ? "one session" : `${sessions || "no"} sessions`;
  return `${who}; ${live}, ${held}. Stock voices speak on every node.${mixed}`;
}

const turn = (i, count) => (2 * Math.PI * i) / count - Math.PI / 2;
const around = (radius, angle) => ({
  x: CENTRE + radius * Math.cos(angle),
  y: CENTRE + radius * Math.sin(angle),
});
const bare = (id) => id.replace(/^https?:\/\//, "");
const shortened = (text, most = 16) => (text.length > most ? `${text.slice(0, most - 1)}…` : text);
