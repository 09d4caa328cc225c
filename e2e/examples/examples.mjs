// The examples as a visitor meets them, in Debian's Chromium. One example a run: node examples.mjs NAME. The environment
// is demo.env's, with CHROMIUM, SCREENSHOTS (a folder) and PAGE, the address at which the example is served.
import assert from 'node:assert/strict';
import { inspect, open as show, phone, play, says } from '../browser/chromium.mjs';

const { TOLLGATE_URL: origin, TOLLGATE_KEY: key, PAGE: page0 } = process.env;

// open shows the example to a visitor.
const open = (visitor) => show(page0, visitor);

// call is a request of the shop's or the desk's own server, with its key.
async function call(method, at, body) {
  const r = await fetch(origin + at, { method, headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' }, body: body && JSON.stringify(body) });
  assert.ok(r.ok, `${method} ${at}: ${r.status} ${r.ok ? '' : await r.text()}`);
  return r.json();
}

const scenarios = {
  async 'translate-react'() {
    const page = await open({ allow: /status of (413|429)|net::ERR_FAILED/ });
    const translate = async (text) => {
      await page.getByLabel('文本').fill(text);
      await page.getByRole('button', { name: '翻译' }).click();
    };
    const sent = page.waitForRequest('**/translate');
    await translate('Good morning');
    const request = await sent;
    assert.deepEqual(request.postDataJSON(), { text: 'Good morning', sourceLanguage: 'en', targetLanguage: 'zh' });
    assert.equal((await request.allHeaders()).authorization, undefined);
    assert.notEqual(new URL(page0).origin, origin, 'no other origin: CORS is not tried');
    await says(page.locator('output'), /早|上午/);
    await inspect(page, 'translate-light-1280');

    await page.getByLabel('原文语言').selectOption('zh');
    await page.getByLabel('目标语言').selectOption('en');
    await translate('你好');
    await says(page.locator('output'), /hello/i);
    assert.equal(await page.locator('output').getAttribute('lang'), 'en');
    await page.setViewportSize(phone);
    await page.emulateMedia({ colorScheme: 'dark' });
    await inspect(page, 'translate-dark-390');

    const alert = page.getByRole('alert');
    await translate('x'.repeat(3 << 20));
    await says(alert, /too (large|long)|at most/i);
    await page.getByLabel('文本').fill('hello');
    await page.route('**/translate', (route) => route.abort(), { times: 1 });
    await translate('hello');
    await says(alert, /fetch/i);
    // The free tier has an end; what it says is shown.
    for (let i = 0; ; i++) {
      const answered = page.waitForResponse('**/translate');
      await translate('hello');
      const answer = await answered;
      if (answer.status() === 429) {
        const { error } = await answer.json();
        assert.ok(error.length > 10 && Number(answer.headers()['retry-after']) > 0);
        await says(alert, error);
        break;
      }
      assert.ok(answer.ok() && i < 60, `${answer.status()}, ${i}`);
      await says(page.locator('output'), /hello/i);
    }
    await inspect(page, 'translate-refused-dark-390');
  },

  async 'support-bot'() {
    const page = await open();
    await page.getByRole('button', { name: 'Open chat' }).click();
    const chat = page.getByRole('dialog', { name: 'Help' });
    const bot = chat.locator('.m.bot');
    await says(bot, 'Hello! Ask me');
    const ask = async (text) => {
      await chat.getByLabel('Write a message').fill(text);
      await chat.getByLabel('Write a message').press('Enter');
      await says(chat.locator('.m.user'), text);
    };
    const streamed = page.waitForResponse((r) => r.url().endsWith('/messages'));
    await ask('How do I revoke a key?');
    assert.match((await streamed).headers()['content-type'], /^text\/event-stream/);
    await says(bot, 'within two seconds');
    await chat.getByText('Sources').last().click();
    await says(chat.locator('details[open] li'), 'Keys › Revoke a key');
    await inspect(page, 'support-light-1280');
    await chat.getByText('Sources').last().click();
    await ask('如何撤销密钥？');
    const zh = bot.filter({ hasText: '两秒内' });
    await zh.waitFor();
    assert.equal(await zh.locator('[lang]').getAttribute('lang'), 'zh');
    await zh.getByText('Sources').click();
    await says(zh.locator('li'), '吊销密钥');
    await page.setViewportSize(phone);
    await page.emulateMedia({ colorScheme: 'dark' });
    await inspect(page, 'support-dark-390');
    // What was said is still there after a reload.
    await page.reload();
    await page.getByRole('button', { name: 'Open chat' }).click();
    await says(chat.locator('.m.user'), '如何撤销密钥？');

    await chat.getByRole('button', { name: 'Talk to a person' }).click();
    await says(chat.locator('.m.event'), 'Alex has joined');
    const { data } = await call('GET', '/v1/assist/desk/sessions?state=human');
    const { id } = data[0];
    const transcript = JSON.stringify(await call('GET', '/v1/assist/desk/sessions/' + id));
    assert.ok(transcript.includes('How do I revoke a key?') && transcript.includes('如何撤销密钥？'));
    await call('POST', `/v1/assist/desk/sessions/${id}/messages`, { text: '您好，我是 Alex。' });
    await says(chat.locator('.m.agent'), '我是 Alex');
    await ask('Thank you, that is all.');
    await inspect(page, 'support-person-dark-390');
    await chat.getByRole('button', { name: 'End conversation' }).click();
    await chat.locator('.stars label').last().click();
    assert.ok(await chat.getByLabel('5 of 5').isChecked());
    await chat.getByRole('button', { name: 'Submit' }).click();
    await says(chat.locator('.m.event'), 'Thank you for your rating');
    assert.equal((await call('GET', '/v1/assist/desk/sessions/' + id)).rating, 5);
    await inspect(page, 'support-rated-dark-390');
  },

  // A visitor who speaks: the browser's microphone is a recording of "how do I revoke a key".
  async voice() {
    const page = await open({ permissions: ['microphone'] });
    await page.getByRole('button', { name: 'Open chat' }).click();
    const chat = page.getByRole('dialog', { name: 'Help' });
    await says(chat.locator('.m.bot'), 'Hello! Ask me');
    const mic = chat.getByRole('button', { name: 'Speak' });
    const stop = chat.getByRole('button', { name: 'Stop and send' });
    await mic.click();
    await says(chat.getByRole('status'), 'Listening');
    assert.equal(await stop.getAttribute('aria-pressed'), 'true');
    await inspect(page, 'support-voice-light-1280');
    await page.keyboard.press('Escape'); // discards, and leaves the window open
    await mic.waitFor();
    assert.equal(await chat.locator('.m.user').count(), 0);
    // While the browser asks for leave: who closes the window is not recorded, and two presses open one microphone.
    await page.evaluate(() => {
      const media = navigator.mediaDevices, ask = media.getUserMedia.bind(media);
      const leave = new Promise((ok) => { window.allow = ok; });
      window.given = [];
      media.getUserMedia = async (wanted) => {
        await leave;
        const stream = await ask(wanted);
        window.given.push(stream.getTracks()[0]);
        return stream;
      };
    });
    const live = (given) => page.waitForFunction(([n, live]) => window.given.length === n && window.given.filter((track) => track.readyState === 'live').length === live, given);
    await mic.click();
    await chat.getByRole('button', { name: 'Close chat' }).click();
    await page.evaluate(() => window.allow());
    await live([1, 0]);
    await page.getByRole('button', { name: 'Open chat' }).click();
    assert.equal(await mic.getAttribute('aria-pressed'), 'false');
    await mic.evaluate((b) => { b.click(); b.click(); });
    await stop.waitFor();
    await live([3, 1]);
    await page.keyboard.press('Escape');
    await live([3, 0]);
    await mic.click();
    await stop.waitFor();
    await page.waitForTimeout(3500); // the recording is as long
    const answered = page.waitForResponse((r) => r.url().endsWith('/voice'));
    await stop.click();
    const r = await answered;
    assert.ok(r.ok(), `${r.status()} ${await r.text()}`);
    const body = await r.json();
    assert.ok(body.heard.text && body.heard.seconds > 1, JSON.stringify(body.heard));
    assert.ok(body.audio.data.length > 1000, 'no sound came back');
    await says(chat.locator('.m.user'), body.heard.text);
    await chat.locator('.m.bot').nth(1).waitFor();
    await mic.waitFor();
    // A recording that ends while something written is being answered is not lost without a word.
    await mic.click();
    await stop.waitFor();
    let answer;
    const asked = new Promise((ok) => { answer = ok; });
    await page.route('**/messages', (route) => answer(route), { times: 1 });
    await chat.getByLabel('Write a message').fill('What is a hold?');
    await page.keyboard.press('Enter');
    const route = await asked;
    await page.evaluate(() => window.given.at(-1).stop());
    await says(chat.getByRole('alert'), 'What you said was not sent');
    await route.continue();
    await chat.locator('.m.bot').nth(2).waitFor();
    // A browser without a microphone to give is told so; one without means to record has no button.
    const deaf = await open();
    await deaf.addInitScript(() => { delete window.MediaRecorder; });
    await deaf.reload();
    await deaf.getByRole('button', { name: 'Open chat' }).click();
    await says(deaf.locator('.m.bot'), 'Hello! Ask me');
    assert.equal(await deaf.getByRole('button', { name: 'Speak' }).count(), 0);
  },

  async recommend() {
    const page = await open({ allow: /status of 403/ });
    const list = (name) => page.locator(`[data-list="${name}"] button`);
    const ids = (name) => list(name).evaluateAll((all) => all.map((b) => b.dataset.item));
    await list('for-you').first().waitFor();
    await list('trending').first().waitFor();
    assert.equal((await ids('for-you')).length, 5);
    assert.equal((await ids('trending')).length, 5);
    await says(page.locator('#how'), /arm “(popular|hybrid)” of the experiment “front-page”/);
    await inspect(page, 'recommend-light-1280');

    // A visitor of each arm: a click changes the list at once.
    const arms = new Set();
    for (let i = 0; arms.size < 2; i++) {
      assert.ok(i < 40, 'one arm has no visitor of 40');
      const other = await open();
      const get = (name) => other.locator(`[data-list="${name}"] button`);
      await get('for-you').first().waitFor();
      const arm = /arm “(\w+)”/.exec(await other.locator('#how').textContent())[1];
      if (!arms.has(arm)) {
        arms.add(arm);
        const before = await get('for-you').evaluateAll((all) => all.map((b) => b.dataset.item));
        const event = other.waitForRequest('**/events');
        await get('for-you').first().click();
        const [sent] = (await event).postDataJSON().events;
        assert.equal(sent.item, before[0]);
        assert.match(sent.request_id, /^rec_/);
        await says(other.locator('#note'), /You chose .* after \d+ ms/);
        await get('similar').first().waitFor();
        const after = await get('for-you').evaluateAll((all) => all.map((b) => b.dataset.item));
        assert.notDeepEqual(after, before);
        assert.ok(!after.includes(before[0]), 'what was chosen is offered again');
        if (arm === 'hybrid') {
          assert.match(await get('for-you').first().textContent(), /you (viewed|have chosen|chose)/);
          await other.setViewportSize(phone);
          await other.emulateMedia({ colorScheme: 'dark' });
          await inspect(other, 'recommend-chosen-dark-390');
        }
      }
      await other.context().close();
    }
    const { results } = await call('GET', '/v1/recommend/spaces/shop/experiments/front-page');
    assert.deepEqual(results.map((r) => [r.arm, r.clicked]), [['popular', 1], ['hybrid', 1]]);
    assert.ok(results[1].click, 'no uplift');

    await page.getByLabel('You are').selectOption('u1');
    await page.locator('[data-list="for-you"] small', { hasText: /viewed|chosen/ }).first().waitFor();
    // The key asks and tells; it does not manage.
    const refused = await page.evaluate(async () => {
      const { url, key, space } = document.querySelector('script[data-space]').dataset;
      const r = await fetch(`${url}/v1/recommend/spaces/${space}/users/u1/export`, { headers: { Authorization: `Bearer ${key}` } });
      return [r.status, (await r.json()).code];
    });
    assert.deepEqual(refused, [403, 'gateway.not_for_pages']);
  },
};

await play(scenarios);
