// DeepL's official client, with its address and key changed. It shows no headers: what a call costs is seen in the
// characters that it says were billed, and in the usage.
import assert from 'node:assert/strict';
import fs from 'node:fs';
import os from 'node:os';
import path from 'node:path';
import { test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import * as deepl from 'deepl-node';
import { failure } from './tollgate.mjs';

const { TOLLGATE_URL: serverUrl, TOLLGATE_KEY: key } = process.env;
const client = new deepl.DeepLClient(key, { serverUrl, maxRetries: 1, minTimeout: 60_000 }); // other tests may have the processor

const english = 'Where is the railway station, please?';

test('text', async () => {
  const a = await client.translateText(english, 'en', 'zh');
  assert.match(a.text, /车站/);
  assert.equal(a.detectedSourceLang, 'en');
  assert.equal(a.billedCharacters, english.length);
});

test('batch, with the language found out', async () => {
  const all = await client.translateText([english, '车站在哪里？'], null, 'en-GB');
  assert.deepEqual(all.map((a) => a.detectedSourceLang), ['en', 'zh']);
  assert.match(all[1].text, /station/i);
  assert.deepEqual(all.map((a) => a.billedCharacters), [english.length, 6]);
});

test('HTML and XML keep their tags', async () => {
  const html = await client.translateText('<p class="a">Hello <b>world</b> &amp; friends</p>', 'en', 'zh', { tagHandling: 'html' });
  assert.match(html.text, /^<p class="a">.*[\u4e00-\u9fff].*<b>.*[\u4e00-\u9fff].*<\/b>.*&amp;.*<\/p>$/s);
  const xml = await client.translateText('<doc><x id="1">Hello</x><keep>Hello</keep></doc>', 'en', 'zh', { tagHandling: 'xml', ignoreTags: ['keep'] });
  assert.equal(xml.text, '<doc><x id="1">你好</x><keep>Hello</keep></doc>');
});

test('glossaries of one pair', async () => {
  const entries = new deepl.GlossaryEntries({ entries: { tollgate: '收费站', 'top up': '充值' } });
  const made = await client.createGlossary('ours', 'en', 'zh', entries);
  assert.deepEqual([made.name, made.sourceLang, made.targetLang, made.entryCount, made.ready], ['ours', 'en', 'zh', 2, true]);
  assert.ok(Math.abs(Date.now() - made.creationTime) < 60_000);
  try {
    assert.ok((await client.listGlossaries()).some((g) => g.glossaryId === made.glossaryId));
    assert.equal((await client.getGlossary(made.glossaryId)).entryCount, 2);
    assert.deepEqual((await client.getGlossaryEntries(made)).entries(), entries.entries());
    const a = await client.translateText('The tollgate is open.', 'en', 'zh', { glossary: made });
    assert.match(a.text, /收费站/);
    const e = await failure(client.translateText('The tollgate is open.', null, 'zh', { glossary: made.glossaryId }));
    assert.ok(e instanceof deepl.DeepLError, String(e));
    assert.match(e.message, /source_?lang/i);
  } finally {
    await client.deleteGlossary(made);
  }
  assert.equal((await failure(client.getGlossary(made.glossaryId))).constructor, deepl.GlossaryNotFoundError);
});

test('glossaries of several pairs', async () => {
  const dictionary = (sourceLangCode, targetLangCode, entries) => ({ sourceLangCode, targetLangCode, entries: new deepl.GlossaryEntries({ entries }) });
  const made = await client.createMultilingualGlossary('both', [dictionary('en', 'zh', { hold: '预占' }), dictionary('zh', 'en', { 预占: 'hold' })]);
  assert.equal(made.dictionaries.length, 2);
  try {
    assert.ok((await client.listMultilingualGlossaries()).some((g) => g.glossaryId === made.glossaryId));
    await client.updateMultilingualGlossaryDictionary(made, dictionary('en', 'zh', { spool: '缓冲' }));
    const got = await client.getMultilingualGlossaryDictionaryEntries(made, 'en', 'zh');
    assert.deepEqual(got.entries.entries(), { hold: '预占', spool: '缓冲' });
    assert.match((await client.translateText('a hold', 'en', 'zh', { glossary: made.glossaryId })).text, /预占/);
    await client.replaceMultilingualGlossaryDictionary(made, dictionary('en', 'zh', { hold: '冻结' }));
    assert.match((await client.translateText('a hold', 'en', 'zh', { glossary: made.glossaryId })).text, /冻结/);
    await client.deleteMultilingualGlossaryDictionary(made, 'zh', 'en');
    assert.equal((await client.getMultilingualGlossary(made.glossaryId)).dictionaries.length, 1);
  } finally {
    await client.deleteMultilingualGlossary(made);
  }
});

test('languages', async () => {
  const codes = (list) => list.map((l) => l.code);
  const source = codes(await client.getSourceLanguages()), target = codes(await client.getTargetLanguages());
  assert.ok(source.includes('en') && source.includes('zh') && !source.includes('en-US'), String(source));
  assert.ok(target.includes('zh') && target.includes('en-GB') && target.includes('en-US'), String(target));
  const pairs = await client.getGlossaryLanguagePairs();
  assert.ok(pairs.some((p) => p.sourceLang === 'en' && p.targetLang === 'zh'));
});

test('usage counts what is billed', async () => {
  const count = async () => (await client.getUsage()).character.count;
  await sleep(500); // what the tests above used is settled
  const before = await count();
  const { billedCharacters } = await client.translateText(english, 'en', 'zh');
  let now = before;
  for (let i = 0; now === before && i < 50; i++) {
    await sleep(100);
    now = await count();
  }
  assert.equal(now - before, billedCharacters);
  assert.equal((await client.getUsage()).anyLimitReached(), false);
});

test('documents', async () => {
  const dir = fs.mkdtempSync(path.join(os.tmpdir(), 'tollgate-sdk-'));
  try {
    const file = (name) => path.join(dir, name);
    fs.writeFileSync(file('in.html'), '<h1>Hello</h1><p>Where is the <i>station</i>?</p>');
    const status = await client.translateDocument(file('in.html'), file('out.html'), 'en', 'zh');
    assert.ok(status.done() && status.billedCharacters > 10);
    assert.match(fs.readFileSync(file('out.html'), 'utf8'), /^<h1>你好<\/h1><p>.*<i>.*站.*<\/i>.*<\/p>$/);
    fs.writeFileSync(file('in.txt'), 'Good morning');
    const handle = await client.uploadDocument(file('in.txt'), 'en', 'zh');
    assert.ok((await client.getDocumentStatus(handle)).done());
    await client.downloadDocument(handle, file('out.txt'));
    assert.equal(fs.readFileSync(file('out.txt'), 'utf8'), '早上好');
    const e = await failure(client.translateDocument(file('in.txt'), file('ja.txt'), 'en', 'ja'));
    assert.equal(e.constructor, deepl.DocumentTranslationError);
    assert.ok(!fs.existsSync(file('ja.txt')));
  } finally {
    fs.rmSync(dir, { recursive: true });
  }
});

test('what cannot be done is a DeepLError with a text', async () => {
  const e = await failure(client.translateText(english, 'en', 'ja'));
  assert.equal(e.constructor, deepl.DeepLError);
  assert.match(e.message, /^Bad request, message: .*ja/);
});

test('a bad key, and nothing left to spend', async () => {
  const refused = async (authKey, Class) => {
    const e = await failure(new deepl.DeepLClient(authKey, { serverUrl }).translateText(english, 'en', 'zh'));
    assert.equal(e.constructor, Class, String(e));
  };
  await refused('sk-wrong', deepl.AuthorizationError);
  await refused('sk-tg-inf-' + '0'.repeat(49), deepl.AuthorizationError);
  await refused(process.env.KEY_SMALL_BUDGET, deepl.QuotaExceededError);
});
