// The script of the pages: copy buttons, the field to try a call, the set-up form. It keeps a key in
// memory only, and writes what it shows as text.
"use strict";

const texts = JSON.parse(document.body.dataset.texts);
const by = (id) => document.getElementById(id);

function say(id, values = {}) {
  return (texts[id] ?? id).replace(/\{(\w+)\}/g, (_, name) => values[name] ?? "");
}

// What is said to readers without scripts, also where this file did not arrive, is for them alone.
for (const notice of document.querySelectorAll(".scriptless")) notice.hidden = true;

// ---- copy buttons

for (const button of document.querySelectorAll("button.copy")) {
  if (!navigator.clipboard) continue; // only where the page comes by TLS or from this machine
  button.hidden = false;
  button.addEventListener("click", async () => {
    await navigator.clipboard.writeText(button.dataset.copy);
    button.textContent = say("copied");
    setTimeout(() => { button.textContent = say("copy"); }, 1600);
  });
}

// ---- server-sent events of a response, as the texts of their data lines

async function* events(body) {
  const reader = body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const lines = (rest + value).split(/\r?\n/);
    rest = lines.pop();
    for (const line of lines) if (line.startsWith("data:")) yield line.slice(5).trim();
  }
}

// ---- the field to try a call

// lasted writes a time in ms for people.
const lasted = (ms) => (ms < 1000 ? `${Math.round(ms)} ms` : `${(ms / 1000).toFixed(1)} s`);

// nameOf names a language to the reader.
function nameOf(tag) {
  try {
    return new Intl.DisplayNames([document.documentElement.lang], { type: "language" }).of(tag);
  } catch {
    return tag;
  }
}

