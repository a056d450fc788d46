// The page of a node: choose a voice, type, hear it as it comes, and see the fleet.
//
//     page.js ─┬─▶ voices.js                 the cards
//              ├─▶ utterance.js ─┬─▶ sound.js, player.js     bytes ─▶ samples ─▶ ear
//              │                 └─▶ timing.js, picture.js   when what was heard ─▶ drawn
//              ├─▶ fleet.js                  the ring
//              └─▶ node.js                   requests, the key, refusals in words
//
// One utterance is spoken at a time: another one stops it.

import { markChosen, markSpeaking, update, watchFleet } from "./fleet.js";
import { Refusal, ask, useKey } from "./node.js";
import { RATE } from "./sound.js";
import { Utterance } from "./utterance.js";
import { chosen, showVoices } from "./voices.js";

const LINES = [
  "Good morning. Tell me what you think.",
  "Thank you for the letter. See you soon.",
  "The train is late, but the coffee is hot.",
  "I will read you a small story by the river.",
];

const $ = (id) => document.getElementById(id);
let context = null;
/** The Utterance that is being spoken; null in between. */
let current = null;
let file = null;

async function speak() {
  const text = $("text").value.trim();
  const voice = chosen();
  current?.stop();
  if (!voice) return say("Choose a voice first.", true);
  if (!text) {
    $("text").focus();
    return say("Type what to say first.", true);
  }
  // In answer to a key or a click, or the browser lets nothing be heard.
  context ??= new AudioContext({ sampleRate: RATE });
  const utterance = new Utterance(context, voice, (words) => current === utterance && say(words));
  begin(utterance);
  say(`${voice} is about to speak …`);
  try {
    await context.resume();
    const said = await utterance.speak(text);
    if (current === utterance) say(said);
  } catch (error) {
    if (current === utterance) refused(error);
  }
  // Where another one has begun meanwhile, the page is that one's.
  if (current === utterance) end(utterance);
}

function begin(utterance) {
  current = utterance;
  $("stop").disabled = false;
  $("save").hidden = true;
  showHeard(true);
  document.body.dataset.state = "speaking";
}

function end(utterance) {
  current = null;
  utterance.drawLast();
  showHeard(utterance.hasSound);
  if (utterance.hasSound) offer(utterance);
  markSpeaking(null);
  if (document.activeElement === $("stop")) $("speak").focus();
  $("stop").disabled = true;
  document.body.dataset.state = "ready";
}

/** What was heard, to keep. */
function offer(utterance) {
  if (file) URL.revokeObjectURL(file);
  file = URL.createObjectURL(utterance.wav());
  $("save").href = file;
  $("save").download = `${utterance.voice}.wav`;
  $("save").hidden = false;
}

function showHeard(isAnything) {
  $("heard-empty").hidden = isAnything;
  $("heard-all").hidden = !isAnything;
}

function say(text, isWrong = false) {
  const status = $("status");
  status.classList.toggle("wrong", isWrong);
  if (status.textContent !== text) status.textContent = text;
}

function refused(error) {
  if (!(error instanceof Refusal)) {
    say("The page has a bug: see the browser’s console.", true);
    throw error;
  }
  say(error.message, true);
  if (error.wantsKey) openKey(true);
}

function openKey(isOpen) {
  $("key").hidden = !isOpen;
  $("key-open").setAttribute("aria-expanded", String(isOpen));
  if (isOpen) $("key-value").focus();
}

/** Fetch all that is shown; also once there is another key. */
async function load() {
  try {
    const { data } = await (await ask("v1/models")).json();
    $("base").textContent = data.map((model) => model.id).join(", ");
    await showVoices();
    markChosen(chosen());
    return true;
  } catch (error) {
    refused(error);
    return false;
  }
}

async function changeKey(key) {
  try {
    useKey(key);
  } catch (error) {
    return refused(error);
  }
  if (await load()) {
    openKey(false);
    say(key ? "The node accepts the key." : "The key is forgotten.");
    $("text").focus();
  }
  await update();
}

function keys(event) {
  if (event.isComposing) return;
  if (event.key === "Escape" && current) {
    current.stop();
  } else if (event.key === "Enter" && (event.ctrlKey || event.metaKey || isPlainEnter(event))) {
    event.preventDefault();
    speak();
  }
}

function isPlainEnter(event) {
  return event.target === $("text") && !event.shiftKey && !event.altKey;
}

function listen() {
  $("composer").addEventListener("submit", (event) => (event.preventDefault(), speak()));
  $("stop").addEventListener("click", () => current?.stop());
  $("voices").addEventListener("change", () => markChosen(chosen()));
  $("key-open").addEventListener("click", () => openKey($("key").hidden));
  $("key-forget").addEventListener("click", () => (($("key-value").value = ""), changeKey("")));
  $("key").addEventListener("submit", (event) => {
    event.preventDefault();
    changeKey($("key-value").value.trim());
  });
  document.addEventListener("keydown", keys);
}

function offerLines() {
  for (const line of LINES) {
    const button = Object.assign(document.createElement("button"), { type: "button", textContent: line });
    button.addEventListener("click", () => {
      $("text").value = line;
      $("text").focus();
    });
    $("samples").append(button);
  }
  $("text").value = LINES[0];
}

offerLines();
listen();
await load();
await update();
document.body.dataset.state = "ready";
watchFleet();
