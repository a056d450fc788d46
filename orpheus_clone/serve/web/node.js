// Talks to the node that the page came from; what it refuses becomes words that say what to do.

const KEY = "orpheus-clone-key";

/**
 * What went wrong, for people. `wantsKey`: only another key helps. `retryAfterS`: seconds after which
 * the same may go through; null where the node names none.
 */
export class Refusal extends Error {
  constructor(message, { wantsKey = false, retryAfterS = null } = {}) {
    super(message);
    this.wantsKey = wantsKey;
    this.retryAfterS = retryAfterS;
  }
}

/** Keep a key as long as the tab lives, and no longer; an empty one is forgotten. */
export function useKey(key) {
  if (!/^[\x21-\x7e]*$/.test(key)) {
    throw new Refusal("A key has no spaces and no accents. Copy it once more.", { wantsKey: true });
  }
  if (key) sessionStorage.setItem(KEY, key);
  else sessionStorage.removeItem(KEY);
}

/** GET `path`, or POST `body` to it as JSON. Throws a Refusal, or AbortError after `signal`. */
export async function ask(path, { body, signal } = {}) {
  const key = sessionStorage.getItem(KEY);
  const headers = {
    ...(key && { authorization: `Bearer ${key}` }),
    ...(body && { "content-type": "application/json" }),
  };
  let answer;
  try {
    const method = body ? "POST" : "GET";
    answer = await fetch(path, { method, headers, signal, body: body && JSON.stringify(body) });
  } catch (error) {
    if (signal?.aborted) throw error;
    throw new Refusal("The node does not answer. See whether it runs, then try again.");
  }
  if (!answer.ok) throw await refusal(answer, Boolean(key));
  return answer;
}

async function refusal(answer, hasKey) {
  if (answer.status === 401) {
    const said = hasKey ? "The node does not accept this key." : "This node wants a key.";
    return new Refusal(`${said} Whoever runs the node can give you one.`, { wantsKey: true });
  }
  const body = await answer.json().catch(() => null);
  const said = sentence(body?.error?.message ?? `The node answered ${answer.status}.`);
  const seconds = Number(answer.headers.get("retry-after"));
  return new Refusal(said, { wantsKey: answer.status === 403, retryAfterS: seconds || null });
}

function sentence(said) {
  const begun = said.charAt(0).toUpperCase() + said.slice(1);
  return /[.!?]$/.test(begun) ? begun : `${begun}.`;
}