function setUpTry(form) {
  const status = by("trystatus"), answer = by("tryanswer"), stop = by("trystop"), send = form.querySelector("button.go"), note = by("trynote");
  const model = by("trymodel"), kind = by("trykind");
  let running = null;
  form.querySelector("fieldset").disabled = false;

  // choose shows the fields of what the chosen product can do, and of that of what the reader wants.
  function choose() {
    const kinds = model.selectedOptions[0].dataset.kinds.split(" ");
    for (const option of kind.options) option.hidden = option.disabled = !kinds.includes(option.value);
    if (!kinds.includes(kind.value)) kind.value = kinds[0];
    by("trykindrow").hidden = kinds.length < 2;
    for (const part of form.querySelectorAll("[data-kind]")) {
      part.hidden = !part.dataset.kind.split(" ").includes(kind.value) && !(part.dataset.kind === "engines" && kind.value !== "chat");
      if (part.tagName === "FIELDSET") part.disabled = part.hidden;
    }
    if (running || by("tryfigures").hidden) return;
    talk = null;
    clear(); // an answer of another kind
  }

  const urls = []; // of the pictures and sounds that are shown

  function clear(talk) {
    if (!talk) {
      answer.replaceChildren();
      for (const url of urls.splice(0)) URL.revokeObjectURL(url);
    }
    report("");
    by("tryfigures").hidden = by("tryrecord").hidden = note.hidden = true;
    for (const figure of form.querySelectorAll("#tryfigures dd")) figure.textContent = "–";
  }

  function report(text, kind = "") {
    status.textContent = text;
    status.className = "status " + kind;
  }

  // explain tells why a call was refused: in our words what it means, in the platform's what was wrong.
  async function explain(response) {
    let detail = "";
    try {
      const body = await response.json();
      detail = body.detail ?? body.error?.message ?? body.error; // of capabilities; of models; of plain contracts
    } catch { /* no body of ours: the status must do */ }
    const code = response.status;
    const parts = [`${code}: ${texts["status." + code] ?? (code >= 500 ? say("status.5") : say("status.other"))}`, typeof detail === "string" ? detail : ""];
    const wait = response.headers.get("retry-after");
    if (wait) parts.push(say("retry", { n: wait }));
    report(parts.filter(Boolean).join(" "), "bad");
  }

  function showUsage(usage, raw) {
    const cached = usage.prompt_tokens_details?.cached_tokens;
    by("trytokens").textContent = `${usage.prompt_tokens} / ${usage.completion_tokens}` + (cached ? ` (${say("cached", { n: cached })})` : "");
    const exact = /"cost":\s*([0-9.]+)/.exec(raw); // as written: a number of JavaScript would round it
    if (exact) by("trycost").textContent = `${exact[1]} ${usage.currency ?? ""}`;
  }

  // showRecord tells under which id the call is kept, and what it was settled at.
  async function showRecord(id, key) {
    const record = by("tryrecord");
    record.textContent = say("record", { id });
    record.hidden = false;
    try {
      const response = await fetch(`/v1/generations/${encodeURIComponent(id)}`, { headers: { authorization: "Bearer " + key } });
      if (!response.ok) return;
      const kept = await response.json();
      const cost = `${kept.charge} ${kept.currency}`;
      if (by("trycost").textContent === "–") by("trycost").textContent = cost;
      record.textContent += " · " + say("settled", { cost, txn: kept.transaction });
    } catch { /* the record is an extra: the call itself went well */ }
  }

  // post sends a call of the chosen product: fields as JSON, or a form.
  function post(path, body, key, headers = {}) {
    headers = { authorization: "Bearer " + key, "accept-language": document.documentElement.lang, ...headers };
    if (body instanceof FormData) body.append("model", model.value);
    else {
      headers["content-type"] = "application/json";
      body = JSON.stringify({ model: model.value, ...body });
    }
    return fetch(path, { method: "POST", signal: running.signal, headers, body });
  }

  async function chat(key) {
    const begun = performance.now();
    const response = await post("/v1/chat/completions", {
      messages: [{ role: "user", content: by("tryprompt").value }],
      stream: true,
      stream_options: { include_usage: true },
    }, key);
    if (!response.ok) return explain(response);
    const id = response.headers.get("x-request-id");
    by("tryfigures").hidden = false;
    report(say("writing"));
    let first = true, ended = false, fault = null, cut = false;
    try {
      for await (const data of events(response.body)) {
        if (data === "[DONE]") { ended = true; continue; }
        const event = JSON.parse(data);
        if (event.error) { fault = event.error.message; continue; }
        const choice = event.choices?.[0];
        cut ||= choice?.finish_reason === "length";
        const text = choice?.delta?.content || choice?.delta?.refusal;
        if (text) {
          if (first) by("tryfirst").textContent = lasted(performance.now() - begun);
          first = false;
          const below = answer.scrollHeight - answer.scrollTop - answer.clientHeight < 40;
          answer.append(text);
          if (below) answer.scrollTop = answer.scrollHeight; // who has scrolled up is reading
        }
        if (event.usage) showUsage(event.usage, data);
      }
    } catch (error) {
      if (error.name === "AbortError") throw error;
    }
    if (!ended) report([say("broken"), fault].filter(Boolean).join(" "), "bad");
    else report([first ? say("none") : "", cut ? say("length") : "", say("done", { time: lasted(performance.now() - begun) })].filter(Boolean).join(" "), "good");
    if (id) await showRecord(id, key);
  }

  // whole makes a call that is answered at once, and has show write the answer; what show returns is said beside the time.
  async function whole(path, body, key, show, headers) {
    const begun = performance.now();
    const response = await post(path, body, key, headers);
    if (!response.ok) return explain(response);
    const result = (response.headers.get("content-type") ?? "").startsWith("application/json") ? await response.json() : await response.blob();
    by("tryfigures").hidden = false;
    by("tryengine").textContent = named(result, response) || "–";
    by("trycost").textContent = response.headers.get("x-tollgate-cost") ?? "–";
    by("tryunits").textContent = measured(response.headers.get("x-tollgate-units")) ?? (result.usage?.prompt_tokens ? measured(result.usage.prompt_tokens + " tokens") : "–");
    const more = await show(result);
    if (!answer.hasChildNodes()) answer.append(say("none"));
    report([say("done", { time: lasted(performance.now() - begun) }), more].filter(Boolean).join(" "), "good");
    const id = response.headers.get("x-request-id");
    if (id) await showRecord(id, key);
  }

  // named tells the engine and model that answered: within the answer, or beside sounds and pictures.
  function named(result, response) {
    const { engine, model } = result.message ?? result;
    return [engine ?? response.headers.get("x-engine"), (engine && model) ?? response.headers.get("x-model")].filter(Boolean).join(" · ") || (typeof model === "string" ? model : "");
  }

  // measured writes "3 images" in the reader's language.
  function measured(units) {
    const [n, unit] = units?.split(" ") ?? [];
    return unit && say(texts[`unit.${unit}.${n}`] ? `unit.${unit}.${n}` : "unit." + unit, { n });
  }

  function translate(key) {
    const body = { text: by("trytext").value, source: by("trysource").value, target: by("trytarget").value };
    return whole("/v1/translate", body, key, ({ translations, quality }) => {
      const made = translations[0];
      const line = document.createElement("span");
      line.lang = body.target;
      line.textContent = made.text;
      answer.append(line);
      by("tryquality").textContent = texts["quality." + (made.quality ?? quality)] ?? made.quality ?? quality ?? "–";
      note.hidden = (made.quality ?? quality) !== "dictionary";
      note.textContent = say("gloss");
      return body.source === "auto" && made.source ? say("detected", { language: nameOf(made.source) }) : "";
    });
  }

  // feeling tells a sentiment in words, with its score from -1 to 1.
  const feeling = (s) => `${texts["sentiment." + s.sentiment] ?? s.sentiment} (${say("score", { n: Number(s.score).toFixed(2) })})`;

  function language(key) {
    const task = by("trytask").value;
    return whole("/v1/text/" + task, { text: by("tryinput").value }, key, (result) => {
      const first = result.results?.[0] ?? {};
      const lines = {
        sentiment: () => [feeling(first), ...(first.sentences ?? []).map((s) => `• ${s.text} ${feeling(s)}`)],
        keywords: () => (first.keywords ?? []).map((k) => `• ${k.keyword}`),
        summarise: () => [result.summary],
      }[task]();
      answer.append(lines.filter(Boolean).join("\n"));
    });
  }

  // alike compares the meaning of two texts by the angle between their vectors.
  function alike(key) {
    return whole("/v1/embeddings", { input: [by("tryone").value, by("trytwo").value] }, key, ({ data: [{ embedding: a }, { embedding: b }] }) => {
      let dot = 0, aa = 0, bb = 0;
      a.forEach((x, i) => { dot += x * b[i]; aa += x * x; bb += b[i] * b[i]; });
      answer.append(say("alike", { n: (dot / Math.sqrt(aa * bb || 1)).toFixed(3), d: a.length }) + "\n" + a.slice(0, 6).map((x) => x.toFixed(4)).join(", ") + ", …");
    });
  }

  // shown gives an address for a file that this page holds.
  function shown(blob) {
    urls.push(URL.createObjectURL(blob));
    return urls.at(-1);
  }

  // A provider's answer must not choose what the page's own origin serves: these types run no scripts.
  const pictures = ["png", "jpeg", "webp"], sounds = { "audio/wav": "wav", "audio/mpeg": "mp3", "audio/ogg": "ogg", "audio/flac": "flac", "audio/aac": "aac", "audio/mp4": "m4a" };

  const listen = sound(form, report);

  async function transcribe(key) {
    const file = listen.heard ?? by("trysound").files[0];
    if (!file) return report(say("file"), "bad");
    const body = new FormData();
    body.append("response_format", "verbose_json");
    body.append("file", file);
    await whole("/v1/audio/transcriptions", body, key, (result) => {
      if (result.text) answer.append(result.text);
      by("tryquality").textContent = texts["quality." + result.quality] ?? result.quality ?? "–";
    });
  }

  function speak(key) {
    const body = { voice: by("tryvoice").value, input: by("trysay").value, response_format: "wav" };
    return whole("/v1/audio/speech", body, key, (result) => {
      if (!(result instanceof Blob)) return;
      const kind = result.type.split(";")[0], type = Object.hasOwn(sounds, kind) ? kind : "audio/wav";
      const made = new Blob([result], { type });
      const player = Object.assign(document.createElement("audio"), { controls: true, src: shown(made) });
      player.setAttribute("aria-label", say("sound"));
      answer.append(player, save(player.src, "speech." + sounds[type]));
    });
  }

  const save = (href, download) => Object.assign(document.createElement("a"), { href, download, textContent: say("save") });

  async function look(key) {
    const task = by("trylook").value, file = by("tryimage").files[0] ?? await picture();
    const body = new FormData();
    body.append("image", file);
    if (task === "enhance") body.append("scale", "2");
    await whole("/v1/vision/" + task, body, key, async (result) => {
      if (result.image?.length) { // a picture, in base64
        if (!pictures.includes(result.format)) return answer.append(say("nopicture"));
        const made = new Blob([Uint8Array.from(atob(result.image), (c) => c.charCodeAt(0))], { type: "image/" + result.format });
        const before = await createImageBitmap(file).catch(() => null);
        if (before) answer.append(figure(file, say("before", { w: before.width, h: before.height })));
        const after = figure(made, say("after", { w: result.width, h: result.height }));
        answer.append(after, save(after.firstChild.src, "image." + result.format));
        return;
      }
      const found = result.objects ?? result.lines ?? result.faces?.map((f) => ({ ...f, label: say("face") })) ?? [];
      if (found.length) answer.append(await marked(file, found));
      const lines = (result.classes ?? found).map((f) => `• ${f.label ?? f.text} (${Math.round(100 * f.confidence)} %)`);
      if ("flagged" in result) lines.unshift(say(result.flagged ? "unsafe" : "safe"));
      answer.append(lines.join("\n") || say("nothing"));
    });
  }

  function figure(blob, caption) {
    const f = document.createElement("figure");
    f.append(Object.assign(document.createElement("img"), { src: shown(blob), alt: caption }), Object.assign(document.createElement("figcaption"), { textContent: caption }));
    return f;
  }

  let talk = null; // the conversation with a bot

  async function assist(key) {
    const bot = by("trybot").value.trim(), text = by("trychat").value;
    if (talk?.key !== key || talk.bot !== bot) {
      answer.replaceChildren();
      const first = bot || await firstOf("/v1/assist/bots", key, "nobot", ({ data }) => data[0]?.id);
      if (!first) return;
      const begun = await post(`/v1/assist/bots/${encodeURIComponent(first)}/sessions`, { language: document.documentElement.lang.slice(0, 2) }, key);
      if (!begun.ok) return explain(begun);
      talk = { ...(await begun.json()), key, bot };
      if (talk.message) answer.append(say("bot", { text: talk.message.text }) + "\n\n");
    }
    answer.append(say("you", { text }) + "\n\n");
    await whole(`/v1/assist/sessions/${encodeURIComponent(talk.id)}/messages`, { text }, key, ({ message }) => {
      if (message) answer.append(say("bot", { text: message.text }) + "\n");
      const sources = new Set(message?.citations?.map((c) => c.heading ?? c.title));
      if (sources.size) answer.append(say("sources", { list: [...sources].join("; ") }) + "\n");
      answer.append("\n");
      answer.scrollTop = answer.scrollHeight;
    }, { "assist-secret": talk.secret });
    if (status.classList.contains("bad")) talk = null; // whatever it was, the next message begins anew
  }

  // firstOf asks for what the organisation of the key has, and gives the first of it.
  async function firstOf(path, key, none, pick) {
    const response = await fetch(path, { signal: running.signal, headers: { authorization: "Bearer " + key, "accept-language": document.documentElement.lang } });
    if (!response.ok) return explain(response);
    const first = pick(await response.json());
    if (!first) report(say(none), "bad");
    return first;
  }

  async function recommend(key) {
    const list = by("trylist").value;
    const space = by("tryspace").value.trim() || await firstOf("/v1/recommend/spaces", key, "nospace", ({ spaces }) => spaces[0]?.name);
    if (!space) return;
    const of = { "for-you": { user: by("tryuser").value, explain: true }, similar: { item: by("tryitem").value } }[list];
    await whole(`/v1/recommend/spaces/${encodeURIComponent(space)}/${list}`, { limit: 8, ...of }, key, ({ items }) => {
      answer.append(items.map((i) => `• ${i.title || i.id}${i.reason?.text ? ` – ${i.reason.text}` : ""}`).join("\n"));
    });
  }

  const chooseList = () => {
    for (const part of form.querySelectorAll("[data-list]")) part.hidden = part.dataset.list !== by("trylist").value;
  };
  by("trylist")?.addEventListener("change", chooseList);
  if (by("trylist")) chooseList();

  const call = (key) => ({ chat, translate, text: language, embeddings: alike, transcribe, speak, vision: look, assist, recommend })[kind.value](key);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = by("trykey").value.trim();
    if (running) return;
    if (key.startsWith("sk-tg-mgt-")) return report(say("management"), "bad");
    if (!/^sk-tg-inf-[0-9A-Za-z]{49}$/.test(key)) return report(say("shape"), "bad");
    running = new AbortController();
    clear(kind.value === "assist" && talk);
    model.disabled = kind.disabled = true;
    stop.hidden = false;
    send.disabled = true;
    report(say("calling"));
    answer.scrollIntoView({ block: "nearest" });
    try {
      await call(key);
    } catch (error) {
      if (error.name === "AbortError") report(say("stopped"));
      else report(say("offline"), "bad");
    } finally {
      running = null;
      stop.hidden = true;
      send.disabled = model.disabled = kind.disabled = false;
    }
  });
  stop.addEventListener("click", () => running?.abort());
  model.addEventListener("change", choose);
  kind.addEventListener("change", choose);
  for (const field of form.querySelectorAll("textarea")) field.addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
  choose(); // a browser that went back keeps what was chosen
}

