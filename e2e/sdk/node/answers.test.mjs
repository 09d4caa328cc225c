import assert from 'node:assert/strict';
import { test } from 'node:test';
import { atUpstream, behave, client, generation, hello, sent } from './tollgate.mjs';

const text = 'The quick brown fox jumps over the lazy dog.';

test('chat', async () => {
  const { data, response, request_id } = await client()
    .chat.completions.create({ model: 'fake', messages: hello })
    .withResponse();
  assert.equal(data.choices[0].message.content, text + text);
  assert.equal(data.choices[0].finish_reason, 'stop');
  assert.deepEqual([data.usage.prompt_tokens, data.usage.completion_tokens, data.usage.total_tokens], [10, 20, 30]);
  assert.match(request_id, /^evt_[0-9a-z]{26}$/);
  assert.equal(data._request_id, request_id);
  assert.equal(response.headers.get('x-tollgate-cost'), '0.0000135 USD');
});

test('the cost in the answer is what is charged', async () => {
  const a = await client().chat.completions.create({ model: 'fake-classes', messages: hello });
  const g = await generation(a._request_id);
  assert.equal(g.outcome, 'completed');
  assert.ok(a.usage.cost > 0);
  assert.equal(a.usage.cost, Number(g.charge));
  assert.equal(a.usage.currency, g.currency);
  assert.deepEqual(g.usage, { input: 450, cached_input: 400, cache_write: 100, output: 100, reasoning: 80, audio_input: 50, audio_output: 20 });
});

test('stream', async () => {
  const { data: stream, request_id } = await client()
    .chat.completions.create({ model: 'fake', messages: hello, stream: true })
    .withResponse();
  let got = '';
  for await (const chunk of stream) {
    assert.equal(chunk.choices.length, 1, 'an event that was not asked for');
    assert.ok(!chunk.usage, 'usage that was not asked for');
    got += chunk.choices[0].delta.content ?? '';
  }
  assert.equal(got, text + text);
  const g = await generation(request_id);
  assert.equal(g.charge, '0.0000135');
  assert.equal(g.estimated, false);
  assert.equal(g.stream, true);
});

test('stream with usage', async () => {
  const { data: stream, request_id } = await client()
    .chat.completions.create({ model: 'fake', messages: hello, stream: true, stream_options: { include_usage: true } })
    .withResponse();
  let last;
  for await (const chunk of stream) last = chunk;
  assert.deepEqual(last.choices, []);
  assert.equal(last.usage.completion_tokens, 20);
  assert.equal(last.usage.cost, Number((await generation(request_id)).charge));
});

test('stream of a model that reports no usage', async () => {
  const { data: stream, request_id } = await client()
    .chat.completions.create({ model: 'fake-no-usage', messages: hello, stream: true, stream_options: { include_usage: true } })
    .withResponse();
  let last;
  for await (const chunk of stream) last = chunk;
  const g = await generation(request_id);
  assert.equal(g.estimated, true);
  assert.equal(last.usage.completion_tokens, g.usage.output);
  assert.equal(last.usage.cost, Number(g.charge));
});

test('stream helpers', async () => {
  const events = [];
  const stream = client()
    .chat.completions.stream({ model: 'fake', messages: hello, stream_options: { include_usage: true } })
    .on('content', (delta) => events.push(delta));
  assert.deepEqual(await stream.finalMessage(), { role: 'assistant', content: text + text, refusal: null, parsed: null });
  assert.equal(await stream.finalContent(), text + text);
  const whole = await stream.finalChatCompletion();
  assert.equal(whole.choices[0].finish_reason, 'stop');
  assert.equal((await stream.totalUsage()).total_tokens, 30);
  assert.equal(events.join(''), text + text);
});

test('stream that a client reads elsewhere', async () => {
  const stream = await client().chat.completions.create({ model: 'fake', messages: hello, stream: true });
  const [one, two] = stream.tee();
  const read = async (s) => {
    let got = '';
    for await (const c of s) got += c.choices[0].delta.content ?? '';
    return got;
  };
  assert.deepEqual(await Promise.all([read(one), read(two)]), [text + text, text + text]);
});

test('several choices', async () => {
  const a = await client().chat.completions.create({ model: 'fake', messages: hello, n: 3, max_tokens: 5 });
  assert.deepEqual(a.choices.map((c) => c.index), [0, 1, 2]);
  assert.equal(a.choices[2].finish_reason, 'length');
  assert.equal(a.usage.completion_tokens, 15);
  assert.equal((await generation(a._request_id)).usage.output, 15);
});

const weather = {
  type: 'function',
  function: {
    name: 'weather',
    description: 'The weather somewhere',
    parameters: { type: 'object', properties: { location: { type: 'string' }, unit: { enum: ['celsius', 'fahrenheit'] } }, required: ['location'] },
  },
};

