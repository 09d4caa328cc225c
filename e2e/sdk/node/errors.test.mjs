import OpenAI from 'openai';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { client, countingRequests, failure, generation, hello, sent } from './tollgate.mjs';

const ask = (key, params, options) => client(key, options).chat.completions.create({ model: 'fake', messages: hello, ...params });

// refused makes a call that must be refused with a class of the SDK's, and returns the error.
async function refused(call, Class, status, code) {
  const e = await failure(call);
  assert.equal(e.constructor, Class, String(e));
  assert.equal(e.status, status);
  assert.equal(e.code, code);
  assert.match(e.requestID, /^evt_[0-9a-z]{26}$/);
  assert.equal(e.error.request_id, e.requestID);
  assert.ok(e.message.startsWith(status + ' ') && e.message.length > 20, e.message);
  return e;
}

test('401 AuthenticationError', async () => {
  await refused(ask('sk-wrong'), OpenAI.AuthenticationError, 401, 'invalid_api_key');
  await refused(ask('sk-tg-inf-' + '0'.repeat(49)), OpenAI.AuthenticationError, 401, 'invalid_api_key');
  await refused(client('sk-wrong').models.list(), OpenAI.AuthenticationError, 401, 'invalid_api_key');
});

test('403 PermissionDeniedError', async () => {
  await refused(ask('TOLLGATE_CONSUMER_TOKEN'), OpenAI.PermissionDeniedError, 403, 'auth.not_inference');
  await refused(ask('KEY_ONE_MODEL', { model: 'fake-50' }), OpenAI.PermissionDeniedError, 403, 'gateway.key_not_for_model');
});

test('404 NotFoundError', async () => {
  const e = await refused(ask('TOLLGATE_KEY', { model: 'gpt-99' }), OpenAI.NotFoundError, 404, 'model_not_found');
  assert.match(e.message, /gpt-99/);
  await refused(client().models.retrieve('gpt/99'), OpenAI.NotFoundError, 404, 'model_not_found');
  await refused(client().responses.create({ model: 'fake', input: 'x' }), OpenAI.NotFoundError, 404, 'gateway.path_unknown');
});

test('400 BadRequestError', async () => {
  const e = await failure(ask('TOLLGATE_KEY', { max_tokens: 'many' }));
  assert.equal(e.constructor, OpenAI.BadRequestError);
  assert.equal(e.param, 'max_tokens');
  assert.equal(e.type, 'invalid_request_error');
  await refused(ask('TOLLGATE_KEY', { model: undefined }), OpenAI.BadRequestError, 400, 'llm.field_missing');
});

test('400 of the upstream is handed on as it is', async () => {
  const e = await failure(ask('TOLLGATE_KEY', { model: 'fake-400' }));
  assert.equal(e.constructor, OpenAI.BadRequestError);
  assert.match(e.message, /This is a fake error with status 400/);
  assert.ok(e.requestID);
});

test('402 is raised at once', async () => {
  for (const key of ['KEY_SMALL_BUDGET', 'KEY_POOR']) {
    const n = await countingRequests(async () => {
      const e = await refused(ask(key), OpenAI.APIError, 402, key === 'KEY_POOR' ? 'settle.wallet_exhausted' : 'settle.budget_exhausted');
      assert.equal(e.type, 'payment_required');
    });
    assert.equal(n, 1, 'requests');
    assert.equal(await countingRequests(() => failure(ask(key, { stream: true }))), 1);
  }
});

test('429 RateLimitError, and its Retry-After is waited for', async () => {
  let n = 0;
  for (let i = 0; i < 200 && n < 2; i++) n = await countingRequests(() => ask('KEY_LIMITED_NODE'));
  assert.equal(n, 2);
  // Without the header the SDK waits for half a second at most.
  assert.ok(sent.at(-1).at - sent.at(-2).at >= 950, 'it did not wait');
  let e;
  for (let i = 0; i < 200 && !e; i++) {
    try {
      await ask('KEY_LIMITED_NODE', {}, { maxRetries: 0 });
    } catch (err) {
      e = err;
    }
  }
  assert.equal(e?.constructor, OpenAI.RateLimitError);
  assert.equal(e.code, 'rate_limit_exceeded');
  assert.match(e.headers.get('retry-after'), /^[12]$/);
  assert.equal(e.headers.get('x-ratelimit-limit-requests'), '30');
  assert.equal(e.headers.get('x-ratelimit-remaining-requests'), '0');
});

test('5xx InternalServerError', async () => {
  const n = await countingRequests(async () => {
    await refused(ask('TOLLGATE_KEY', { model: 'fake-500' }, { maxRetries: 1 }), OpenAI.InternalServerError, 502, 'gateway.upstream');
  });
  assert.equal(n, 2);
});

test('a stream that breaks raises an APIError and is charged for what came', async () => {
  for (const model of ['fake-error-event', 'fake-broken']) {
    const { data: stream, request_id } = await ask('TOLLGATE_KEY', { model, stream: true }).withResponse();
    let got = '';
    const e = await failure(
      (async () => {
        for await (const chunk of stream) got += chunk.choices[0].delta.content ?? '';
      })(),
    );
    assert.equal(got, 'The quick brown fox jumps', model);
    assert.equal(e.constructor, OpenAI.APIError, model);
    assert.equal(e.code, 'gateway.stream_broken');
    assert.equal(e.requestID, request_id);
    const g = await generation(request_id);
    assert.equal(g.outcome, 'upstream_lost');
    assert.equal(g.usage.output, 5);
  }
});

test('a call that is aborted is charged for what was delivered', async () => {
  const abort = new AbortController();
  const { data: stream, request_id } = await client()
    .chat.completions.create({ model: 'fake-long', messages: hello, stream: true }, { signal: abort.signal })
    .withResponse();
  let n = 0;
  for await (const chunk of stream) {
    if (chunk.choices[0].delta.content && ++n === 20) abort.abort();
  }
  assert.ok(n >= 20 && n < 2000);
  const g = await generation(request_id);
  assert.equal(g.outcome, 'client_gone');
  assert.equal(g.status, 499);
  // A chunk is a token, but for ".The", which is one of two; and some may be under way.
  assert.ok(g.usage.output >= n - 1 && g.usage.output < n + 200, `${g.usage.output} charged, ${n} received`);
  assert.ok(Number(g.charge) > 0);
});

test('a call that is aborted before its answer costs nothing', async () => {
  const abort = new AbortController();
  setTimeout(() => abort.abort(), 200);
  const e = await failure(client().chat.completions.create({ model: 'fake-slow', messages: hello }, { signal: abort.signal }));
  assert.equal(e.constructor, OpenAI.APIUserAbortError);
});

test('a deadline of the client', async () => {
  const e = await failure(ask('TOLLGATE_KEY', { model: 'fake-slow' }, { timeout: 200, maxRetries: 0 }));
  assert.equal(e.constructor, OpenAI.APIConnectionTimeoutError);
});

test('errors in Chinese', async () => {
  const e = await failure(ask('TOLLGATE_KEY', { model: 'gpt-99' }, { defaultHeaders: { 'Accept-Language': 'zh-CN,zh;q=0.9' } }));
  assert.match(e.message, /[\u4e00-\u9fff]/);
  assert.equal(e.code, 'model_not_found');
});
