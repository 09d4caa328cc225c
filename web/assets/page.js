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
      part.hidden = !part.dataset.kind.split(" ").includes(kind.value);
      if (part.tagName === "FIELDSET") part.disabled = part.hidden;
    }
    if (!running && !by("tryfigures").hidden) clear(); // an answer of another kind
  }

  function clear() {
    answer.replaceChildren();
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

  // post sends a call of the chosen product.
  const post = (path, body, key) => fetch(path, {
    method: "POST",
    signal: running.signal,
    headers: { "content-type": "application/json", authorization: "Bearer " + key, "accept-language": document.documentElement.lang },
    body: JSON.stringify({ model: model.value, ...body }),
  });

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
  async function whole(path, body, key, show) {
    const begun = performance.now();
    const response = await post(path, body, key);
    if (!response.ok) return explain(response);
    const result = await response.json();
    by("tryfigures").hidden = false;
    by("tryengine").textContent = [result.engine, result.model].filter(Boolean).join(" · ");
    by("trycost").textContent = response.headers.get("x-tollgate-cost") ?? "–";
    const more = show(result);
    if (!answer.hasChildNodes()) answer.append(say("none"));
    report([say("done", { time: lasted(performance.now() - begun) }), more].filter(Boolean).join(" "), "good");
    const id = response.headers.get("x-request-id");
    if (id) await showRecord(id, key);
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

  const call = (key) => ({ chat, translate, text: language })[kind.value](key);

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = by("trykey").value.trim();
    if (running) return;
    if (key.startsWith("sk-tg-mgt-")) return report(say("management"), "bad");
    if (!/^sk-tg-inf-[0-9A-Za-z]{49}$/.test(key)) return report(say("shape"), "bad");
    running = new AbortController();
    clear();
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