test('tools', async () => {
  const first = await client().chat.completions.create({ model: 'fake-tools', messages: hello, tools: [weather] });
  const { message, finish_reason } = first.choices[0];
  assert.equal(finish_reason, 'tool_calls');
  assert.equal(message.tool_calls[0].function.name, 'weather');
  assert.deepEqual(JSON.parse(message.tool_calls[0].function.arguments), { location: 'Paris', unit: 'celsius' });
  const messages = [...hello, message, { role: 'tool', tool_call_id: message.tool_calls[0].id, content: '21 °C, 晴' }];
  const second = await client().chat.completions.create({ model: 'fake-tools', messages, tools: [weather] });
  assert.equal(second.choices[0].message.content, text + text);
});

test('tools, streamed', async () => {
  const stream = client().chat.completions.stream({ model: 'fake-tools', messages: hello, tools: [weather] });
  const done = [];
  stream.on('tool_calls.function.arguments.done', (call) => done.push(call.name));
  const message = await stream.finalMessage();
  assert.equal(message.tool_calls[0].function.arguments, '{"location":"Paris","unit":"celsius"}');
  assert.deepEqual(done, ['weather']);
});

test('tools, run by the SDK', async () => {
  const asked = [];
  for (const stream of [false, true]) {
    const runner = client().chat.completions.runTools({
      model: 'fake-tools',
      messages: hello,
      stream,
      tools: [{ type: 'function', function: { ...weather.function, parse: JSON.parse, function: (args) => (asked.push(args.location), 'sunny') } }],
    });
    assert.equal(await runner.finalContent(), text + text);
  }
  assert.deepEqual(asked, ['Paris', 'Paris']);
});

// passesThrough calls the model that remembers, and compares what the SDK sent with what the upstream received.
async function passesThrough(params) {
  const answer = await client().chat.completions.create({ model: 'fake-echo', ...params });
  assert.deepEqual(await atUpstream(), JSON.parse(sent.at(-1).body));
  return answer;
}

test('images pass through untouched', async () => {
  const pixel = 'iVBORw0KGgoAAAANSUhEUgAAAAEAAAABCAYAAAAfFcSJAAAADUlEQVR42mNk+M9QDwADhgGAWjR9awAAAABJRU5ErkJggg==';
  await passesThrough({
    messages: [
      {
        role: 'user',
        content: [
          { type: 'text', text: 'What is this? 这是什么？ "\\\u2028' },
          { type: 'image_url', image_url: { url: 'data:image/png;base64,' + pixel, detail: 'low' } },
          { type: 'image_url', image_url: { url: 'https://images.example/cat.png?a=1&b=2' } },
        ],
      },
    ],
  });
});

test('structured output passes through', async () => {
  const response_format = {
    type: 'json_schema',
    json_schema: { name: 'answer', strict: true, schema: { type: 'object', properties: { model: { type: 'string' } }, required: ['model'], additionalProperties: false } },
  };
  await passesThrough({ messages: hello, response_format });
  // The model's answer is the request, which is JSON: the SDK parses it.
  const a = await client().chat.completions.parse({ model: 'fake-echo', messages: hello, response_format });
  assert.deepEqual(a.choices[0].message.parsed.response_format, response_format);
});

test('parameters that only the upstream knows pass through', async () => {
  await passesThrough({ messages: hello, temperature: 0.3, seed: 7, logit_bias: { 50256: -100 }, metadata: { a: 'b' }, reasoning_effort: 'low', top_k: 40, guided_json: { x: [1, 2.5e-3, null] } });
});

test('embeddings', async () => {
  const a = await client().embeddings.create({ model: 'fake', input: ['one', 'two'] });
  assert.equal(JSON.parse(sent.at(-1).body).encoding_format, 'base64', 'the default of this SDK');
  const floats = await client().embeddings.create({ model: 'fake', input: ['one', 'two'], encoding_format: 'float' });
  assert.equal(a.data.length, 2);
  for (const [i, { embedding }] of a.data.entries()) {
    assert.equal(embedding.length, 8);
    embedding.forEach((v, j) => assert.ok(Math.abs(v - floats.data[i].embedding[j]) < 1e-6));
  }
  const g = await generation(a._request_id);
  assert.equal(a.usage.cost, Number(g.charge));
  assert.deepEqual(g.usage, { input: 20 });
});

test('models', async () => {
  const ids = [];
  for await (const m of client().models.list()) ids.push(m.id);
  assert.ok(ids.includes('fake') && ids.includes('fake-50') && ids.includes('fake/with/slashes:7b'), ids.join());
  const m = await client().models.retrieve('fake/with/slashes:7b');
  assert.deepEqual([m.id, m.object, m.owned_by], ['fake/with/slashes:7b', 'model', 'demo-provider']);
  for (const model of [m.id, 'demo-provider/' + m.id]) {
    const a = await client().chat.completions.create({ model, messages: hello });
    assert.equal(a.choices[0].message.content, text + text);
  }
});

test('what the upstream fails at first is retried', async () => {
  await behave('fake-50', 'fail=1&status=500');
  const before = sent.length;
  const a = await client().chat.completions.create({ model: 'fake-50', messages: hello });
  await behave('fake-50', '-');
  assert.equal(a.choices[0].finish_reason, 'stop');
  assert.equal(sent.length - before, 2);
});
