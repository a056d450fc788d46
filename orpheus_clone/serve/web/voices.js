// The voices of the node as cards, one of which is chosen; and what is known of that one.

import { ask } from "./node.js";
import { made } from "./svg.js";

/** Gates that a card shows, and how; all that were measured are told of the chosen voice. */
const SHOWN = { "word error rate": "WER", similarity: "similarity", "first speech P50": "first speech" };
const PROOFS = {
  proven: "Proven on this hardware: every gate passed.",
  unproven: "Unproven: some gates could not be measured.",
  "unproven here": "Proven on other hardware, engine or precision than this node’s.",
  failed: "A gate failed, and it was released all the same.",
};

/** The chosen voice's id; null where there is none. */
export function chosen() {
  return document.querySelector("#voices input:checked")?.value ?? null;
}

/** Fetch and show them; throws a Refusal. */
export async function showVoices() {
  const { voices } = await (await ask("v1/audio/voices")).json();
  const before = chosen();
  const usable = voices.filter((voice) => !voice.error);
  const wanted = usable.find((voice) => voice.id === before) ?? usable[0];
  const list = document.getElementById("voices");
  list.replaceChildren(...voices.map((voice) => card(voice, voice === wanted)));
  list.onchange = () => tellAbout(voices.find((voice) => voice.id === chosen()));
  const note = document.getElementById("voices-note");
  note.hidden = usable.length > 0;
  note.textContent =
    "No voice speaks here yet. Publish one: orpheus-clone publish RUN --to " + location.origin;
  tellAbout(wanted);
}

function card(voice, isChosen) {
  const input = made("input", { type: "radio", name: "voice", value: voice.id });
  input.checked = isChosen;
  input.disabled = Boolean(voice.error);
  const figures = (voice.gates ?? [])
    .filter((gate) => gate.name in SHOWN && gate.value !== null)
    .map((gate) => made("span", {}, `${SHOWN[gate.name]} ${value(gate)}`));
  const kind = [voice.language, voice.kind === "clone" ? "cloned" : "stock"].filter(Boolean);
  return made(
    "label",
    { class: "card" },
    input,
    made("span", { class: "name" }, voice.id),
    made("span", { class: "kind" }, kind.join(" · ")),
    ...(voice.proof ? [made("span", { class: `proof ${voice.proof.split(" ")[0]}` }, voice.proof)] : []),
    ...(voice.error ? [made("span", { class: "proof failed" }, "cannot be read")] : []),
    ...(figures.length ? [made("span", { class: "figures" }, ...figures)] : []),
  );
}

function tellAbout(voice) {
  const gates = (voice?.gates ?? []).filter((gate) => gate.value !== null);
  const known = [
    ["Proof", PROOFS[voice?.proof]],
    ["Measured", gates.map((gate) => `${gate.name} ${value(gate)}`).join(", ")],
    ["Consent", voice?.consent],
    ["Bundle", voice?.bundle],
    ["Canary", voice?.canary && `${voice.canary.bundle}, ${Math.round(voice.canary.share * 100)} % of sessions`],
  ].filter(([, said]) => said);
  const about = document.getElementById("about");
  about.hidden = !known.length;
  about.replaceChildren(...known.flatMap(([name, said]) => [made("dt", {}, name), made("dd", {}, said)]));
}

function value({ value: figure, unit }) {
  return `${Number(figure.toPrecision(3))}${unit ? ` ${unit}` : ""}`;
}
