// Types arguments[1] into arguments[0] as one edit, the way a paste does: emoji and line breaks survive,
// and no line break submits a form. Answers whether the field took it.
const [element, text] = arguments;
element.focus();
if (document.execCommand('insertText', false, text)) return true;
const proto = element.localName === 'textarea' ? HTMLTextAreaElement.prototype : HTMLInputElement.prototype;
if (!(element instanceof HTMLInputElement || element instanceof HTMLTextAreaElement)) return false;
Object.getOwnPropertyDescriptor(proto, 'value').set.call(element, text);
element.dispatchEvent(new InputEvent('input', { bubbles: true, inputType: 'insertText', data: text }));
element.dispatchEvent(new Event('change', { bubbles: true }));
return true;
