// Serves the plain pages of the examples on this machine: node examples/serve.mjs FOLDER [PORT]
// $TOLLGATE_URL and the like in a page become what the environment has. Any web server will do for your own pages.
import { readFile, realpath } from 'node:fs/promises';
import { createServer } from 'node:http';
import path from 'node:path';

const names = ['TOLLGATE_URL', 'TOLLGATE_BOT', 'TOLLGATE_PAGE_KEY']; // public all three: what a page may know
const types = { '.html': 'text/html', '.css': 'text/css', '.js': 'text/javascript' };

const [folder, port = '8000'] = process.argv.slice(2);
if (!folder) {
  console.error('usage: node examples/serve.mjs FOLDER [PORT]');
  process.exit(2);
}
const root = await realpath(folder);

const escape = (text) => text.replace(/[&<>"']/g, (c) => `&#${c.charCodeAt(0)};`);

async function answer(request, response) {
  const asked = decodeURIComponent(new URL(request.url, 'http://localhost').pathname);
  const file = path.join(root, asked.endsWith('/') ? asked + 'index.html' : asked);
  const type = types[path.extname(file)];
  if (!type || !file.startsWith(root + path.sep)) throw new Error('not a file of the page');
  let body = await readFile(file, 'utf8');
  if (type === 'text/html') {
    body = body.replace(/\$(TOLLGATE_\w+)/g, (whole, name) => (names.includes(name) ? escape(process.env[name] ?? '') : whole));
  }
  response.writeHead(200, { 'Content-Type': type + '; charset=utf-8', 'Cache-Control': 'no-store' }).end(body);
}

const server = createServer((request, response) => {
  answer(request, response).catch(() => response.writeHead(404, { 'Content-Type': 'text/plain' }).end('Not found\n'));
});
server.listen(Number(port), '127.0.0.1', () => console.log(`http://127.0.0.1:${server.address().port}/`));
