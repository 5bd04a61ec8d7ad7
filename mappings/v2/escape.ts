/** The five delimiters that a message declares in MSH-1 and MSH-2. */
export interface Delimiters {
  readonly field: string;
  readonly component: string;
  readonly repetition: string;
  readonly escape: string;
  readonly subcomponent: string;
}

const utf8 = new TextDecoder('utf-8', { fatal: true });
const latin1 = new TextDecoder('windows-1252');

function fromHex(hex: string): string {
  const bytes = Uint8Array.from({ length: hex.length / 2 }, (_, i) => Number.parseInt(hex.slice(i * 2, i * 2 + 2), 16));
  try {
    return utf8.decode(bytes);
  } catch {
    return latin1.decode(bytes);
  }
}

/** @returns what one escape sequence stands for, or undefined when it is not a sequence of HL7 v2.5.1 section 2.7 */
function meaning(sequence: string, delimiters: Delimiters): string | undefined {
  switch (sequence) {
    case 'F': return delimiters.field;
    case 'S': return delimiters.component;
    case 'T': return delimiters.subcomponent;
    case 'R': return delimiters.repetition;
    case 'E': return delimiters.escape;
    case 'H':
    case 'N':
    case '.fi':
    case '.nf': return '';
    case '.br':
    case '.ce': return '\n';
    default:
  }
  if (/^X(?:[0-9A-Fa-f]{2})+$/.test(sequence)) return fromHex(sequence.slice(1));
  const layout = /^\.(sp|sk|in|ti)([+-]?\d{0,2})$/.exec(sequence);
  if (layout === null) return undefined;
  const times = Math.min(Math.max(Number(layout[2] === '' ? 1 : layout[2]), 0), 20);
  return layout[1] === 'sp' ? '\n'.repeat(Math.max(times, 1)) : layout[1] === 'sk' ? ' '.repeat(times) : '';
}

/**
 * Resolves escape sequences after splitting. What is no valid sequence stays exactly as it came, so that a path such as
 * `C:\Home\x` survives. Character set switches (`\C..\`, `\M..\`) and local ones (`\Z..\`) stay too: nobody here can tell
 * what they mean. Control characters that FHIR strings may not hold are dropped.
 */
export function unescape(text: string, delimiters: Delimiters): string {
  if (!text.includes(delimiters.escape)) return withoutControls(text);
  let result = '';
  let at = 0;
  while (at < text.length) {
    const start = text.indexOf(delimiters.escape, at);
    if (start < 0) break;
    result += text.slice(at, start);
    const end = text.indexOf(delimiters.escape, start + 1);
    // The longest sequence allowed is a hexadecimal one; anything longer is data, and looking further would cost quadratic time.
    const found = end < 0 || end - start > 2000 ? undefined : meaning(text.slice(start + 1, end), delimiters);
    if (found === undefined) {
      result += delimiters.escape;
      at = start + 1;
    } else {
      result += found;
      at = end + 1;
    }
  }
  return withoutControls(result + text.slice(at));
}

function withoutControls(text: string): string {
  return text.replace(/[\u0000-\u0008\u000b\u000c\u000e-\u001f]/g, '');
}
