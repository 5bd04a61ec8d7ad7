/*
 * Narrative text is HTML that apps put on screens, so it is the way in for scripts. What is not known to be harmless is refused
 * (https://hl7.org/fhir/R4/narrative.html, txt-1 and txt-2). One linear pass, no tree.
 */

// HTML 4.0 chapters 7-11 (without section 4 of chapter 9) and 15, with images and links.
const tags = new Set(
  ('a abbr acronym address b bdo big blockquote br caption cite code col colgroup dd del dfn div dl dt em h1 h2 h3 h4 h5 h6 hr i img ins kbd li ol p pre q ' +
    's samp small span strike strong sub sup table tbody td tfoot th thead tr tt u ul var center font').split(' '),
);
const attributes = new Set(
  ('abbr align alt axis bgcolor border cellhalign cellpadding cellspacing cellvalign char charoff cite class color colspan compact datetime dir face frame headers height href hspace id ' +
    'lang longdesc name noshade nowrap rel rev rowspan rules scope size span src start style summary tabindex title type usemap valign value vspace width xml:lang xmlns').split(' '),
);
const linkAttributes = new Set(['cite', 'href', 'longdesc', 'src', 'usemap']);

const xhtmlNamespace = 'http://www.w3.org/1999/xhtml';
const tagForm = /<(\/?)([A-Za-z][A-Za-z0-9]*)((?:\s+[A-Za-z_][A-Za-z0-9_:.-]*\s*=\s*(?:"[^"<]*"|'[^'<]*'))*)\s*(\/?)>/y;
const attributeForm = /([A-Za-z_][A-Za-z0-9_:.-]*)\s*=\s*(?:"([^"]*)"|'([^']*)')/g;
const maxTagLength = 65_536;
const maxOpenTags = 256;

/**
 * Checks the `div` of a Narrative.
 *
 * @returns what is wrong, in words that repeat nothing of it; undefined if it may be shown
 */
export function narrativeFault(div: string): string | undefined {
  const open: string[] = [];
  let hasContent = false;
  let at = 0;
  while (at < div.length) {
    const next = div.indexOf('<', at);
    const text = div.slice(at, next === -1 ? div.length : next);
    if (text.trim() !== '') {
      if (open.length === 0) return 'The narrative has text outside its div.';
      hasContent = true;
    }
    if (next === -1) break;
    if (open.length === 0 && next > 0 && at > 0) return 'The narrative is more than one div.';
    if (div.startsWith('<!--', next)) {
      const end = div.indexOf('-->', next + 4);
      if (end === -1) return 'The narrative has a comment without an end.';
      at = end + 3;
      continue;
    }
    const close = div.indexOf('>', next);
    if (close === -1 || close - next > maxTagLength) return 'The narrative is not well-formed XHTML.';
    tagForm.lastIndex = next;
    const tag = tagForm.exec(div);
    if (tag === null) return 'The narrative is not well-formed XHTML.';
    at = tagForm.lastIndex;
    const [, ending, name = '', attributeText = '', empty] = tag;
    if (!tags.has(name)) return 'The narrative has an element that is not permitted in one.';
    if (ending === '/') {
      if (open.pop() !== name || attributeText !== '' || empty === '/') return 'The narrative is not well-formed XHTML.';
      continue;
    }
    const isRoot = open.length === 0;
    if (isRoot && name !== 'div') return 'The narrative does not start with a div.';
    const fault = attributesFault(attributeText, isRoot);
    if (fault !== undefined) return fault;
    if (name === 'img') hasContent = true;
    if (empty !== '/') open.push(name);
    if (open.length > maxOpenTags) return 'The narrative is nested too deeply.';
  }
  if (open.length > 0) return 'The narrative is not well-formed XHTML.';
  return hasContent ? undefined : 'The narrative is empty.';
}

function attributesFault(text: string, isRoot: boolean): string | undefined {
  const seen = new Set<string>();
  for (const [, name = '', double, single] of text.matchAll(attributeForm)) {
    const value = double ?? single ?? '';
    if (seen.has(name)) return 'The narrative is not well-formed XHTML.';
    seen.add(name);
    if (!attributes.has(name)) return 'The narrative has an attribute that is not permitted in one.';
    if (linkAttributes.has(name) && !isHarmlessLink(value)) return 'The narrative has a link that is not permitted in one.';
    if (name === 'style' && /[\\&@]|url\s*\(|expression|behavior|-moz-binding|\/\*/i.test(value)) return 'The narrative has a style that is not permitted in one.';
    if (name === 'xmlns' && value !== xhtmlNamespace) return 'The narrative is not in the XHTML namespace.';
  }
  return isRoot && !seen.has('xmlns') ? 'The narrative is not in the XHTML namespace.' : undefined;
}

/** Web and mail addresses, places in this document, contained resources and inline images; no other scheme, however written. */
function isHarmlessLink(value: string): boolean {
  const plain = value.replaceAll('&amp;', '');
  if (/[\u0000-\u0020\u007f-\u00a0]/.test(plain.trim()) || plain.includes('&')) return false;
  const scheme = /^\s*([^/?#]*?):/.exec(plain)?.[1]?.toLowerCase();
  return scheme === undefined || ['http', 'https', 'mailto', 'tel', 'urn'].includes(scheme) || /^\s*data:image\/(?:png|jpeg|gif);base64,[A-Za-z0-9+/=]*\s*$/i.test(plain);
}
