// Brings arguments[0] into view. Answers null when a person could click it now, else what is in the way.
// arguments[1]: whether it must also accept typing.
const [element, typing] = arguments;
if (!element.isConnected) return 'it has left the page';
element.scrollIntoView({ block: 'center', inline: 'center', behavior: 'instant' });
if (element.matches(':disabled') || element.closest('[aria-disabled="true"]')) return 'it is disabled';
if (typing && (element.readOnly || element.getAttribute('aria-readonly') === 'true')) return 'it is read-only';
const box = element.getClientRects()[0];
if (!box || box.width === 0 || box.height === 0) return 'it has no size';
const left = Math.max(0, box.left), right = Math.min(innerWidth, box.right);
const top = Math.max(0, box.top), bottom = Math.min(innerHeight, box.bottom);
if (left >= right || top >= bottom) return 'it cannot be brought into view';
const x = (left + right) / 2, y = (top + bottom) / 2;
let hit = document.elementFromPoint(x, y);
while (hit && hit.shadowRoot) {
  const inner = hit.shadowRoot.elementFromPoint(x, y);
  if (!inner || inner === hit) break;
  hit = inner;
}
for (let node = hit; node; node = node.parentNode || node.host) if (node === element) return null;
if (!hit) return 'nothing can be hit where it is';
return `it is covered by <${hit.localName}${hit.id ? ' id=' + hit.id.slice(0, 40) : ''}>`;
