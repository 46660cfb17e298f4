// The official TypeScript SDK, version 2, as a client: URL TOKEN MODE TOOL ARGUMENTS; prints one line of JSON.
// MODE is `legacy`, `auto` or a modern protocol version. Modules come from the folder in CLIENTS.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [url, token, mode, tool, args] = process.argv.slice(2);
const find = createRequire(`${process.env.CLIENTS}/package.json`);
const load = name => import(pathToFileURL(find.resolve(name)));
const { Client, StreamableHTTPClientTransport } = await load('@modelcontextprotocol/client');

const negotiation = mode === 'legacy' || mode === 'auto' ? mode : { pin: mode };
const client = new Client({ name: 'typescript-sdk', version: '2' }, { versionNegotiation: { mode: negotiation } });
await client.connect(new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } }));
const { tools } = await client.listTools();
const progress = [];
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) }, { onprogress: note => progress.push(note.progress) });
console.log(JSON.stringify({
  protocol: client.getNegotiatedProtocolVersion?.() ?? null,
  tools: tools.map(each => each.name),
  text: result.content.filter(block => block.type === 'text').map(block => block.text).join(''),
  is_error: result.isError ?? false,
  progress,
}));
await client.close();