// sound lets a reader record instead of choosing a file. What it returns has the recording as heard: WAV, 16 kHz, mono, which
// every engine reads.
function sound(form, report) {
  const button = by("trysound") && by("tryrecorder"), state = { heard: null };
  if (!button || !navigator.mediaDevices?.getUserMedia || !window.MediaRecorder) return state;
  let recorder = null, starting = false;
  button.hidden = false;
  by("trysound").addEventListener("change", () => { state.heard = null; });
  button.addEventListener("click", async () => {
    if (recorder) return recorder.stop();
    if (starting) return; // the browser is asking for leave
    starting = true;
    let stream;
    try {
      stream = await navigator.mediaDevices.getUserMedia({ audio: true });
    } catch {
      return report(say("deaf"), "bad");
    } finally {
      starting = false;
    }
    const pieces = [];
    recorder = new MediaRecorder(stream);
    const limit = setTimeout(() => recorder?.stop(), 60_000);
    recorder.ondataavailable = (event) => pieces.push(event.data);
    recorder.onstop = async () => {
      clearTimeout(limit);
      for (const track of stream.getTracks()) track.stop();
      recorder = null;
      button.textContent = say("speak");
      try {
        state.heard = await waveOf(new Blob(pieces));
        by("trysound").value = "";
        report(say("heard", { n: ((state.heard.size - 44) / 32000).toFixed(1) }));
      } catch {
        report(say("deaf"), "bad");
      }
    };
    recorder.start();
    button.textContent = say("halt");
  });
  return state;
}

