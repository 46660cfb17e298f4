// The official TypeScript SDK, version 1 (legacy era only), as a client: URL TOKEN MODE TOOL ARGUMENTS; prints one line
// of JSON. MODE must be `legacy`. Modules come from the folder in CLIENTS.
import { createRequire } from 'node:module';
import { pathToFileURL } from 'node:url';

const [url, token, , tool, args] = process.argv.slice(2);
const find = createRequire(`${process.env.CLIENTS}/package.json`);
const load = name => import(pathToFileURL(find.resolve(name)));
const { Client } = await load('@modelcontextprotocol/sdk/client/index.js');
const { StreamableHTTPClientTransport } = await load('@modelcontextprotocol/sdk/client/streamableHttp.js');

const transport = new StreamableHTTPClientTransport(new URL(url), { requestInit: { headers: { Authorization: `Bearer ${token}` } } });
const client = new Client({ name: 'typescript-sdk-1', version: '1' });
await client.connect(transport);
const { tools } = await client.listTools();
const progress = [];
const result = await client.callTool({ name: tool, arguments: JSON.parse(args) }, undefined, { onprogress: note => progress.push(note.progress) });
console.log(JSON.stringify({
  protocol: transport.protocolVersion ?? null,
  tools: tools.map(each => each.name),
  text: result.content.filter(block => block.type === 'text').map(block => block.text).join(''),
  is_error: result.isError ?? false,
  progress,
}));
await client.close();
