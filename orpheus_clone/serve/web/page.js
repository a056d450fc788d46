// The page of a node: choose a voice, type, hear it as it comes, and see the fleet.
//
//     page.js ─┬─▶ voices.js            the cards
//              ├─▶ node.js              requests, the key, refusals in words
//              ├─▶ sound.js, player.js  bytes ─▶ samples ─▶ ear
//              ├─▶ timing.js ─▶ picture.js   when what was heard ─▶ drawn
//              └─▶ fleet.js             the ring
//
// One utterance is spoken at a time: another one stops it.

import { mark, update, watchFleet } from "./fleet.js";
import { Refusal, ask, useKey } from "./node.js";
import { draw } from "./picture.js";
import { Player } from "./player.js";
import { Pcm, RATE, wav } from "./sound.js";
import { Timing } from "./timing.js";
import { chosen, showVoices } from "./voices.js";

const LINES = [
  "Good morning. This is my voice. Please tell me what you think.",
  "Thank you for the letter. When will I see you again?",
  "The train is late again, but the coffee is hot.",
  "Wait here. I will read you a small story by the river.",
];

const DRAW_MS = 40;

const $ = (id) => document.getElementById(id);
let context = null;
/** What is being spoken: {stop}; null in between. */
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
  const hanging = new AbortController();
  const utterance = { stop: () => hanging.abort() };
  begin(utterance);
  say(`${voice} is about to speak …`);
  try {
    await context.resume();
    const said = await spoken(text, voice, hanging.signal);
    if (current === utterance) say(said);
  } catch (error) {
    refused(error);
  } finally {
    if (current === utterance) end();
  }
}

/** Speak it; what to say of it once all was heard, or it was stopped. */
async function spoken(text, voice, signal) {
  const asked = performance.now();
  const now = () => performance.now() - asked;
  const timing = new Timing();
  const drawing = setInterval(() => follow(timing, player, now, voice), DRAW_MS);
  const heard = Promise.withResolvers();
  const player = new Player(context, (inMs) => timing.began(now() + inMs), heard.resolve);
  const stop = () => {
    player.stop();
    heard.resolve();
  };
  signal.addEventListener("abort", stop);
  showHeard(true);
  try {
    const body = { model: "orpheus-clone", input: text, voice, response_format: "pcm" };
    const answer = await ask("v1/audio/speech", { body, signal });
    timing.node = answer.headers.get("x-orpheus-clone-node");
    mark(timing.node, voice);
    await stream(answer, timing, player, now, voice);
    timing.finish(now());
    player.finish();
    say(`${voice} speaks, and all of it has come.`);
    await heard.promise;
  } catch (error) {
    if (!signal.aborted) throw error;
  } finally {
    clearInterval(drawing);
    if (timing.wholeMs === null) timing.finish(now(), signal.aborted);
    player.finish();
    mark(null, voice);
    if (timing.soundMs) offer(timing, voice, now());
    else showHeard(false);
  }
  const length = `${(timing.soundMs / 1000).toFixed(1)} s of sound`;
  return signal.aborted ? `Stopped; ${length} had come.` : `${voice} has spoken: ${length}.`;
}

/** Play what comes until all has come. */
async function stream(answer, timing, player, now, voice) {
  const pcm = new Pcm();
  const reader = answer.body.getReader();
  for (;;) {
    const { done, value } = await reader.read().catch((error) => {
      throw error.name === "AbortError" ? error : new Refusal(`The sound of ${voice} broke off. Speak again.`);
    });
    if (done) return;
    const samples = pcm.push(value);
    player.push(samples);
    timing.received(samples, now());
    follow(timing, player, now, voice);
  }
}

function follow(timing, player, now, voice) {
  draw(timing, now());
  if (!timing.soundMs || timing.wholeMs !== null) return;
  const isSlow = player.isDry || timing.gaps.length > 0;
  say(isSlow ? `${voice} speaks more slowly than it is played …` : `${voice} speaks …`);
}

/** The last picture, and the sound to keep. */
function offer(timing, voice, nowMs) {
  draw(timing, Math.max(nowMs, timing.isStopped ? 0 : timing.endMs));
  if (file) URL.revokeObjectURL(file);
  file = URL.createObjectURL(wav(timing.chunks));
  $("save").href = file;
  $("save").download = `${voice}.wav`;
  $("save").hidden = false;
}

function showHeard(isAnything) {
  $("heard-empty").hidden = isAnything;
  $("heard-all").hidden = !isAnything;
}

function begin(utterance) {
  current = utterance;
  $("stop").disabled = false;
  $("save").hidden = true;
  document.body.dataset.state = "speaking";
}

function end() {
  current = null;
  if (document.activeElement === $("stop")) $("speak").focus();
  $("stop").disabled = true;
  document.body.dataset.state = "ready";
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
    mark(null, chosen());
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
  $("voices").addEventListener("change", () => mark(null, chosen()));
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
