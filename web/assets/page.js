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

function setUpTry(form) {
  const status = by("trystatus"), answer = by("tryanswer"), stop = by("trystop"), send = form.querySelector("button.go");
  let running = null;
  form.querySelector("fieldset").disabled = false;

  function report(text, kind = "") {
    status.textContent = text;
    status.className = "status " + kind;
  }

  // explain tells why a call was refused: in our words what it means, in the platform's what was wrong.
  async function explain(response) {
    let detail = "";
    try {
      detail = (await response.json()).error.message;
    } catch { /* no body of ours: the status must do */ }
    const code = response.status;
    const parts = [`${code}: ${texts["status." + code] ?? (code >= 500 ? say("status.5") : say("status.other"))}`, detail];
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

  async function call(key) {
    const begun = performance.now();
    const response = await fetch("/v1/chat/completions", {
      method: "POST",
      signal: running.signal,
      headers: { "content-type": "application/json", authorization: "Bearer " + key, "accept-language": document.documentElement.lang },
      body: JSON.stringify({
        model: by("trymodel").value,
        messages: [{ role: "user", content: by("tryprompt").value }],
        stream: true,
        stream_options: { include_usage: true },
      }),
    });
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

  form.addEventListener("submit", async (event) => {
    event.preventDefault();
    const key = by("trykey").value.trim();
    if (running) return;
    if (key.startsWith("sk-tg-mgt-")) return report(say("management"), "bad");
    if (!/^sk-tg-inf-[0-9A-Za-z]{49}$/.test(key)) return report(say("shape"), "bad");
    running = new AbortController();
    answer.replaceChildren();
    by("tryfigures").hidden = by("tryrecord").hidden = true;
    for (const id of ["tryfirst", "trytokens", "trycost"]) by(id).textContent = "–";
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
      send.disabled = false;
    }
  });
  stop.addEventListener("click", () => running?.abort());
  by("tryprompt").addEventListener("keydown", (event) => {
    if (event.key === "Enter" && (event.ctrlKey || event.metaKey)) form.requestSubmit();
  });
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
