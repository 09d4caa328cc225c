// The pages as a reader meets them, in Debian's Chromium. One scenario a run: node browser.mjs NAME. The
// environment is demo.env's, with CHROMIUM, SCREENSHOTS (a folder) and the keys that browser_test.go makes.
import assert from 'node:assert/strict';
import { desktop, inspect, open as show, phone, play, says } from './chromium.mjs';

const { TOLLGATE_URL: origin, TOLLGATE_KEY: key } = process.env;

// open shows a page of the platform to a reader.
const open = (at, reader) => show(origin + at, { permissions: ['clipboard-read', 'clipboard-write'], ...reader });

// ask fills in the field to try a call and sends it.
async function ask(page, { with: credential = key, model, prompt = 'What is a hold?' }) {
  await page.getByLabel('Inference key').fill(credential);
  if (model) await page.getByLabel('Product', { exact: true }).selectOption(model);
  await page.getByLabel('Message').fill(prompt);
  await page.getByRole('button', { name: 'Send' }).click();
}

const status = (page) => page.locator('#trystatus');

const scenarios = {
  async pages() {
    const looks = [['light', 'en-US', desktop], ['dark', 'zh-CN', desktop], ['dark', 'en-US', phone], ['light', 'zh-CN', phone]];
    for (const [name, at, times] of [['home', '/', 4], ['product', '/products/demo-provider/sandbox', 4], ['nothing', '/nothing-here', 1]]) {
      for (const [colorScheme, locale, viewport] of looks.slice(0, times)) {
        const page = await open(at, { colorScheme, locale, viewport, allow: name === 'nothing' && /status of 404/ });
        await inspect(page, `${name}-${colorScheme}-${locale.slice(0, 2)}-${viewport.width}`);
        await page.context().close();
      }
    }
  },

  async language() {
    const page = await open('/');
    await says(page.getByRole('heading', { level: 2 }), 'On sale');
    await page.getByRole('link', { name: '中文' }).click();
    await says(page.getByRole('heading', { level: 2 }), '在售产品');
    assert.equal(await page.getAttribute('html', 'lang'), 'zh-CN');
    await page.goto(origin + '/products/demo-provider/sandbox'); // remembered
    await says(page.getByRole('heading', { level: 1 }), '沙盒模型');
    await page.getByRole('link', { name: 'English' }).click();
    await says(page.getByRole('heading', { level: 1 }), 'Sandbox model');
    await page.goto(origin + '/');
    await says(page.getByRole('heading', { level: 2 }), 'On sale');
  },

  async call() {
    const page = await open('/products/demo-provider/sandbox');
    const asked = page.waitForRequest('**/v1/chat/completions');
    await ask(page, {});
    assert.equal((await asked).postDataJSON().stream, true);
    await says(status(page), /^Done in /);
    assert.match(await page.locator('#tryanswer').textContent(), /hold/i);
    assert.match(await page.locator('#tryfirst').textContent(), /^[\d.]+ m?s$/);
    const [, input, output] = /^(\d+) \/ (\d+)$/.exec(await page.locator('#trytokens').textContent());
    const cost = await page.locator('#trycost').textContent();
    assert.equal(cost, `${exact(Number(input) * 150 + Number(output) * 600)} USD`); // USD 0.15 and 0.60 for a million
    await says(page.locator('#tryrecord'), `Settled: ${cost} in transaction txn_`);
    // The key is nowhere but in the field.
    const kept = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href, document.documentElement.outerHTML]));
    assert.ok(!kept.includes(key) && !JSON.stringify(await page.context().cookies()).includes(key), 'the key was kept');
    await inspect(page, 'answer-light-en-1280');
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.setViewportSize(phone);
    await inspect(page, 'answer-dark-en-390');
  },

  // What the platform's own engines sell, as it is shown.
  async capabilities() {
    const looks = [['light', 'en-US', desktop], ['dark', 'zh-CN', desktop], ['dark', 'en-US', phone], ['light', 'zh-CN', phone]];
    for (const [i, name] of ['translate', 'language', 'speech', 'vision', 'assist', 'recommend', 'sentence-vectors'].entries()) {
      for (const [colorScheme, locale, viewport] of i ? [looks[i % 2], looks[2 + (i + 1) % 2]] : looks) {
        const page = await open('/products/tollgate/' + name, { colorScheme, locale, viewport });
        await inspect(page, `${name}-${colorScheme}-${locale.slice(0, 2)}-${viewport.width}`);
        await page.context().close();
      }
    }
    const page = await open('/');
    const facets = page.getByRole('navigation', { name: 'Capabilities' });
    await facets.getByRole('link', { name: /^Translation/ }).click();
    assert.deepEqual(await page.locator('.card h3').allTextContents(), ['Translation']);
    assert.equal(await facets.locator('[aria-current]').textContent(), 'Translation 1');
    await page.getByRole('link', { name: '中文' }).click();
    assert.deepEqual(await page.locator('.card h3').allTextContents(), ['智能翻译']); // the choice stays
    await says(page.locator('.card .line').first(), '每 1,000,000 个字符');
    await page.getByRole('navigation', { name: '能力' }).getByRole('link', { name: /^全部/ }).click();
    await page.getByRole('heading', { name: '沙盒模型' }).waitFor();
  },

  async translation() {
    const page = await open('/products/tollgate/translate', { allow: /status of 503/ });
    await page.getByLabel('Inference key').fill(key);
    const send = () => page.getByRole('button', { name: 'Send' }).click();
    const asked = page.waitForRequest('**/v1/translate');
    await send();
    assert.deepEqual((await asked).postDataJSON(), { model: 'translate', text: 'The weather is fine today.', source: 'auto', target: 'zh' });
    await says(status(page), /^Done in .*Detected: English\.$/);
    assert.match(await page.locator('#tryanswer').textContent(), /\p{Script=Han}/u);
    assert.match(await page.locator('#tryengine').textContent(), /^cc-cedict/);
    assert.equal(await page.locator('#tryquality').textContent(), 'Dictionary gloss');
    await says(page.locator('#trynote'), 'words looked up in a dictionary');
    assert.equal(await page.locator('#trycost').textContent(), `${exact(26 * 5000)} USD`); // USD 5 for a million characters
    await says(page.locator('#tryrecord'), /Settled: 0\.00013 USD in transaction txn_/);
    assert.ok(await page.locator('#trytokens').isHidden());
    const kept = await page.evaluate(() => JSON.stringify([localStorage, sessionStorage, document.cookie, location.href, document.documentElement.outerHTML]));
    assert.ok(!kept.includes(key), 'the key was kept');
    await inspect(page, 'translated-light-en-1280');
    await page.getByLabel('From').selectOption('en');
    await page.getByLabel('To', { exact: true }).selectOption('ja'); // which no engine here knows
    await send();
    await says(status(page), /503: The provider could not answer; nothing was charged\..*larger model/);
    assert.ok(await page.locator('#trynote').isHidden());

    const chinese = await open('/products/tollgate/translate', { locale: 'zh-CN', colorScheme: 'dark', viewport: phone });
    await chinese.getByLabel('推理密钥').fill(key);
    await chinese.getByRole('button', { name: '发送' }).click();
    await says(status(chinese), /^完成.*识别为中文/);
    assert.match(await chinese.locator('#tryanswer').textContent(), /weather/i);
    assert.equal(await chinese.locator('#tryquality').textContent(), '词典释义');
    await inspect(chinese, 'translated-dark-zh-390');
  },

  async 'language tasks'() {
    const page = await open('/products/tollgate/language');
    await page.getByLabel('Inference key').fill(key);
    const answer = page.locator('#tryanswer');
    const task = async (name) => {
      await page.getByLabel('Operation').selectOption(name);
      const answered = page.waitForResponse('**/v1/text/*');
      await page.getByRole('button', { name: 'Send' }).click();
      await answered;
      await says(status(page), /^Done in /);
      assert.match(await page.locator('#trycost').textContent(), /^0\.000\d+ USD$/);
      return answer.textContent();
    };
    assert.match(await task('sentiment'), /^(Positive|Mixed) \(score -?\d\.\d\d\)\n• The delivery was late/);
    assert.match(await page.locator('#tryengine').textContent(), /^lexicon/);
    await inspect(page, 'sentiment-light-en-1280');
    assert.match(await task('keywords'), /^• /);
    const summary = await task('summarise');
    assert.ok((await page.getByLabel('Text to work on').inputValue()).includes(summary), summary);

    // One field for all products: it shows what the chosen one takes.
    const home = await open('/');
    await home.getByLabel('Inference key').fill(key);
    assert.ok(await home.getByLabel('Message').isVisible() && await home.getByLabel('Text to translate').isHidden());
    await home.getByLabel('Product', { exact: true }).selectOption('translate');
    assert.ok(await home.getByLabel('Message').isHidden() && await home.getByLabel('Text to translate').isVisible());
    await home.getByLabel('Text to translate').press('Control+Enter');
    await says(status(home), /^Done in /);
    await home.getByLabel('Product', { exact: true }).selectOption('language');
    assert.ok(await home.locator('#tryfigures').isHidden()); // the answer was another product's
    await inspect(home, 'home-language-light-en-1280');
  },

  async images() {
    const page = await open('/products/tollgate/vision', { allow: /status of (503|422)/ });
    await page.getByLabel('Inference key').fill(key);
    const answer = page.locator('#tryanswer');
    const task = async (name, done = /^Done in /) => {
      await page.getByLabel('Operation').selectOption(name);
      await page.getByRole('button', { name: 'Send' }).click();
      await page.locator('#trystatus.good, #trystatus.bad').waitFor();
      assert.match(await status(page).textContent(), done, name);
    };
    await task('enhance'); // the page's own picture
    await answer.getByText('Before: 480 × 160').waitFor();
    await answer.getByText('After: 960 × 320').waitFor();
    assert.equal(await answer.locator('img').last().evaluate((i) => i.decode().then(() => i.naturalWidth)), 960);
    assert.match(await page.locator('#tryengine').textContent(), /^classical · lanczos$/);
    assert.equal(await page.locator('#tryunits').textContent(), '1 image');
    assert.equal(await page.locator('#trycost').textContent(), '0.001 USD');
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.setViewportSize(phone);
    await inspect(page, 'enlarged-dark-en-390');
    await page.setViewportSize(desktop);
    const hostile = { image: Buffer.from('<svg xmlns="http://www.w3.org/2000/svg"/>').toString('base64'), format: 'svg+xml', width: 1, height: 1 };
    await page.route('**/v1/vision/enhance', (route) => route.fulfill({ json: hostile }), { times: 1 });
    await task('enhance');
    assert.equal(await answer.textContent(), 'The answer is no picture that can be shown here.');
    assert.equal(await answer.locator('img, a').count(), 0);
    const file = (name, buffer) => page.getByLabel('Image', { exact: true }).setInputFiles({ name, mimeType: 'image/jpeg', buffer: Buffer.from(buffer) });
    await file('note.jpg', 'this is a letter');
    await task('denoise', /422: .*not an image that can be read/);
    await file('phone.heic', '\0\0\0\x18ftypheic\0\0\0\0');
    await task('denoise', /422: .*HEIC files are not read/);
    await page.getByLabel('Image', { exact: true }).setInputFiles([]);
    const { engines } = await (await fetch(origin + '/v1/vision/engines', { headers: { authorization: 'Bearer ' + key } })).json();
    const ready = (name) => engines.find((e) => e.engine === name).ready;
    if (ready('ppocr') || ready('tesseract')) {
      await task('ocr');
      assert.match(await answer.textContent(), /Toll: ?2\.50 ?USD/);
      await answer.getByRole('img', { name: 'what was found marked' }).waitFor();
      await inspect(page, 'read-dark-en-1280');
    }
    for (const [name, engine] of [['detect', 'centernet'], ['faces/detect', 'faceplugin'], ['moderate', 'nsfwjs'], ['classify', 'centernet']]) {
      await task(name, ready(engine) ? /^Done in / : /503: .*scripts\/install-engines/);
    }
    if (ready('centernet')) assert.match(await answer.textContent(), /^• \w+.* \(\d+ %\)/);
  },

  async 'bots and shops'() {
    const page = await open('/products/tollgate/assist');
    await page.getByLabel('Inference key').fill(key);
    const answer = page.locator('#tryanswer');
    const sessions = [];
    page.on('request', (r) => r.url().endsWith('/sessions') && sessions.push(r.url()));
    for (const text of ['What is a hold?', 'Who pays for a broken stream?']) {
      await page.getByLabel('Question').fill(text);
      await page.getByRole('button', { name: 'Send' }).click();
      await answer.getByText('You: ' + text).waitFor();
      await says(status(page), /^Done in /);
    }
    const said = await answer.textContent();
    assert.match(said, /^Bot: Hello!.*You: What is a hold\?\s+Bot: .*hold.*Sources: .*You: Who pays/s);
    assert.equal(sessions.length, 1, 'one conversation');
    assert.equal(await page.locator('#tryunits').textContent(), '1 message');
    await inspect(page, 'bot-light-en-1280');

    const shop = await open('/products/tollgate/recommend', { locale: 'zh-CN', colorScheme: 'dark', viewport: phone });
    await shop.getByLabel('推理密钥').fill(key);
    for (const [list, found] of [['for-you', /^• .+ – .+/], ['similar', /^• .+/], ['trending', /^• .+/], ['popular', /^• .+/]]) {
      await shop.getByLabel('操作').selectOption(list);
      assert.deepEqual([await shop.getByLabel('用户').isVisible(), await shop.getByLabel('物品', { exact: true }).isVisible()], [list === 'for-you', list === 'similar']);
      const answered = shop.waitForResponse('**/v1/recommend/spaces/shop/' + list);
      await shop.getByRole('button', { name: '发送' }).click();
      await answered;
      await says(status(shop), /^完成/);
      assert.match(await shop.locator('#tryanswer').textContent(), found);
    }
    assert.equal(await shop.locator('#tryunits').textContent(), '1 次调用');
    await inspect(shop, 'shop-dark-zh-390');

    const vectors = await open('/products/tollgate/sentence-vectors');
    await vectors.getByLabel('Inference key').fill(key);
    await vectors.getByRole('button', { name: 'Send' }).click();
    await says(status(vectors), /^Done in /);
    assert.match(await vectors.locator('#tryanswer').textContent(), /^Similarity: -?\d\.\d{3} .*Each vector has \d+ numbers/);
    assert.match(await vectors.locator('#tryunits').textContent(), /^\d+ tokens$/);
  },

  async voices() {
    const page = await open('/products/tollgate/speech', { permissions: ['microphone'], allow: /status of 4\d\d/ });
    await page.getByLabel('Inference key').fill(key);
    const send = () => page.getByRole('button', { name: 'Send' }).click();
    await page.getByLabel('What to try').selectOption('speak');
    await send();
    await says(status(page), /^Done in /);
    const player = page.locator('#tryanswer audio');
    const seconds = await player.evaluate((a) => new Promise((done) => { a.readyState ? done(a.duration) : (a.onloadedmetadata = () => done(a.duration)); }));
    assert.ok(seconds > 0.5 && seconds < 10, `${seconds} s`);
    assert.equal(await page.locator('#tryunits').textContent(), '27 characters');
    await inspect(page, 'spoken-light-en-1280');
    await page.route('**/v1/audio/speech', (route) => route.fulfill({ contentType: 'text/html', body: '<script>alert(1)</script>' }), { times: 1 });
    await page.evaluate(() => {
      const make = URL.createObjectURL;
      URL.createObjectURL = (blob) => { window.made = blob.type; return make.call(URL, blob); };
    });
    const src = await player.getAttribute('src');
    await send();
    await page.waitForFunction(() => window.made);
    assert.equal(await page.evaluate(() => window.made), 'audio/wav');
    await page.waitForFunction((old) => document.querySelector('#tryanswer audio').src !== old, src);

    await page.getByLabel('What to try').selectOption('transcribe');
    await send();
    await says(status(page), 'Choose a file, or record a few words.');
    await page.getByLabel('Sound', { exact: true }).setInputFiles({ name: 'cut.wav', mimeType: 'audio/wav', buffer: Buffer.from('RIFF\x10\0\0\0WAVEfmt ') });
    await send();
    await says(status(page), /^4\d\d: /);
    await page.evaluate(() => { // two clicks while the browser asks for leave
      const media = navigator.mediaDevices, ask = media.getUserMedia.bind(media);
      window.asked = 0;
      media.getUserMedia = (wanted) => { window.asked++; return ask(wanted); };
    });
    await page.getByRole('button', { name: 'Record' }).evaluate((b) => { b.click(); b.click(); });
    await page.getByRole('button', { name: 'Stop recording' }).waitFor();
    assert.equal(await page.evaluate(() => window.asked), 1);
    await page.waitForTimeout(1200);
    await page.getByRole('button', { name: 'Stop recording' }).click();
    await says(status(page), /^Recorded: \d\.\d s\. Send it\.$/);
    await send();
    await says(status(page), /^Done in /);
    assert.match(await page.locator('#tryengine').textContent(), /^pocketsphinx/);
    assert.equal(await page.locator('#tryquality').textContent(), 'Demo grade');
    assert.match(await page.locator('#tryunits').textContent(), /^\d(\.\d+)? s of audio$/);
    await page.emulateMedia({ colorScheme: 'dark' });
    await page.setViewportSize(phone);
    await inspect(page, 'heard-dark-en-390');
  },

  async refusals() {
    const page = await open('/', { allow: /status of 4(01|02|29)|status of 50/ });
    const refused = async (call, ...texts) => {
      await ask(page, { model: 'fake', ...call });
      for (const text of texts) await says(status(page), text);
      assert.match(await status(page).getAttribute('class'), /bad/);
    };
    await refused({ with: 'secret' }, 'begins with sk-tg-inf-');
    await refused({ with: process.env.TOLLGATE_CONSUMER_TOKEN }, 'This is a management key');
    await refused({ with: key.slice(0, -1) + (key.endsWith('0') ? '1' : '0') }, '401: The key was not accepted.');
    await refused({ with: process.env.KEY_POOR }, '402: Credit or budget is exhausted.');
    await inspect(page, 'refused-light-en-1280');
    await refused({ model: 'fake-500' }, /50\d: The provider could not answer/);
    await ask(page, { model: 'fake', with: process.env.KEY_LIMITED });
    await says(status(page), 'Done in');
    await refused({ with: process.env.KEY_LIMITED }, '429: Too many requests.', /Try again in \d+ s\./);
  },

  async interruptions() {
    const page = await open('/', { allow: /ERR_(INCOMPLETE_CHUNKED_ENCODING|HTTP2_PROTOCOL_ERROR|CONNECTION_RESET)|Failed to load resource/ });
    await ask(page, { model: 'fake-broken' });
    await says(status(page), 'The answer broke off.');
    assert.match(await page.locator('#tryanswer').textContent(), /The quick/);
    await ask(page, { model: 'fake-long' });
    await says(page.locator('#tryanswer'), 'lazy dog');
    await page.getByRole('button', { name: 'Stop' }).click();
    await says(status(page), 'Stopped. What was delivered is charged.');
    assert.ok(await page.getByRole('button', { name: 'Send' }).isEnabled());
    await page.context().setOffline(true);
    await ask(page, { model: 'fake' });
    await says(status(page), 'The platform cannot be reached.');
  },

  // Whoever uses no mouse.
  async keyboard() {
    const page = await open('/');
    await page.keyboard.press('Tab');
    assert.equal(await page.evaluate(() => document.activeElement.textContent), 'Skip to the content');
    await page.keyboard.press('Enter');
    assert.equal(await page.evaluate(() => document.activeElement.id), 'main');
    await page.locator('#s-curl').focus();
    await page.keyboard.press('ArrowRight');
    await page.locator('.pane-python').waitFor();
    assert.ok(await page.locator('.pane-curl').isHidden());
    await page.getByLabel('Inference key').fill(key);
    await page.getByLabel('Product', { exact: true }).selectOption('fake');
    await page.getByLabel('Message').focus();
    await page.keyboard.press('Control+Enter');
    await says(status(page), /^Done in /);
    await page.locator('.pane-python .copy').click();
    assert.match(await page.evaluate(() => navigator.clipboard.readText()), /^import os\nfrom openai import OpenAI/);
  },

  // Whoever runs no scripts.
  async scriptless() {
    const page = await open('/', { javaScriptEnabled: false });
    await page.getByText('needs JavaScript').waitFor();
    assert.ok(await page.getByLabel('Inference key').isDisabled());
    await page.locator('label[for=s-go]').click();
    await page.locator('.pane-go').waitFor();
    assert.equal(await page.locator('button.copy:visible').count(), 0);
    await page.getByRole('searchbox').fill('fake-cached');
    await page.getByRole('button', { name: 'Search' }).click();
    await says(page.locator('.found'), '1 found');
    await page.getByRole('link', { name: 'fake-cached', exact: true }).first().click();
    await says(page.getByRole('heading', { level: 1 }), 'fake-cached');
  },

  async bootstrap() {
    const link = process.env.BOOTSTRAP.slice(origin.length);
    const page = await open(link, { allow: /status of 4\d\d/ });
    await inspect(page, 'bootstrap-light-en-1280');
    const fields = { 'Name of the organisation': 'acme', 'Title, as people read it': 'Acme AI', "Owner's e-mail": 'owner@acme.example' };
    for (const [label, value] of Object.entries(fields)) await page.getByLabel(label).fill(value);
    await page.getByLabel("Owner's e-mail").fill('owner@nowhere'); // the browser takes it, the platform does not
    await page.getByRole('button', { name: 'Set up' }).click();
    await says(page.locator('#setupstatus'), 'It was refused:');
    await page.getByLabel("Owner's e-mail").fill(fields["Owner's e-mail"]);
    await page.getByRole('button', { name: 'Set up' }).click();
    await page.locator('#founded').waitFor();
    const made = await page.locator('#newkey').textContent();
    assert.match(made, /^sk-tg-mgt-[0-9A-Za-z]{49}$/);
    assert.match(await page.locator('#nextsteps').textContent(), new RegExp(`TOLLGATE_TOKEN=${made}\n`));
    assert.equal(page.url(), origin + '/bootstrap'); // the used token is gone from the address
    await inspect(page, 'founded-light-en-1280');
    const me = await (await fetch(origin + '/api/v1/me', { headers: { authorization: 'Bearer ' + made } })).json();
    assert.ok(JSON.stringify(me).includes('acme'), JSON.stringify(me));
    await page.goto(origin + link);
    await page.reload();
    await says(page.getByRole('heading', { level: 1 }), 'This platform has been set up');
    await page.goto(origin + '/');
    await says(page.locator('.blank').first(), 'Nothing is on sale yet');
    await inspect(page, 'blank-light-en-1280');
  },
};

// exact writes nano-units as the platform does.
function exact(nano) {
  return (nano / 1e9).toFixed(9).replace(/\.?0+$/, '');
}

await play(scenarios);
