import { normalizeString, type Resource } from '../../resources/search-values/index.ts';

/** Words of a text as they are compared: normalised runs of letters, marks and digits. */
export function wordsIn(text: string): string[] {
  return normalizeString(text).match(/[\p{L}\p{N}]+/gu) ?? [];
}

/** True if some text of a resource has these words one after the other. Words of two elements do not form a phrase. */
export function hasPhrase(resource: Resource, scope: 'narrative' | 'content', words: readonly string[]): boolean {
  let found = false;
  eachText(resource, scope, (text) => {
    if (!found) found = holds(wordsIn(text), words);
  });
  return found;
}

function holds(text: readonly string[], words: readonly string[]): boolean {
  return text.some((_, at) => words.every((word, offset) => text[at + offset] === word));
}

/** What the server puts into `meta`. */
const managed: ReadonlySet<string> = new Set(['versionId', 'lastUpdated']);

/**
 * Calls back for the texts of a resource: its narrative (`_text`), or all its values (`_content`), contained resources
 * included and attached data left out (https://hl7.org/fhir/R4/search.html#content), as are version and time, which nobody
 * wrote.
 */
export function eachText(resource: Resource, scope: 'narrative' | 'content', visit: (text: string) => void): void {
  if (scope === 'narrative') {
    const { div } = (resource['text'] ?? {}) as { readonly div?: unknown };
    if (typeof div === 'string') visit(textOfXhtml(div));
    return;
  }
  const walk = (node: unknown, name: string): void => {
    if (node === resource['meta'] && typeof node === 'object' && node !== null) {
      for (const [key, value] of Object.entries(node)) if (!managed.has(key)) walk(value, key);
    } else if (typeof node === 'string') {
      if (name !== 'data') visit(name === 'div' ? textOfXhtml(node) : node);
    } else if (typeof node === 'number') visit(String(node));
    else if (Array.isArray(node)) for (const item of node) walk(item, name);
    else if (typeof node === 'object' && node !== null) for (const [key, value] of Object.entries(node)) walk(value, key);
  };
  walk(resource, '');
}

const entities: Readonly<Record<string, string>> = { amp: '&', lt: '<', gt: '>', quot: '"', apos: "'", nbsp: ' ' };

/** The text of XHTML: no tags, entities decoded. Elements of a line do not part words; others do. */
function textOfXhtml(xhtml: string): string {
  return xhtml
    .replace(/<!--[^]*?-->/g, '')
    .replace(/<\/?(?:a|abbr|acronym|b|big|cite|code|dfn|em|i|q|small|span|strong|sub|sup|tt)\b[^>]*>/gi, '')
    .replace(/<[^>]*>/g, ' ')
    .replace(/&(?:#x([0-9a-f]{1,6})|#([0-9]{1,7})|([a-z]{1,8}));/gi, (whole, hex: string | undefined, decimal: string | undefined, name: string | undefined) => {
      if (name !== undefined) return entities[name] ?? whole;
      const point = hex === undefined ? Number(decimal) : Number.parseInt(hex, 16);
      return point <= 0x10ffff ? String.fromCodePoint(point) : whole;
    });
}
