// The API, as whoever holds a token, and an MCP client of the gateway.
import { endpoints, until } from './browser.mjs';

const VERSION = '2026-07-28';
export const gateway = (slug) => endpoints.tenant_url.replace(`/${endpoints.tenant}/mcp`, `/${slug}/mcp`);

/** The API of one workspace. What it answers to a request that it does not take is thrown. */
export class Api {
  constructor(slug, token) { Object.assign(this, { slug, token }); }
  async send(method, path, body) {
    const answer = await fetch(`${endpoints.api_url}/tenants/${this.slug}${path}`, {
      method, headers: { authorization: `Bearer ${this.token}`, 'content-type': 'application/json' }, body: body && JSON.stringify(body),
    });
    const text = await answer.text();
    if (!answer.ok) throw new Error(`${method} ${path}: ${answer.status} ${text}`);
    return text === '' ? undefined : JSON.parse(text);
  }
  get(path) { return this.send('GET', path); }
  post(path, body = {}) { return this.send('POST', path, body); }

  /** Waits until what was changed is live on every node. */
  async live() {
    const isLive = await until(async () => {
      const { revision, published, reach } = await this.get('/live');
      return published?.revision === revision && reach?.live === reach?.of && reach?.live > 0;
    });
    if (!isLive) throw new Error(`not live: ${JSON.stringify(await this.get('/live'))}`);
  }
  /** The newest record that a filter of Activity finds, once there is one. */
  async recorded(query) {
    const found = await until(async () => (await this.get(`/activity?${query}`)).records.find((record) => record.final || record.kind !== 'call'));
    if (!found) throw new Error(`nothing is recorded for ${query}`);
    return found.id;
  }
}

/** Makes a call; gives the answer's status and text. `client` is what the program says of itself. */
export async function call(slug, token, client, tool, args = {}) {
  const meta = { protocolVersion: VERSION, clientCapabilities: {}, clientInfo: { name: client, version: '2.4.1' } };
  const _meta = Object.fromEntries(Object.entries(meta).map(([name, value]) => [`io.modelcontextprotocol/${name}`, value]));
  const answer = await fetch(gateway(slug), {
    method: 'POST',
    headers: {
      authorization: `Bearer ${token}`, 'content-type': 'application/json', accept: 'application/json, text/event-stream',
      'mcp-protocol-version': VERSION, 'mcp-method': 'tools/call', 'mcp-name': tool,
    },
    body: JSON.stringify({ jsonrpc: '2.0', id: 1, method: 'tools/call', params: { name: tool, arguments: args, _meta } }),
  });
  return { status: answer.status, text: await answer.text() };
}
