// Chat window for a web page: <script src=".../assist/widget.js" data-bot="bot_…" data-key="sk-tg-inf-…" async></script>
// The key must be one that is bound to the page's address. Further attributes of the script: data-url (address of the
// platform; the script's own otherwise), data-lang (en or zh), data-theme (light or dark), data-open, data-title.
// A page may also write <tollgate-assist bot="…" key="…"></tollgate-assist> itself, and call its open() and close().
(() => {
  'use strict';

  const script = document.currentScript;

  const words = {
    en: {
      open: 'Open chat', close: 'Close chat', title: 'Help', write: 'Write a message', send: 'Send', human: 'Talk to a person', fresh: 'New conversation',
      end: 'End conversation', you: 'You', bot: 'Assistant', typing: 'is answering…', sources: 'Sources', machine: 'Translated by machine', gloss: 'Translated word by word, by a dictionary', waiting: 'Waiting for a person',
      place: (n) => `you are number ${n} in line`, joined: (a) => `${a} has joined the conversation`, moved: 'You are being passed on',
      closed: 'The conversation has ended', rate: 'How was it?', star: (n) => `${n} of 5`, comment: 'Anything to add? (optional)', submit: 'Submit',
      thanks: 'Thank you for your rating.', failed: 'That did not work. Please try again.', retry: 'Try again', wiped: 'Delete what was said', erased: 'Everything was deleted.',
      talk: 'Speak', stop: 'Stop and send', hearing: 'Listening… press again to send, Escape to discard', mute: 'The microphone cannot be used. Allow it in the browser.', short: 'Nothing was recorded.',
      lost: 'What you said was not sent: something else was being answered. Please say it again.',
    },
    zh: {
      open: '打开对话', close: '关闭对话', title: '帮助', write: '输入消息', send: '发送', human: '转人工', fresh: '新的对话',
      end: '结束对话', you: '您', bot: '助手', typing: '正在回答…', sources: '来源', machine: '机器翻译', gloss: '词典逐词翻译', waiting: '正在等待人工客服',
      place: (n) => `您排在第 ${n} 位`, joined: (a) => `${a} 已加入对话`, moved: '正在为您转接',
      closed: '对话已结束', rate: '请为本次服务评分', star: (n) => `${n} 分（满分 5 分）`, comment: '还有什么要说的吗？（选填）', submit: '提交',
      thanks: '感谢您的评价。', failed: '操作失败，请重试。', retry: '重试', wiped: '删除对话内容', erased: '内容已全部删除。',
      talk: '语音输入', stop: '停止并发送', hearing: '正在聆听……再按一次发送，按 Esc 放弃', mute: '无法使用麦克风，请在浏览器中允许。', short: '没有录到声音。',
      lost: '录音未发送：另一条消息正在处理。请再说一次。',
    },
  };

  const css = `
:host{--a:#1d4ed8;--on:#fff;--bg:#fff;--fg:#16181d;--dim:#555b66;--line:#c9ced6;--mine:#e3ebfd;--theirs:#f1f3f6;--bad:#b42318;
all:initial;position:fixed;right:20px;bottom:20px;z-index:2147483000;font:15px/1.5 system-ui,-apple-system,"Segoe UI",Roboto,"Noto Sans SC","PingFang SC","Microsoft YaHei",sans-serif;color:var(--fg)}
:host([theme=dark]){--a:#8ab4ff;--on:#0b1220;--bg:#16181d;--fg:#eceef2;--dim:#a9b0bc;--line:#3d434e;--mine:#22386b;--theirs:#262a32;--bad:#ff9b8f}
@media(prefers-color-scheme:dark){:host(:not([theme=light])){--a:#8ab4ff;--on:#0b1220;--bg:#16181d;--fg:#eceef2;--dim:#a9b0bc;--line:#3d434e;--mine:#22386b;--theirs:#262a32;--bad:#ff9b8f}}
*{box-sizing:border-box}[hidden]{display:none!important}
button{font:inherit;color:inherit;background:none;border:1px solid transparent;border-radius:8px;padding:6px 10px;cursor:pointer;min-height:36px}
button:hover{background:var(--theirs)}button:disabled{opacity:.5;cursor:default}
:focus-visible{outline:3px solid var(--a);outline-offset:2px}
.fab{display:block;margin-left:auto;width:56px;height:56px;border-radius:50%;background:var(--a);color:var(--on);box-shadow:0 4px 16px #0004}
.fab:hover{background:var(--a);filter:brightness(1.1)}.fab svg{width:26px;height:26px;display:block;margin:auto}
.win{display:flex;flex-direction:column;width:min(380px,calc(100vw - 24px));height:min(580px,calc(100vh - 40px));background:var(--bg);border:1px solid var(--line);border-radius:14px;box-shadow:0 8px 32px #0005;overflow:hidden}
header{display:flex;align-items:center;gap:4px;padding:8px 8px 8px 16px;border-bottom:1px solid var(--line)}
h2{flex:1;margin:0;font-size:16px;font-weight:600;overflow:hidden;text-overflow:ellipsis;white-space:nowrap}
.log{flex:1;overflow-y:auto;padding:14px;display:flex;flex-direction:column;gap:10px}
.m{max-width:88%;padding:8px 12px;border-radius:12px;background:var(--theirs);align-self:flex-start;overflow-wrap:anywhere}
.m.user{align-self:flex-end;background:var(--mine)}.m.event{align-self:center;background:none;color:var(--dim);font-size:13px;text-align:center;padding:2px}
.m.bad{color:var(--bad)}.m p{margin:0 0 6px;white-space:pre-wrap}.m p:last-child{margin:0}.m ul,.m ol{margin:0 0 6px;padding-left:20px}
.m pre{margin:4px 0;padding:8px;border:1px solid var(--line);border-radius:8px;overflow-x:auto;font-size:13px}code{font-family:ui-monospace,Menlo,Consolas,monospace;font-size:.92em}
.who{font-size:12px;color:var(--dim);margin-bottom:2px}a{color:var(--a)}
details{margin-top:6px;font-size:13px}summary{cursor:pointer;color:var(--dim)}details ol{margin:4px 0 0}
.state{padding:6px 14px;font-size:13px;color:var(--dim);border-top:1px solid var(--line)}.state:empty{padding:0;border:0}
form{display:flex;gap:6px;padding:10px;border-top:1px solid var(--line);align-items:flex-end}
textarea{flex:1;font:inherit;color:inherit;background:var(--bg);border:1px solid var(--dim);border-radius:10px;padding:8px 10px;resize:none;max-height:110px;min-height:40px}
.go{background:var(--a);color:var(--on);font-weight:600}.go:hover{background:var(--a);filter:brightness(1.1)}
.mic{border-color:var(--dim);border-radius:10px;min-width:44px;min-height:40px}.mic svg{width:20px;height:20px;display:block;margin:auto}.mic[aria-pressed=true]{background:var(--bad);color:var(--bg)}
.bar{display:flex;flex-wrap:wrap;gap:2px;padding:0 8px 8px}.bar button{font-size:13px;color:var(--dim);padding:4px 8px;min-height:30px}
.rate{display:block;padding:12px 14px;border-top:1px solid var(--line)}.rate fieldset{border:0;margin:0;padding:0}.rate legend{font-weight:600;padding:0}
.stars{display:flex;gap:2px}.stars label{cursor:pointer;font-size:26px;line-height:36px;min-width:36px;text-align:center;color:var(--dim);border-radius:8px}
.stars input{position:absolute;opacity:0;width:1px;height:1px}.stars label.on{color:var(--a)}.stars label:focus-within{outline:3px solid var(--a)}
.rate textarea{width:100%;margin:6px 0}
.hid{position:absolute;width:1px;height:1px;overflow:hidden;clip-path:inset(50%);white-space:nowrap}
@media(prefers-reduced-motion:no-preference){.win{animation:in .15s ease-out}@keyframes in{from{opacity:0;transform:translateY(8px)}}}
@media(max-width:480px){:host{right:12px;bottom:12px}}`;

  const el = (tag, props = {}, ...children) => {
    const e = document.createElement(tag);
    for (const [k, v] of Object.entries(props)) {
      if (k in e && k !== 'role') e[k] = v; else e.setAttribute(k, v);
    }
    e.append(...children);
    return e;
  };

  // Text with links, `code` and **bold**, as nodes: nothing that comes over the wire is ever parsed as HTML.
  const inline = (text) => {
    const out = [];
    const re = /`([^`\n]+)`|\*\*([^*\n]+)\*\*|(https?:\/\/[^\s<>"'）)】]+[^\s<>"'.,;:!?）)】。，；])/g;
    let at = 0;
    for (const m of text.matchAll(re)) {
      out.push(text.slice(at, m.index));
      if (m[1]) out.push(el('code', { textContent: m[1] }));
      else if (m[2]) out.push(el('strong', { textContent: m[2] }));
      else out.push(el('a', { href: m[3], textContent: m[3], target: '_blank', rel: 'noopener noreferrer' }));
      at = m.index + m[0].length;
    }
    out.push(text.slice(at));
    return out;
  };

  const block = (lines) => el('pre', { tabIndex: 0 }, el('code', { textContent: lines.join('\n').trimEnd() })); // scrolls by keyboard

  const render = (box, text) => {
    box.replaceChildren();
    let list = null;
    let code = null;
    let para = [];
    const flush = () => {
      if (para.length) box.append(el('p', {}, ...inline(para.join('\n'))));
      para = [];
    };
    for (const line of text.split('\n')) {
      const item = /^\s*(?:[-*]|(\d+)[.)])\s+(.*)$/.exec(line);
      if (/^\s*```/.test(line) || (code && code.indented && !/^ {4}|^\s*$/.test(line))) {
        const fence = /^\s*```/.test(line);
        if (code) { box.append(block(code.lines)); code = null; if (fence) continue; }
        else { flush(); list = null; code = { lines: [] }; continue; }
      }
      if (code) { code.lines.push(code.indented ? line.slice(4) : line); continue; }
      if (/^ {4}\S/.test(line) && !list && !para.length) { code = { lines: [line.slice(4)], indented: true }; continue; }
      if (item) {
        flush();
        const tag = item[1] ? 'ol' : 'ul';
        if (!list || list.localName !== tag) { list = el(tag, item[1] ? { start: Number(item[1]) } : {}); box.append(list); }
        list.append(el('li', {}, ...inline(item[2])));
        continue;
      }
      if (!line.trim()) { flush(); list = null; continue; }
      list = null;
      para.push(line.replace(/^#+\s+/, ''));
    }
    if (code) box.append(block(code.lines));
    flush();
  };

  const svg = (d) => {
    const icon = document.createElementNS('http://www.w3.org/2000/svg', 'svg');
    icon.setAttribute('viewBox', '0 0 24 24');
    icon.setAttribute('aria-hidden', 'true');
    const path = document.createElementNS(icon.namespaceURI, 'path');
    path.setAttribute('fill', 'currentColor');
    path.setAttribute('d', d);
    icon.append(path);
    return icon;
  };

  const records = () => window.isSecureContext && navigator.mediaDevices?.getUserMedia && window.MediaRecorder && window.OfflineAudioContext;

  // A recording of whatever the browser records as 16 kHz mono WAV, which every recogniser reads; null where there is next to nothing.
  const toWAV = async (blob) => {
    const rate = 16000; // decoding brings sound to the rate of its context
    const sound = await new OfflineAudioContext(1, 1, rate).decodeAudioData(await blob.arrayBuffer());
    if (sound.duration < 0.3) return null;
    const n = sound.length;
    const v = new DataView(new ArrayBuffer(44 + 2 * n));
    const text = (at, s) => [...s].forEach((c, i) => v.setUint8(at + i, c.charCodeAt(0)));
    text(0, 'RIFF'); text(8, 'WAVEfmt '); text(36, 'data');
    [[4, 36 + 2 * n], [16, 16], [24, rate], [28, 2 * rate], [40, 2 * n]].forEach(([at, x]) => v.setUint32(at, x, true));
    [[20, 1], [22, 1], [32, 2], [34, 16]].forEach(([at, x]) => v.setUint16(at, x, true));
    const channels = Array.from({ length: sound.numberOfChannels }, (_, c) => sound.getChannelData(c));
    for (let i = 0; i < n; i++) {
      const x = channels.reduce((sum, c) => sum + c[i], 0) / channels.length;
      v.setInt16(44 + 2 * i, Math.max(-1, Math.min(1, x)) * 0x7fff, true);
    }
    return new Blob([v], { type: 'audio/wav' });
  };

  // Events of a stream that fetch reads: fetch can send headers, EventSource cannot.
  async function* events(response) {
    const reader = response.body.pipeThrough(new TextDecoderStream()).getReader();
    let rest = '';
    try {
      for (;;) {
        const { done, value } = await reader.read();
        if (done) return;
        rest += value;
        const blocks = rest.split(/\r?\n\r?\n/);
        rest = blocks.pop();
        for (const b of blocks) {
          const data = b.split(/\r?\n/).filter((l) => l.startsWith('data:')).map((l) => l.slice(5).trimStart()).join('\n');
          if (data) yield JSON.parse(data);
        }
      }
    } finally {
      reader.cancel().catch(() => {});
    }
  }

  class TollgateAssist extends HTMLElement {
    #root; #ui = {}; #t; #session = null; #seen = 0; #busy = false; #stream = null; #shown = new Set(); #recorder = null; #player = null; #turn = 0;

    connectedCallback() {
      if (this.#root) return;
      const lang = (this.getAttribute('lang') || document.documentElement.lang || navigator.language || 'en').toLowerCase();
      this.#t = words[lang.startsWith('zh') ? 'zh' : 'en'];
      this.#root = this.attachShadow({ mode: 'open' });
      const sheet = new CSSStyleSheet(); // a page's Content-Security-Policy does not forbid it as it does <style>
      sheet.replaceSync(css);
      this.#root.adoptedStyleSheets = [sheet];
      this.#build(lang.startsWith('zh') ? 'zh' : 'en');
      try { this.#session = JSON.parse(sessionStorage.getItem(this.#key)); } catch { /* storage is off: a reload begins anew */ }
      if (this.hasAttribute('open')) this.open(false);
    }

    disconnectedCallback() { this.#stream?.abort(); this.#quiet(); }

    get #key() { return 'tollgate-assist ' + this.getAttribute('bot'); }

    #build(lang) {
      const t = this.#t;
      const u = this.#ui;
      const icon = svg('M4 3h16a2 2 0 0 1 2 2v11a2 2 0 0 1-2 2h-8l-5 4v-4H4a2 2 0 0 1-2-2V5a2 2 0 0 1 2-2z');
      const title = this.getAttribute('title') || t.title;
      this.removeAttribute('title');
      u.fab = el('button', { type: 'button', className: 'fab', 'aria-label': t.open, 'aria-expanded': 'false' }, icon);
      u.title = el('h2', { id: 'h', textContent: title });
      u.close = el('button', { type: 'button', 'aria-label': t.close }, el('span', { textContent: '✕', 'aria-hidden': 'true' }));
      u.log = el('div', { className: 'log', role: 'log', 'aria-live': 'polite', 'aria-relevant': 'additions', tabIndex: 0, 'aria-labelledby': 'h' });
      u.state = el('div', { className: 'state', role: 'status', hidden: true });
      u.text = el('textarea', { rows: 1, maxLength: 4000, 'aria-label': t.write, placeholder: t.write, enterKeyHint: 'send' });
      u.send = el('button', { className: 'go', textContent: t.send });
      u.mic = el('button', { type: 'button', className: 'mic', 'aria-label': t.talk, 'aria-pressed': 'false', title: t.talk, hidden: true },
        svg('M12 2a3 3 0 0 0-3 3v6a3 3 0 0 0 6 0V5a3 3 0 0 0-3-3zM5 11a7 7 0 0 0 6 6.9V21H8v1h8v-1h-3v-3.1A7 7 0 0 0 19 11h-2a5 5 0 0 1-10 0z'));
      u.ear = el('div', { className: 'state', role: 'status' });
      u.form = el('form', {}, u.text, u.mic, u.send);
      const small = (text) => el('button', { type: 'button', textContent: text });
      u.human = small(t.human); u.end = small(t.end); u.wipe = small(t.wiped); u.fresh = small(t.fresh);
      u.bar = el('div', { className: 'bar' }, u.human, u.end, u.wipe, u.fresh);
      u.rate = el('form', { className: 'rate', hidden: true });
      u.win = el('div', { className: 'win', role: 'dialog', 'aria-labelledby': 'h', lang, hidden: true },
        el('header', {}, u.title, u.close), u.log, u.state, u.ear, u.rate, u.form, u.bar);
      this.#root.append(u.win, u.fab);
      u.fab.onclick = () => this.open();
      u.close.onclick = () => this.close();
      u.win.onkeydown = (e) => { if (e.key === 'Escape') { e.stopPropagation(); if (!this.#quiet()) this.close(); } };
      u.mic.onclick = () => this.#talk();
      u.form.onsubmit = (e) => { e.preventDefault(); this.#say(u.text.value); };
      u.text.onkeydown = (e) => {
        if (e.key === 'Enter' && !e.shiftKey && !e.isComposing) { e.preventDefault(); u.form.requestSubmit(); }
      };
      u.text.oninput = () => { u.text.style.height = 'auto'; u.text.style.height = Math.min(110, u.text.scrollHeight + 2) + 'px'; };
      u.human.onclick = () => this.#act(() => this.#post('/handover', {}));
      u.end.onclick = () => this.#act(() => this.#post('/close', {}));
      u.wipe.onclick = () => this.#act(async () => {
        await this.#call('DELETE', `sessions/${this.#session.id}`);
        this.#forget();
        u.log.replaceChildren();
        this.#note(t.erased);
        return { state: 'closed', erased: true };
      });
      u.fresh.onclick = () => this.#act(async () => { this.#forget(); u.log.replaceChildren(); await this.#begin(); return this.#session; });
      this.#stars();
    }

    #stars() {
      const t = this.#t;
      const stars = el('div', { className: 'stars' });
      for (let n = 1; n <= 5; n++) {
        const input = el('input', { type: 'radio', name: 'r', value: String(n), required: true, 'aria-label': t.star(n) });
        input.onchange = () => stars.querySelectorAll('label').forEach((l, i) => l.classList.toggle('on', i < n));
        stars.append(el('label', {}, input, el('span', { textContent: '★', 'aria-hidden': 'true' })));
      }
      const comment = el('textarea', { rows: 2, maxLength: 2000, 'aria-label': t.comment, placeholder: t.comment });
      this.#ui.rate.append(el('fieldset', {}, el('legend', { textContent: t.rate }), stars), comment, el('button', { className: 'go', textContent: t.submit }));
      this.#ui.rate.onsubmit = (e) => {
        e.preventDefault();
        const rating = Number(stars.querySelector('input:checked')?.value);
        if (rating) this.#act(async () => {
          const v = await this.#post('/rating', { rating, comment: comment.value });
          this.#ui.rate.hidden = true;
          this.#note(t.thanks);
          return v;
        });
      };
    }

    async open(focus = true) {
      const u = this.#ui;
      u.win.hidden = false;
      u.fab.hidden = true;
      u.fab.setAttribute('aria-expanded', 'true');
      if (focus) u.text.focus();
      if (u.log.childElementCount) return;
      await this.#act(async () => {
        if (this.#session) {
          try { return await this.#history(); } catch { this.#forget(); }
        }
        await this.#begin();
        return this.#session;
      });
      if (focus && !u.win.hidden) u.text.focus();
    }

    close() {
      const u = this.#ui;
      this.#quiet();
      u.win.hidden = true;
      u.fab.hidden = false;
      u.fab.setAttribute('aria-expanded', 'false');
      u.fab.focus();
    }

    async #fetch(method, path, body, more = {}) {
      const base = (this.getAttribute('url') || '').replace(/\/+$/, '');
      const headers = { Authorization: 'Bearer ' + this.getAttribute('key'), ...more.headers };
      if (this.#session) headers['Assist-Secret'] = this.#session.secret;
      const form = body instanceof FormData;
      if (body !== undefined && !form) headers['Content-Type'] = 'application/json';
      const r = await fetch(`${base}/v1/assist/${path}`, { method, headers, signal: more.signal, credentials: 'omit', body: body === undefined || form ? body : JSON.stringify(body) });
      if (!r.ok) {
        const p = await r.json().catch(() => ({}));
        throw Object.assign(new Error(p.detail || p.error?.message || `${r.status}`), { code: p.code, status: r.status });
      }
      return r;
    }

    async #call(method, path, body) { return (await this.#fetch(method, path, body)).json(); }
    #post(path, body) { return this.#call('POST', `sessions/${this.#session.id}${path}`, body); }

    // One thing at a time: buttons are off while it runs, and what fails is said.
    async #act(fn) {
      if (this.#busy) return;
      this.#set(true);
      try {
        this.#update(await fn());
      } catch (e) {
        if (e.name !== 'AbortError') this.#note(e.message || this.#t.failed, 'bad', true);
        if (e.status === 404 && this.#session) { this.#forget(); this.#update({ state: 'closed', erased: true }); }
      } finally {
        this.#set(false);
        const u = this.#ui; // a button that went away takes the focus with it
        if (!u.win.hidden && !this.#root.activeElement && document.activeElement === document.body) (u.form.hidden ? u.fresh : u.text).focus();
      }
    }

    #set(busy) {
      this.#busy = busy;
      for (const b of ['send', 'mic', 'human', 'end', 'wipe', 'fresh']) this.#ui[b].disabled = busy;
      this.#ui.win.setAttribute('aria-busy', String(busy));
    }

    async #begin() {
      const body = this.hasAttribute('lang') ? { language: this.getAttribute('lang').slice(0, 2) } : {};
      const v = await this.#call('POST', `bots/${this.getAttribute('bot')}/sessions`, body);
      this.#session = { id: v.id, secret: v.secret, name: v.bot.name, person: v.bot.person, hears: v.bot.hears, speaks: v.bot.speaks };
      this.#save();
      this.#show(v.message);
    }

    async #history() {
      const v = await this.#call('GET', `sessions/${this.#session.id}`);
      for (const m of v.messages || []) this.#show(m);
      return v;
    }

    #save() { try { sessionStorage.setItem(this.#key, JSON.stringify(this.#session)); } catch { /* see connectedCallback */ } }

    #forget() {
      this.#quiet();
      this.#stream?.abort();
      this.#stream = null;
      this.#session = null;
      this.#seen = 0;
      this.#shown.clear();
      try { sessionStorage.removeItem(this.#key); } catch { /* as above */ }
    }

    async #say(text) {
      text = text.trim();
      if (!text || this.#busy || !this.#session) return;
      const u = this.#ui;
      u.text.value = '';
      u.text.style.height = 'auto';
      const mine = this.#bubble('user', '', this.#t.you);
      mine.box.dataset.text = text;
      render(mine.body, text);
      await this.#act(async () => {
        const r = await this.#fetch('POST', `sessions/${this.#session.id}/messages`, { text, stream: true });
        let bubble = null;
        let all = '';
        for await (const e of events(r)) {
          if (e.type === 'delta') {
            if (!bubble) {
              bubble = this.#bubble('bot', '', this.#session.name || this.#t.bot);
              bubble.box.setAttribute('aria-busy', 'true');
            }
            all += e.text;
            render(bubble.body, all);
            this.#down();
          } else if (e.type === 'error') {
            bubble?.box.remove();
            throw new Error(e.detail);
          } else if (e.type === 'message') {
            if (e.message) {
              this.#shown.add(e.message.seq);
              this.#shown.add(e.message.seq - 1); // the visitor's own
              this.#seen = Math.max(this.#seen, e.message.seq);
              if (!bubble) bubble = this.#bubble('bot', '', this.#session.name || this.#t.bot);
              this.#fill(bubble, e.message);
              bubble.box.removeAttribute('aria-busy');
            }
            return e;
          }
        }
        throw new Error(this.#t.failed);
      });
      if (!u.win.hidden && !u.form.hidden) u.text.focus();
    }

    // A turn by voice: a press begins to record, the next one sends. Whoever presses while an answer is heard silences it.
    async #talk() {
      const t = this.#t;
      if (this.#recorder) { this.#recorder.stop(); return; }
      this.#quiet();
      if (this.#busy || !this.#session) return;
      const turn = this.#turn; // the window may close, or be pressed again, while the browser asks for leave
      let stream;
      try {
        stream = await navigator.mediaDevices.getUserMedia({ audio: { channelCount: 1, echoCancellation: true, noiseSuppression: true } });
      } catch {
        if (turn === this.#turn) this.#note(t.mute, 'bad', true);
        return;
      }
      const release = () => stream.getTracks().forEach((track) => track.stop());
      if (turn !== this.#turn) { release(); return; }
      const parts = [];
      const r = new MediaRecorder(stream);
      const timer = setTimeout(() => r.stop(), 60000);
      this.#recorder = r;
      this.#hears(true);
      r.ondataavailable = (e) => parts.push(e.data);
      r.onstop = () => {
        clearTimeout(timer);
        release();
        if (this.#recorder !== r) return; // discarded
        this.#recorder = null;
        this.#hears(false);
        if (this.#busy) { this.#note(t.lost, 'bad', true); return; }
        this.#act(() => this.#heard(new Blob(parts, { type: r.mimeType })));
      };
      r.start();
    }

    #hears(on) {
      const u = this.#ui;
      const name = on ? this.#t.stop : this.#t.talk;
      u.mic.setAttribute('aria-pressed', String(on));
      u.mic.setAttribute('aria-label', name);
      u.mic.title = name;
      u.ear.textContent = on ? this.#t.hearing : '';
    }

    async #heard(blob) {
      const wav = await toWAV(blob).catch(() => null);
      if (!wav) { this.#note(this.#t.short); return null; }
      const form = new FormData();
      form.append('audio', wav, 'voice.wav');
      if (this.#session.speaks) form.append('speak', 'true');
      let v;
      try {
        v = await (await this.#fetch('POST', `sessions/${this.#session.id}/voice`, form)).json();
      } catch (e) {
        if (e.status === 503 && e.code === 'engine.missing') { this.#session.hears = false; this.#save(); this.#ui.mic.hidden = true; }
        throw e;
      }
      if (v.heard?.text) {
        const mine = this.#bubble('user', v.heard.text, this.#t.you);
        mine.box.dataset.text = v.heard.text;
      }
      if (v.message?.seq) {
        this.#shown.add(v.message.seq);
        this.#shown.add(v.message.seq - 1);
        this.#seen = Math.max(this.#seen, v.message.seq);
      }
      if (v.message) this.#fill(this.#bubble('bot', '', this.#session.name || this.#t.bot), v.message);
      if (v.audio) this.#play(v.audio.data).catch(() => {}); // it can be read
      return v;
    }

    async #play(base64) {
      const player = this.#player = new AudioContext();
      const source = player.createBufferSource();
      source.buffer = await player.decodeAudioData(Uint8Array.from(atob(base64), (c) => c.charCodeAt(0)).buffer);
      source.connect(player.destination);
      source.onended = () => { if (this.#player === player) this.#quiet(); };
      source.start();
    }

    // Discards what is being recorded, or about to be, and silences what is being said; it reports whether there was anything.
    #quiet() {
      const [r, player] = [this.#recorder, this.#player];
      this.#recorder = this.#player = null;
      this.#turn++;
      if (r) { r.stop(); this.#hears(false); }
      player?.close();
      return Boolean(r || player);
    }

    // What the session's state means for the window.
    #update(v) {
      if (!v) return;
      const u = this.#ui;
      const t = this.#t;
      const state = v.state || 'bot';
      const over = state === 'closed';
      u.state.hidden = state === 'bot' || over;
      if (state === 'waiting') u.state.textContent = t.waiting + (v.queue?.position ? ` · ${t.place(v.queue.position)}` : '') + '…';
      if (state === 'human') u.state.textContent = v.agent ? t.joined(v.agent) : '';
      u.human.hidden = state !== 'bot' || over || !this.#session?.person;
      u.end.hidden = over;
      u.form.hidden = over;
      u.mic.hidden = over || !this.#session?.hears || !records();
      u.wipe.hidden = !this.#session;
      u.fresh.hidden = !over;
      if (over && !this.#player) this.#quiet(); // the last answer may be heard to its end
      u.rate.hidden = !over || v.erased || Boolean(v.rating);
      if (state === 'waiting' || state === 'human') this.#listen();
      this.#down();
    }

    // While a person is concerned, messages come by a stream of their own; it is taken up again where it broke off.
    async #listen() {
      if (this.#stream) return;
      const stop = this.#stream = new AbortController();
      for (let wait = 1000; !stop.signal.aborted;) {
        try {
          const r = await this.#fetch('GET', `sessions/${this.#session.id}/events`, undefined, { signal: stop.signal, headers: { 'Last-Event-ID': String(this.#seen) } });
          wait = 1000;
          for await (const m of events(r)) {
            this.#show(m);
            if (m.event === 'closed') { this.#stream = null; this.#update(await this.#call('GET', `sessions/${this.#session.id}?after=${m.seq}`)); return; }
          }
        } catch (e) {
          if (stop.signal.aborted || e.status === 404) return;
        }
        await new Promise((ok) => { setTimeout(ok, wait); });
        wait = Math.min(wait * 2, 30000);
      }
    }

    #show(m) {
      if (!m || this.#shown.has(m.seq)) return;
      this.#shown.add(m.seq);
      this.#seen = Math.max(this.#seen, m.seq);
      const t = this.#t;
      if (m.role === 'event') {
        const text = { assigned: t.joined(m.agent || ''), transferred: t.moved, closed: t.closed, queued: t.waiting }[m.event];
        if (text) this.#note(text);
        if (m.event === 'assigned') this.#update({ state: 'human', agent: m.agent });
        if (m.event === 'transferred') this.#update({ state: 'waiting' });
        return;
      }
      if (m.role === 'user' && this.#mine(m)) return;
      this.#fill(this.#bubble(m.role, '', m.role === 'user' ? t.you : m.agent || this.#session?.name || t.bot), m);
    }

    // A message of the visitor that is on the screen already, from when it was sent.
    #mine(m) {
      const last = [...this.#ui.log.querySelectorAll('.user:not([data-seq])')].find((b) => b.dataset.text === m.text);
      if (last) last.dataset.seq = m.seq;
      return Boolean(last);
    }

    #fill(bubble, m) {
      render(bubble.body, m.text || '');
      if (m.language) bubble.body.lang = m.language;
      if (m.translator) {
        const was = el('div');
        render(was, m.original || '');
        bubble.box.append(el('details', {}, el('summary', { textContent: m.quality === 'dictionary' ? this.#t.gloss : this.#t.machine }), was));
      }
      if (m.citations?.length) {
        const list = el('ol');
        for (const c of m.citations) {
          const name = c.heading?.startsWith(c.title) ? c.heading : [c.title, c.heading].filter(Boolean).join(' — ');
          const link = /^https?:\/\//.test(c.source || '') ? el('a', { href: c.source, textContent: name, target: '_blank', rel: 'noopener noreferrer' }) : name;
          list.append(el('li', {}, link));
        }
        bubble.box.append(el('details', {}, el('summary', { textContent: this.#t.sources }), list));
      }
      this.#down();
    }

    #bubble(role, text, who) {
      const body = el('div');
      const box = el('div', { className: 'm ' + role }, el('div', { className: role === 'agent' ? 'who' : 'hid', textContent: who + (role === 'agent' ? '' : ':') }), body);
      if (text) render(body, text);
      this.#ui.log.append(box);
      this.#down();
      return { box, body };
    }

    #note(text, kind = '', alert = false) {
      const n = el('div', { className: `m event ${kind}`, textContent: text });
      if (alert) n.setAttribute('role', 'alert');
      this.#ui.log.append(n);
      this.#down();
    }

    #down() { this.#ui.log.scrollTop = this.#ui.log.scrollHeight; }
  }

  if (!customElements.get('tollgate-assist')) customElements.define('tollgate-assist', TollgateAssist);

  if (script?.dataset.bot) {
    const start = () => {
      const e = document.createElement('tollgate-assist');
      const { bot, key, url, lang, theme, title } = script.dataset;
      const set = { bot, key, lang, theme, title, url: url || new URL(script.src, location.href).origin };
      for (const [k, v] of Object.entries(set)) if (v) e.setAttribute(k, v);
      if ('open' in script.dataset) e.setAttribute('open', '');
      document.body.append(e);
    };
    if (document.body) start(); else document.addEventListener('DOMContentLoaded', start);
  }
})();
