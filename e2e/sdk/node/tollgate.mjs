// What the tests share: clients that differ from any other only in base URL and key, the requests that they
// really sent, and what the server recorded of a call.
import OpenAI from 'openai';
import { setTimeout as sleep } from 'node:timers/promises';

const env = process.env;

// sent are the requests that left this process, as the SDK made them. The SDK itself is not told.
export const sent = [];
const fetchReally = globalThis.fetch;
globalThis.fetch = (url, init) => {
  sent.push({ path: new URL(String(url)).pathname, at: performance.now(), body: init?.body });
  return fetchReally(url, init);
};

// client is the SDK with the key that the environment has under a name.
export const client = (key = 'TOLLGATE_KEY', options = {}) =>
  new OpenAI({ baseURL: env.TOLLGATE_URL + '/v1', apiKey: env[key] ?? key, ...options });

// countingRequests runs what makes requests and returns how many.
export async function countingRequests(run) {
  const before = sent.length;
  await run();
  return sent.length - before;
}

// failure is the error that a call must end with.
export async function failure(call) {
  let answer;
  try {
    answer = await call;
  } catch (e) {
    return e;
  }
  throw new Error('no error, but ' + JSON.stringify(answer));
}

// generation is the settled record of a call: GET /v1/generations/{id}. A call whose client left ends a moment later.
export async function generation(id) {
  for (let wait = 50; ; wait *= 2) {
    try {
      return await client().get('/generations/' + id);
    } catch (e) {
      if (!(e instanceof OpenAI.NotFoundError) || wait > 5000) throw e;
    }
    await sleep(wait);
  }
}

// atUpstream is the last request that a model with "record" received.
export async function atUpstream() {
  const answer = await fetchReally(env.FAKE_URL + '/control/last');
  return (await answer.json()).body;
}

// behave makes a model of the upstream behave by a spec; see the package fakeupstream.
export async function behave(model, spec) {
  const answer = await fetchReally(env.FAKE_URL + '/control/models/' + model, { method: 'PUT', body: spec });
  if (!answer.ok) throw new Error(await answer.text());
}

export const hello = [{ role: 'user', content: 'Say something.' }];