// waveOf makes a WAV file of a recording.
async function waveOf(blob) {
  const rate = 16000, context = new AudioContext();
  const decoded = await context.decodeAudioData(await blob.arrayBuffer()).finally(() => context.close());
  const mixer = new OfflineAudioContext(1, Math.max(1, Math.ceil(decoded.duration * rate)), rate);
  const source = Object.assign(mixer.createBufferSource(), { buffer: decoded });
  source.connect(mixer.destination);
  source.start();
  const samples = (await mixer.startRendering()).getChannelData(0);
  const wave = new DataView(new ArrayBuffer(44 + 2 * samples.length));
  const put = (at, text) => [...text].forEach((c, i) => wave.setUint8(at + i, c.charCodeAt(0)));
  put(0, "RIFF"); put(8, "WAVEfmt "); put(36, "data");
  for (const [at, v] of [[4, wave.byteLength - 8], [16, 16], [24, rate], [28, 2 * rate], [40, 2 * samples.length]]) wave.setUint32(at, v, true);
  for (const [at, v] of [[20, 1], [22, 1], [32, 2], [34, 16]]) wave.setUint16(at, v, true);
  samples.forEach((x, i) => wave.setInt16(44 + 2 * i, 32767 * Math.max(-1, Math.min(1, x)), true));
  return new File([wave.buffer], "recording.wav", { type: "audio/wav" });
}

