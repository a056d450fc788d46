// A text from the request to the last of its sound: streamed, played, drawn while it comes.
//
// Where a node has no room it says when to ask again, and so it is done, until there is room or it
// is stopped: somebody who speaks anew may come before the node has seen that the last one is over.

import { markSpeaking } from "./fleet.js";
import { Refusal, ask } from "./node.js";
import { draw } from "./picture.js";
import { Player } from "./player.js";
import { Pcm, wav } from "./sound.js";
import { Timing } from "./timing.js";

const DRAW_MS = 40;

const wait = (seconds) => new Promise((resume) => setTimeout(resume, seconds * 1000));

export class Utterance {
  #say;
  #player;
  #timing = new Timing();
  #hanging = new AbortController();
  #heard = Promise.withResolvers();
  #asked = performance.now();

  /** `say(words)` is told how it goes. */
  constructor(context, voice, say) {
    const began = (inMs) => this.#timing.began(this.#now() + inMs);
    this.#player = new Player(context, began, this.#heard.resolve);
    [this.voice, this.#say] = [voice, say];
  }

  /** Whether any sound has come. */
  get hasSound() {
    return this.#timing.soundMs > 0;
  }

  /** Until all has been heard, or it was stopped; says what became of it. Throws a Refusal. */
  async speak(text) {
    const drawing = setInterval(() => this.#follow(), DRAW_MS);
    try {
      await this.#stream(text);
      this.#timing.finish(this.#now());
      this.#player.finish();
      this.#say(`${this.voice} speaks, and all of it has come.`);
      await this.#heard.promise;
    } catch (error) {
      this.#timing.finish(this.#now(), true);
      if (!this.#isStopped) throw error;
    } finally {
      clearInterval(drawing);
    }
    const length = `${(this.#timing.soundMs / 1000).toFixed(1)} s of sound`;
    return this.#isStopped ? `Stopped; ${length} had come.` : `${this.voice} has spoken: ${length}.`;
  }

  /** Silence at once, and the node is told by a closed connection. */
  stop() {
    this.#hanging.abort();
    this.#player.stop();
    this.#heard.resolve();
  }

  /** Draw it as it has become. */
  drawLast() {
    draw(this.#timing, Math.max(this.#now(), this.#isStopped ? 0 : this.#timing.endMs));
  }

  /** All that has come, as a Blob. */
  wav() {
    return wav(this.#timing.chunks);
  }

  get #isStopped() {
    return this.#hanging.signal.aborted;
  }

  #now() {
    return performance.now() - this.#asked;
  }

  async #admitted(text) {
    const { signal } = this.#hanging;
    const body = { model: "orpheus-clone", input: text, voice: this.voice, response_format: "pcm" };
    for (;;) {
      this.#asked = performance.now();
      try {
        return await ask("v1/audio/speech", { body, signal });
      } catch (error) {
        if (!error.retryAfterS) throw error;
        this.#say(`${error.message} It is asked again in ${error.retryAfterS} s …`);
        await Promise.race([wait(error.retryAfterS), this.#heard.promise]);
        signal.throwIfAborted();
      }
    }
  }

  async #stream(text) {
    const answer = await this.#admitted(text);
    this.#timing.node = answer.headers.get("x-orpheus-clone-node");
    markSpeaking(this.#timing.node);
    const reader = answer.body.getReader();
    const pcm = new Pcm();
    for (;;) {
      const { done, value } = await reader.read().catch(() => {
        throw new Refusal(`The sound of ${this.voice} broke off. Speak again.`);
      });
      if (done) return;
      const came = this.#now();
      const samples = pcm.push(value);
      this.#player.push(samples);
      this.#timing.received(samples, came);
      this.#follow();
    }
  }

  #follow() {
    draw(this.#timing, this.#now());
    if (!this.hasSound || this.#timing.wholeMs !== null) return;
    const isSlow = this.#player.isDry || this.#timing.gaps.length > 0;
    this.#say(isSlow ? `${this.voice} speaks more slowly than it is played …` : `${this.voice} speaks …`);
  }
}
