/** Names of HL7 table 0211 (and what senders write instead), to labels of https://encoding.spec.whatwg.org/#names-and-labels. */
const labels: Readonly<Record<string, string>> = {
  'ASCII': 'windows-1252',
  'ISOIR6': 'windows-1252',
  '88591': 'windows-1252',
  'ISO88591': 'windows-1252',
  'LATIN1': 'windows-1252',
  'WINDOWS1252': 'windows-1252',
  'CP1252': 'windows-1252',
  '88592': 'iso-8859-2',
  '88593': 'iso-8859-3',
  '88594': 'iso-8859-4',
  '88595': 'iso-8859-5',
  '88596': 'iso-8859-6',
  '88597': 'iso-8859-7',
  '88598': 'iso-8859-8',
  '88599': 'windows-1254',
  '885915': 'iso-8859-15',
  'ISOIR14': 'shift_jis',
  'ISOIR13': 'shift_jis',
  'ISOIR87': 'iso-2022-jp',
  'ISOIR159': 'iso-2022-jp',
  'SHIFTJIS': 'shift_jis',
  'GB180302000': 'gb18030',
  'GB18030': 'gb18030',
  'KSX1001': 'euc-kr',
  'CNS116431992': 'big5',
  'BIG5': 'big5',
  'UNICODEUTF16': 'utf-16le',
  'UTF16': 'utf-16le',
};

const utf8 = new TextDecoder('utf-8', { fatal: true });

function labelOf(declared: string): string | undefined {
  const name = declared.toUpperCase().replace(/[^A-Z0-9]/g, '');
  return labels[name] ?? labels[name.replace(/^ISO(?=8859)/, '')];
}

function decodeWith(bytes: Uint8Array, label: string): string | undefined {
  try {
    return new TextDecoder(label, { fatal: true }).decode(bytes);
  } catch {
    return undefined;
  }
}

/** MSH-18 (or BHS/FHS have none) as declared, read from bytes that are at least a superset of ASCII. */
function declaredCharset(bytes: Uint8Array): string {
  const head = Buffer.from(bytes.buffer, bytes.byteOffset, Math.min(bytes.byteLength, 4096)).toString('latin1');
  const start = head.indexOf('MSH');
  if (start < 0) return '';
  const separator = head[start + 3] ?? '|';
  const line = head.slice(start).split(/[\r\n]/, 1)[0] ?? '';
  const field = line.split(separator)[17] ?? '';
  return field.split(line.split(separator)[1]?.[1] ?? '~', 1)[0]?.trim() ?? '';
}

/**
 * Bytes of a message as text. MSH-18 is often absent or wrong, so what the bytes show comes first: a byte order mark, then
 * valid UTF-8, then the declared set, then windows-1252, which decodes anything. Never throws.
 */
export function decodeText(bytes: Uint8Array): string {
  if (bytes[0] === 0xff && bytes[1] === 0xfe) return new TextDecoder('utf-16le').decode(bytes);
  if (bytes[0] === 0xfe && bytes[1] === 0xff) return new TextDecoder('utf-16be').decode(bytes);
  if (bytes[0] !== 0 && bytes[1] === 0) return new TextDecoder('utf-16le').decode(bytes);
  if (bytes[0] === 0 && bytes[1] !== 0) return new TextDecoder('utf-16be').decode(bytes);
  // ISO-2022 is seven bits wide and would pass for UTF-8; its escape bytes give it away.
  const stateful = bytes.includes(0x1b) && labelOf(declaredCharset(bytes)) === 'iso-2022-jp' ? decodeWith(bytes, 'iso-2022-jp') : undefined;
  if (stateful !== undefined) return stateful;
  try {
    return utf8.decode(bytes);
  } catch {
    const label = labelOf(declaredCharset(bytes));
    return (label === undefined ? undefined : decodeWith(bytes, label)) ?? new TextDecoder('windows-1252').decode(bytes);
  }
}
