// A shop's page: what is trending, what is for you, what is similar to what you chose. A click is an event, and the
// next answer knows of it.
const { url, key, space } = document.querySelector('script[data-space]').dataset;
const select = document.querySelector('#user');
const note = document.querySelector('#note');
const how = document.querySelector('#how');

// someone is a visitor of whom nothing is known yet; a real shop has the session's id or the customer's.
const someone = sessionStorage.getItem('someone') ?? 'visitor-' + crypto.randomUUID();
sessionStorage.setItem('someone', someone);
const user = () => select.value || someone;

async function call(path, body) {
  const response = await fetch(`${url}/v1/recommend/spaces/${space}/${path}`, {
    method: 'POST',
    headers: { Authorization: `Bearer ${key}`, 'Content-Type': 'application/json' },
    body: JSON.stringify(body),
  });
  const data = await response.json().catch(() => ({}));
  if (!response.ok) throw new Error(data.detail ?? `HTTP ${response.status}`);
  return data;
}

const money = (item) =>
  item.price === undefined ? '' : new Intl.NumberFormat('en', { style: 'currency', currency: item.currency }).format(item.price);

function element(name, text) {
  const e = document.createElement(name);
  e.textContent = text;
  return e;
}

function show(name, answer) {
  const list = document.querySelector(`[data-list="${name}"]`);
  list.replaceChildren(
    ...answer.items.map((item) => {
      const button = document.createElement('button');
      button.dataset.item = item.id;
      button.append(element('strong', item.title), element('span', money(item)));
      if (item.reason) button.append(element('small', item.reason.text));
      button.onclick = () => attempt(() => choose(item, answer.request_id));
      const li = document.createElement('li');
      li.append(button);
      return li;
    }),
  );
  list.closest('section').hidden = answer.items.length === 0;
}

async function forYou() {
  const answer = await call('for-you', { user: user(), limit: 5, explain: true });
  how.textContent = `By ${answer.model}` + (answer.experiment ? `, arm “${answer.experiment.arm}” of the experiment “${answer.experiment.name}”` : '');
  show('for-you', answer);
}

// choose tells that the visitor clicked on an item, and by which answer it was shown: so the experiment knows its clicks.
async function choose(item, shownBy) {
  const start = performance.now();
  await call('events', { events: [{ user: user(), item: item.id, type: 'click', request_id: shownBy }] });
  await forYou();
  note.textContent = `You chose “${item.title}”. The list for you is new, after ${Math.round(performance.now() - start)} ms.`;
  show('similar', await call('similar', { item: item.id, user: user(), limit: 5 }));
}

async function open() {
  document.querySelector('[data-list="similar"]').closest('section').hidden = true;
  note.textContent = '';
  await Promise.all([forYou(), call('trending', { limit: 5 }).then((answer) => show('trending', answer))]);
}

const attempt = (what) => what().catch((error) => (note.textContent = error.message));

select.onchange = () => attempt(open);
attempt(open);
