// OpenAI's official client at the platform's own engines: speech, sentence vectors, images.
import OpenAI from 'openai';
import assert from 'node:assert/strict';
import { test } from 'node:test';
import { client, failure, generation } from './tollgate.mjs';

// installed lets a test end where an engine is missing, which is an error in the full run.
async function installed(t, run) {
  try {
    await run();
  } catch (e) {
    if (!(e instanceof OpenAI.APIError && e.code === 'engine.missing') || process.env.TOLLGATE_TEST_REQUIRE === '1') throw e;
    t.skip(e.message);
  }
}

// settled checks that the cost in the answer's headers is the price of its units, and what was charged.
async function settled(headers, meter, price) {
  const [quantity, of] = headers.get('x-tollgate-units').split(' ');
  assert.equal(of, meter);
  const cost = headers.get('x-tollgate-cost');
  assert.equal(cost, `${Number((Number(quantity) * price).toFixed(9))} USD`);
  const { charge, currency, outcome } = await generation(headers.get('x-request-id'));
  assert.deepEqual([outcome, `${charge} ${currency}`], ['completed', cost]);
  return Number(quantity);
}

const perMinute = 0.006 / 60, perCharacter = 15 / 1e6;
const input = 'The quick brown fox jumps over the lazy dog.';

// spoken is the text as a WAV file.
async function spoken() {
  const answer = await client().audio.speech.create({ model: 'speech', voice: 'alloy', input, response_format: 'wav' });
  return { answer, sound: Buffer.from(await answer.arrayBuffer()) };
}

test('speech', async (t) => {
  await installed(t, async () => {
    const { answer, sound } = await spoken();
    assert.match(answer.headers.get('content-type'), /^audio\/(x-)?wav/);
    assert.equal(sound.toString('latin1', 0, 4) + sound.toString('latin1', 8, 12), 'RIFFWAVE');
    assert.ok(sound.length > 30_000);
    assert.equal(await settled(answer.headers, 'characters', perCharacter), input.length);
    const slow = await client().audio.speech.create({ model: 'speech', voice: 'alloy', input, response_format: 'wav', speed: 0.5 });
    assert.ok((await slow.arrayBuffer()).byteLength > 1.4 * sound.length);
  });
});

test('transcription', async (t) => {
  await installed(t, async () => {
    const { sound } = await spoken();
    const seconds = (sound.length - 44) / sound.readUInt32LE(28);
    const ask = (more) =>
      client().audio.transcriptions.create({ model: 'speech', file: new File([sound], 'fox.wav', { type: 'audio/wav' }), ...more }).withResponse();
    const { data, response } = await ask({});
    assert.match(data.text, /\bdog\b|\bfox\b|\bquick\b/i);
    assert.ok(Math.abs((await settled(response.headers, 'audio_seconds', perMinute)) - seconds) < 0.1);

    const { data: verbose } = await ask({ response_format: 'verbose_json', timestamp_granularities: ['word', 'segment'], language: 'en' });
    assert.equal(verbose.language, 'english');
    assert.ok(Math.abs(verbose.duration - seconds) < 0.1);
    assert.ok(verbose.segments.length > 0 && verbose.words.length > 3);
    let last = 0;
    for (const { start, end } of verbose.words) {
      assert.ok(start >= last - 0.02 && end >= start && end <= seconds + 0.1, JSON.stringify(verbose.words));
      last = start;
    }

    const { data: srt } = await ask({ response_format: 'srt' });
    assert.match(srt, /^1\r?\n00:00:0\d,\d{3} --> 00:00:0\d,\d{3}\r?\n\S/);
    const { data: vtt } = await ask({ response_format: 'vtt' });
    assert.match(vtt, /^WEBVTT\r?\n/);
    const { data: text } = await ask({ response_format: 'text' });
    assert.equal(text.trim(), data.text.trim());
  });
});

test('what is no sound is the caller\'s mistake', async () => {
  const file = new File(['RIFF, but no more'], 'broken.wav', { type: 'audio/wav' });
  const e = await failure(client().audio.transcriptions.create({ model: 'speech', file }));
  assert.ok(e instanceof OpenAI.BadRequestError || e instanceof OpenAI.UnprocessableEntityError, String(e));
  assert.match(e.requestID, /^evt_/);
});

test('sentence vectors', async () => {
  const texts = ['How do I top up my wallet?', 'Adding money to the wallet', 'The weather is fine today'];
  const { data, response } = await client().embeddings.create({ model: 'sentence-vectors', input: texts }).withResponse();
  const [a, b, c] = data.data.map((d) => d.embedding);
  const dot = (x, y) => x.reduce((sum, v, i) => sum + v * y[i], 0);
  assert.ok(Math.abs(dot(a, a) - 1) < 1e-3, 'not of length one');
  assert.ok(dot(a, b) > dot(a, c), `${dot(a, b)}, ${dot(a, c)}`);
  assert.equal(data.usage.cost, Number((await generation(response.headers.get('x-request-id'))).charge));
  assert.ok(data.usage.cost > 0);
});

test('no image can be generated without an upstream', async () => {
  const generate = (model) => failure(client().images.generate({ model, prompt: 'a tollgate in the fog' }));
  assert.equal((await generate('gpt-image-1')).constructor, OpenAI.NotFoundError);
  const e = await generate('vision');
  assert.equal(e.constructor, OpenAI.BadRequestError);
  assert.equal(e.code, 'gateway.wrong_operation');
});