// picture is a small one with words, for whoever has none at hand.
async function picture() {
  const canvas = Object.assign(document.createElement("canvas"), { width: 480, height: 160 }), c = canvas.getContext("2d");
  const sky = c.createLinearGradient(0, 0, 480, 160);
  sky.addColorStop(0, "#dcefff");
  sky.addColorStop(1, "#ffffff");
  c.fillStyle = sky;
  c.fillRect(0, 0, 480, 160);
  c.fillStyle = "#0b7261";
  c.fillRect(0, 120, 480, 10);
  c.fillStyle = "#111111";
  c.font = "28px sans-serif";
  c.fillText(say("picture"), 24, 76, 432);
  return new File([await new Promise((done) => canvas.toBlob(done, "image/png"))], "picture.png", { type: "image/png" });
}

// marked draws the boxes of what was found into a picture. Its text follows it as a list.
async function marked(file, found) {
  const image = await createImageBitmap(file).catch(() => null); // a TIFF, say: the list must do
  if (!image) return "";
  const canvas = Object.assign(document.createElement("canvas"), { width: image.width, height: image.height }), c = canvas.getContext("2d");
  canvas.setAttribute("role", "img");
  canvas.setAttribute("aria-label", say("marked"));
  c.drawImage(image, 0, 0);
  const width = Math.max(2, image.width / 250);
  for (const { box } of found) {
    for (const [colour, line] of [["#ffffff", 2 * width], ["#d11149", width]]) {
      c.strokeStyle = colour;
      c.lineWidth = line;
      c.strokeRect(box.x, box.y, box.width, box.height);
    }
  }
  return canvas;
}

