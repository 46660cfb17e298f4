// A small MCP server of the present protocol and a webhook's receiver, both on a port of 127.0.0.1 that is free. They end
// with the script.
import { createServer } from 'node:http';

const VERSION = '2026-07-28';
const opened = [];

function listen(answer) {
  const server = createServer((request, response) => {
    const parts = [];
    request.on('data', (part) => parts.push(part));
    request.on('end', () => answer(request, Buffer.concat(parts).toString(), response));
  });
  opened.push(server);
  return new Promise((done) => { server.listen(0, '127.0.0.1', () => done(server)); });
}
function stop(server) {
  server.closeAllConnections();
  return new Promise((done) => { server.close(done); });
}
/** Ends all of them. */
export const endAll = () => Promise.all(opened.filter((server) => server.listening).map(stop));

function answerAs(upstream, message) {
  const { method, params } = message;
  const shared = { ttlMs: 60_000, cacheScope: 'public' };
  if (method === 'server/discover') return { supportedVersions: [VERSION], capabilities: { tools: {} }, instructions: upstream.instructions, ...shared };
  if (method === 'tools/list') return { tools: upstream.tools, ...shared };
  if (method !== 'tools/call') return undefined;
  const text = upstream.wrong(params) ?? `${params.name} is done.`;
  return { content: [{ type: 'text', text }], isError: text !== `${params.name} is done.` };
}

/** Each tool takes its time, 20 to 200 ms, as servers do that are further away. */
const takes = (tool) => 20 + [...tool].reduce((sum, letter) => (sum * 31 + letter.codePointAt(0)) % 180, 0);

/**
 * Starts a server. `tools` are definitions and may be changed while it runs. `wrong(params)` says what is wrong with a call,
 * if something is; a status instead of a text is answered as it is, and `'never'` is not answered at all.
 * With `bearer` it wants that credential. `before(method)` is waited for before a request is answered.
 */
export async function upstream({ name, version, tools, instructions, bearer, wrong = () => undefined, before = () => undefined }) {
  const self = { name, version, tools, instructions, wrong, before };
  const server = await listen(async (request, body, response) => {
    const send = (status, json) => response.writeHead(status, { 'content-type': 'application/json' }).end(json && JSON.stringify(json));
    if (bearer && request.headers.authorization !== `Bearer ${bearer}`) return send(401, { error: 'invalid_token' });
    if (request.method !== 'POST') return send(405);
    const message = JSON.parse(body);
    if (message.id === undefined) return send(202);
    await self.before(message.method);
    const refused = message.method === 'tools/call' && self.wrong(message.params);
    if (refused === 'never') return undefined;
    if (typeof refused === 'number') return send(refused);
    const result = answerAs(self, message);
    if (!result) return send(404, { jsonrpc: '2.0', id: message.id, error: { code: -32601, message: 'method not found' } });
    const about = { resultType: 'complete', _meta: { 'io.modelcontextprotocol/serverInfo': { name: self.name, version: self.version } } };
    const answer = () => send(200, { jsonrpc: '2.0', id: message.id, result: { ...result, ...about } });
    return message.method === 'tools/call' ? setTimeout(answer, takes(message.params.name)) : answer();
  });
  self.url = `http://127.0.0.1:${server.address().port}/mcp`;
  self.stop = () => stop(server);
  return self;
}

/** Starts a receiver; `judge(lines)` gives the status and the text of the answer to a batch, or nothing: then none comes. */
export async function receiver(judge) {
  const self = { judge, taken: 0 };
  const server = await listen((request, body, response) => {
    const lines = body.split('\n').filter(Boolean).map((line) => JSON.parse(line));
    const judged = self.judge(lines);
    if (!judged) return;
    const [status, text] = judged;
    if (status < 300) self.taken += lines.length;
    response.writeHead(status, { 'content-type': 'text/plain' }).end(text);
  });
  self.url = `http://127.0.0.1:${server.address().port}`;
  return self;
}
