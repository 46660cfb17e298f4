// Adds the bearer token of CONF_AUTH_TOKEN to whatever the conformance suite sends to CONF_AUTH_ORIGIN: it has no option
// for that. Preloaded with `node --import`; CONF_UNDICI is the suite's own undici, which its `fetch` is of.
import http from 'node:http';

const { CONF_AUTH_TOKEN: token, CONF_AUTH_ORIGIN: origin, CONF_UNDICI: undici } = process.env;
const bearer = `Bearer ${token}`;

// Headers come as pairs in one flat list, as something that gives pairs, or as an object.
function withToken(headers) {
  if (Array.isArray(headers)) return [...headers, 'authorization', bearer];
  if (headers && typeof headers[Symbol.iterator] === 'function') return [...headers, ['authorization', bearer]];
  return { ...headers, authorization: bearer };
}

const { Agent, setGlobalDispatcher } = await import(undici);
setGlobalDispatcher(
  new Agent().compose((dispatch) => (options, handler) => {
    const ours = String(options.origin) === origin;
    return dispatch(ours ? { ...options, headers: withToken(options.headers) } : options, handler);
  }),
);

// Some scenarios write their requests with node:http, so that they can write wrong ones.
const request = http.request;
http.request = function (options, ...rest) {
  const ours = options?.hostname && `http://${options.hostname}:${options.port}` === origin;
  return request.call(this, ours ? { ...options, headers: withToken(options.headers) } : options, ...rest);
};