// ---- the page that sets up a new platform

function setUpPlatform(form) {
  const status = by("setupstatus");
  const token = location.hash.slice(1);
  form.querySelector("fieldset").disabled = false;
  by("token").value = token;
  by("tokenrow").hidden = token !== "";
  by("organisation").focus();

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    status.className = "status";
    status.textContent = say("working");
    const button = form.querySelector("button.go");
    button.disabled = true;
    const title = by("title").value.trim();
    const body = { token: by("token").value.trim(), organisation: by("organisation").value.trim(), email: by("email").value.trim() };
    if (title) body.title = { [document.documentElement.lang.startsWith("zh") ? "zh" : "en"]: title };
    try {
      const response = await fetch("/api/v1/bootstrap", {
        method: "POST",
        headers: { "content-type": "application/json", "accept-language": document.documentElement.lang },
        body: JSON.stringify(body),
      });
      const answer = await response.json();
      if (!response.ok) {
        const faults = (answer.errors ?? []).map((e) => [e.location ?? e.path, e.message ?? e.detail].filter(Boolean).join(": "));
        throw new Error([say("refused"), answer.detail, ...faults].filter(Boolean).join(" "));
      }
      history.replaceState(null, "", location.pathname); // the token is used up
      status.textContent = "";
      by("newkey").textContent = by("nextkey").textContent = by("copykey").dataset.copy = answer.token;
      form.hidden = true;
      by("founded").hidden = false;
      by("founded").focus();
    } catch (error) {
      status.className = "status bad";
      status.textContent = error instanceof TypeError || error instanceof SyntaxError ? say("offline") : error.message;
      button.disabled = false;
    }
  });
}

if (by("tryform")) setUpTry(by("tryform"));
if (by("setup")) setUpPlatform(by("setup"));
