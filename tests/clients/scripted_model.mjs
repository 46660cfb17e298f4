// Stands in for the model behind Claude Code: its first answer calls the tool TOOL with ARGS, its second ends the turn
// and repeats what the tool said. The MCP client is real. Prints its address, then one line of JSON for each request.
import http from 'node:http';

const { TOOL: tool, ARGS: input = '{}' } = process.env;
const usage = { input_tokens: 1, output_tokens: 1 };

function send(response, status, body) {
  response.writeHead(status, { 'content-type': 'application/json' });
  response.end(JSON.stringify(body));
}

function stream(response, model, content, stop) {
  response.writeHead(200, { 'content-type': 'text/event-stream' });
  const event = (type, fields) => response.write(`event: ${type}\ndata: ${JSON.stringify({ type, ...fields })}\n\n`);
  const start = content.type === 'tool_use' ? { ...content, input: {} } : { ...content, text: '' };
  const delta = content.type === 'tool_use'
    ? { type: 'input_json_delta', partial_json: JSON.stringify(content.input) }
    : { type: 'text_delta', text: content.text };
  event('message_start', { message: { id: 'msg_1', type: 'message', role: 'assistant', model, content: [], stop_reason: null, stop_sequence: null, usage } });
  event('content_block_start', { index: 0, content_block: start });
  event('content_block_delta', { index: 0, delta });
  event('content_block_stop', { index: 0 });
  event('message_delta', { delta: { stop_reason: stop, stop_sequence: null }, usage });
  event('message_stop', {});
  response.end();
}

function answer(request, response, body) {
  if (!request.url.startsWith('/v1/messages')) {
    return send(response, 404, { type: 'error', error: { type: 'not_found_error', message: 'not found' } });
  }
  if (request.url.includes('count_tokens')) return send(response, 200, { input_tokens: 1 });
  const { model, messages, tools = [], stream: streamed } = JSON.parse(body);
  const last = messages.at(-1);
  const said = Array.isArray(last.content) && last.content.find(block => block.type === 'tool_result');
  const offered = tools.map(each => each.name).filter(name => name.startsWith('mcp__'));
  console.log(JSON.stringify({ offered, said: said ? said.content : null }));
  const calls = !said && offered.includes(tool);
  const content = calls
    ? { type: 'tool_use', id: 'toolu_1', name: tool, input: JSON.parse(input) }
    : { type: 'text', text: `the tool said: ${JSON.stringify(said ? said.content : '')}` };
  const stop = calls ? 'tool_use' : 'end_turn';
  if (streamed) return stream(response, model, content, stop);
  send(response, 200, { id: 'msg_1', type: 'message', role: 'assistant', model, content: [content], stop_reason: stop, stop_sequence: null, usage });
}

const server = http.createServer((request, response) => {
  let body = '';
  request.on('data', part => { body += part; });
  request.on('end', () => answer(request, response, body));
});
server.listen(0, '127.0.0.1', () => console.log(JSON.stringify({ url: `http://127.0.0.1:${server.address().port}` })));
