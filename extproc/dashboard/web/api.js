// The admin API of the same origin. One token for all calls, asked for once and forgotten with the browser tab.

const TOKEN = 'kvgate-token';
const TIMEOUT_MS = 8000;

/** `kind`: `network` (nobody answers), `token` (asks who we are), `gateway` (Envoy answers for a processor that does not), `answer`. */
export class AdminError extends Error {
  constructor(kind, message, status = 0) {
    super(message);
    this.kind = kind;
    this.status = status;
  }
}

export const token = {
  get: () => sessionStorage.getItem(TOKEN) ?? '',
  set: (value) => (value ? sessionStorage.setItem(TOKEN, value) : sessionStorage.removeItem(TOKEN)),
};

/** The JSON at a path. Raises AdminError; never waits longer than eight seconds. */
export async function get(path, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const response = await ask(query ? `${path}?${query}` : path);
  try {
    return await response.json();
  } catch {
    throw new AdminError('answer', `${path} did not answer with JSON.`, response.status);
  }
}

/** The text of one of the page's own files. */
export async function file(name) {
  return (await ask(`/dashboard/${name}`)).text();
}

async function ask(url) {
  const headers = token.get() ? { authorization: `Bearer ${token.get()}` } : {};
  let response;
  try {
    response = await fetch(url, { headers, cache: 'no-store', signal: AbortSignal.timeout(TIMEOUT_MS) });
  } catch (error) {
    throw new AdminError('network', error.name === 'TimeoutError' ? 'It does not answer in time.' : 'Nobody answers.');
  }
  if (response.ok) return response;
  const said = await response.json().catch(() => ({}));
  const message = said.message || response.statusText || `status ${response.status}`;
  if (response.status === 401) throw new AdminError('token', message, 401);
  throw new AdminError([502, 503, 504].includes(response.status) ? 'gateway' : 'answer', message, response.status);
}
