// Finds candidates for a target, cheaply and generously; Rust confirms names and roles with the driver.
// arguments: [0] target, [1] element to look in or null, [2] whether invisible elements count.
// Answers {bad} or {accessible, maybe, labelled, text, data, css}: {count, elements} each, or null where not asked.
const [want, scope, invisibleCounts] = arguments;
const LIST_MAX = 50;

const norm = text => (text || '').replace(/\s+/g, ' ').trim();
const squash = text => (text || '').replace(/\s+/g, '');

// Implicit roles worth looking for; explicit ones are found by attribute.
const IMPLICIT = {
  alertdialog: 'dialog', article: 'article', banner: 'header', blockquote: 'blockquote',
  button: 'button,summary,input[type=button],input[type=submit],input[type=reset],input[type=image],input[type=file]',
  cell: 'td', checkbox: 'input[type=checkbox]', columnheader: 'th', combobox: 'select,input[list]',
  complementary: 'aside', contentinfo: 'footer', dialog: 'dialog', figure: 'figure', form: 'form',
  group: 'fieldset,details,optgroup', heading: 'h1,h2,h3,h4,h5,h6', img: 'img,svg', image: 'img,svg',
  link: 'a[href],area[href]', list: 'ul,ol,menu', listbox: 'select[multiple],select[size]', listitem: 'li',
  main: 'main', navigation: 'nav', option: 'option', paragraph: 'p', progressbar: 'progress',
  radio: 'input[type=radio]', region: 'section', row: 'tr', rowheader: 'th', search: 'search',
  searchbox: 'input[type=search]', separator: 'hr', slider: 'input[type=range]', spinbutton: 'input[type=number]',
  status: 'output', switch: 'input[switch]', table: 'table',
  textbox: 'input:not([type]),input[type=text],input[type=email],input[type=tel],input[type=url],' +
    'input[type=password],textarea,[contenteditable]',
};
const CONTROLS = 'a[href],area[href],button,summary,input,textarea,select,option,img,svg,dialog,' +
  'h1,h2,h3,h4,h5,h6,[role],[aria-label],[aria-labelledby],[title],[tabindex],[contenteditable]';
const FIELDS = 'input,textarea,select,meter,progress,output,[contenteditable],[role=textbox],[role=combobox],' +
  '[role=searchbox],[role=spinbutton],[role=slider],[role=checkbox],[role=radio],[role=switch],[role=listbox]';

const withRole = role => (IMPLICIT[role] ? IMPLICIT[role] + ',' : '') + `[role~="${role}"]` +
  (role === 'img' ? ',[role~="image"]' : '');

// Open shadow roots are part of what a person sees.
const collect = selector => {
  const found = [];
  const visit = root => {
    found.push(...root.querySelectorAll(selector));
    for (const element of root.querySelectorAll('*')) if (element.shadowRoot) visit(element.shadowRoot);
  };
  visit(scope || document);
  if (scope && scope.shadowRoot) visit(scope.shadowRoot);
  return found;
};

const visible = element => {
  if (invisibleCounts) return true;
  if (element.checkVisibility && !element.checkVisibility({ visibilityProperty: true, checkVisibilityCSS: true })) {
    return false;
  }
  const box = element.getBoundingClientRect();
  return box.width > 0 && box.height > 0;
};

// The accessible name, roughly: only a filter, the browser's own computation decides.
const rough = (element, depth = 0) => {
  if (depth > 30 || (depth > 0 && element.getAttribute('aria-hidden') === 'true')) return '';
  const ids = element.getAttribute('aria-labelledby');
  if (ids && depth === 0) {
    const root = element.getRootNode();
    const named = ids.split(/\s+/).map(id => root.getElementById && root.getElementById(id)).filter(Boolean);
    const text = named.map(other => rough(other, 1)).join(' ');
    if (squash(text)) return text;
  }
  const label = element.getAttribute('aria-label');
  if (squash(label)) return label;
  const tag = element.localName;
  if (element.labels && element.labels.length) {
    const text = [...element.labels].map(other => inside(other, depth + 1, element)).join(' ');
    if (squash(text)) return text;
  }
  if (tag === 'img' || tag === 'area' || (tag === 'input' && element.type === 'image')) {
    return element.getAttribute('alt') || element.title || '';
  }
  if (tag === 'input' && ['button', 'submit', 'reset'].includes(element.type)) {
    return element.value || { submit: 'Submit', reset: 'Reset' }[element.type] || element.title || '';
  }
  if (tag === 'input' || tag === 'textarea' || tag === 'select') {
    return element.title || element.placeholder || element.getAttribute('aria-placeholder') || '';
  }
  const text = inside(element, depth, null);
  return squash(text) ? text : element.title || '';
};
const inside = (element, depth, without) => {
  let text = '';
  for (const node of (element.shadowRoot || element).childNodes) {
    if (node.nodeType === 3) text += node.data;
    else if (node.nodeType === 1 && node !== without && !['script', 'style'].includes(node.localName)) {
      text += ' ' + rough(node, depth + 1) + ' ';
    }
  }
  return text;
};

const listed = elements => {
  const unique = [...new Set(elements)].filter(visible);
  return { count: unique.length, elements: unique.slice(0, LIST_MAX) };
};

const answer = { accessible: null, maybe: null, labelled: null, text: null, data: null, css: null };
try {
  if (want.label) {
    const label = norm(want.label);
    const fields = collect(FIELDS);
    const says = field => [...(field.labels || [])].some(other => norm(other.innerText) === label);
    answer.labelled = listed(fields.filter(says));
    answer.accessible = listed(fields.filter(field => squash(rough(field)) === squash(label)));
  } else if (want.name) {
    const name = squash(want.name);
    const named = collect(want.role ? withRole(want.role) : CONTROLS).map(element => [element, squash(rough(element))]);
    answer.accessible = listed(named.filter(([, said]) => said === name).map(([element]) => element));
    answer.maybe = listed(named
      .filter(([, said]) => said !== name && (said.includes(name) || name.includes(said)))
      .map(([element]) => element));
  } else if (want.role && !want.text) {
    answer.accessible = listed(collect(withRole(want.role)));
  }
  if (want.text) {
    const text = norm(want.text);
    const part = squash(text).toLowerCase();
    const hollow = ['html', 'head', 'body', 'script', 'style', 'noscript', 'template', 'title'];
    const says = element => {
      const button = element.localName === 'input' && ['button', 'submit', 'reset'].includes(element.type);
      if (button) return norm(element.value).includes(text);
      if (hollow.includes(element.localName)) return false;
      if (!squash(element.textContent).toLowerCase().includes(part)) return false;
      return norm(element.innerText || element.textContent).includes(text) || norm(element.textContent).includes(text);
    };
    const all = collect(want.role ? withRole(want.role) : '*').filter(says).filter(visible);
    const holders = new Set(all.flatMap(element => {
      const above = [];
      for (let node = element.parentNode || element.host; node; node = node.parentNode || node.host) above.push(node);
      return above;
    }));
    answer.text = listed(all.filter(element => !holders.has(element)));
  }
  if (want.data) {
    const { attribute, value } = want.data;
    answer.data = listed(collect(`[${attribute}]`).filter(element => element.getAttribute(attribute) === value));
  }
  if (want.css) answer.css = listed(collect(want.css));
} catch (error) {
  if (error instanceof DOMException && error.name === 'SyntaxError') return { bad: 'the selector cannot be parsed' };
  throw error;
}
return answer;
