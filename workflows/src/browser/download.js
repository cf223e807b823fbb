// Fetches a file in the page, so that the session's cookies go along, and hands it over in pieces.
// arguments: ['begin', address, most bytes], then ['look'] until it has `bytes` or `why`, then ['piece', from, to] in
// base64, then ['end']. A look answers null where the page was left, and with it what was fetched.
const [wanted, ...rest] = arguments;
const place = Symbol.for('fermata.download');

const fetched = async (state, address, most) => {
  const answer = await fetch(address, { credentials: 'same-origin', signal: state.stop.signal });
  state.told.status = answer.status;
  state.told.address = answer.url;
  state.told.content_type = answer.headers.get('content-type');
  if (!answer.ok) {
    state.stop.abort();
    return;
  }
  const reader = answer.body ? answer.body.getReader() : null;
  const parts = [];
  let size = 0;
  while (reader) {
    const { done, value } = await reader.read();
    if (done) break;
    size += value.length;
    if (size > most) {
      state.told.too_large = true;
      state.stop.abort();
      return;
    }
    parts.push(value);
  }
  state.file = new Uint8Array(size);
  let at = 0;
  for (const part of parts) {
    state.file.set(part, at);
    at += part.length;
  }
  state.told.bytes = size;
};

const encoded = bytes => {
  let text = '';
  // As many arguments as every engine takes.
  for (let at = 0; at < bytes.length; at += 8192) text += String.fromCharCode(...bytes.subarray(at, at + 8192));
  return btoa(text);
};

const known = window[place];
if (wanted === 'begin') {
  if (known) known.stop.abort();
  const told = { status: null, address: null, content_type: null, bytes: null, too_large: false, why: null };
  const state = { stop: new AbortController(), told, file: null };
  window[place] = state;
  fetched(state, ...rest).catch(error => { told.why = String((error && error.message) || error).slice(0, 200); });
  return true;
}
if (!known) return null;
if (wanted === 'look') return known.told;
if (wanted === 'piece') return encoded(known.file.subarray(...rest));
known.stop.abort();
delete window[place];
return true;
