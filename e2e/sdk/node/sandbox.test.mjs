import assert from 'node:assert/strict';
import { test } from 'node:test';
import { client, failure, generation, sent } from './tollgate.mjs';

const model = process.env.TOLLGATE_MODEL;
const messages = [{ role: 'user', content: 'What is a hold? 什么是预扣？' }];

test('chat', async () => {
  const a = await client().chat.completions.create({ model, messages });
  assert.equal(a.choices[0].finish_reason, 'stop');
  assert.equal(a.usage.cost, Number((await generation(a._request_id)).charge));
});

test('stream', async () => {
  const stream = client().chat.completions.stream({ model, messages, stream_options: { include_usage: true } });
  const whole = await stream.finalChatCompletion();
  assert.ok(whole.choices[0].message.content.length > 100);
  assert.ok((await stream.totalUsage()).completion_tokens > 10);
  let chunks = 0;
  for await (const chunk of await client().chat.completions.create({ model, messages, stream: true })) {
    assert.ok(!chunk.usage && chunk.choices.length === 1, JSON.stringify(chunk));
    chunks++;
  }
  assert.ok(chunks > 3);
});

test('embeddings', async () => {
  const ask = (input, more) => client().embeddings.create({ model, input, ...more });
  const a = await ask(['a hold', 'a hold', 'apples']);
  assert.equal(JSON.parse(sent.at(-1).body).encoding_format, 'base64');
  const [one, two, other] = a.data.map((d) => d.embedding);
  assert.deepEqual(one, two);
  assert.notDeepEqual(one, other);
  const floats = (await ask('a hold', { encoding_format: 'float' })).data[0].embedding;
  assert.equal(floats.length, one.length);
  floats.forEach((v, i) => assert.ok(Math.abs(v - one[i]) < 1e-6));
  assert.equal(a.usage.cost, Number((await generation(a._request_id)).charge));
});

test('what it cannot do it refuses', async () => {
  const e = await failure(client().chat.completions.create({ model, messages: [] }));
  assert.equal(e.status, 400);
});
