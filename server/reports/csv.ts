/** A cell: text, a number (written as it is), or nothing. */
export type CsvCell = string | number | undefined;

// What spreadsheets take for the beginning of a formula (https://owasp.org/www-community/attacks/CSV_Injection), full-width
// forms too; also behind white space, which some of them skip.
const formula = /^[\s\u0000-\u001f]*[=+\-@\uff1d\uff0b\uff0d\uff20]|^[\t\r\n]/;

/**
 * One row by RFC 4180 (https://www.rfc-editor.org/rfc/rfc4180#section-2), with its line end. Text that a spreadsheet would
 * run as a formula gets an apostrophe before it, which spreadsheets take for "this is text".
 */
export function csvRow(cells: readonly CsvCell[]): string {
  return `${cells.map(cellOf).join(',')}\r\n`;
}

function cellOf(cell: CsvCell): string {
  if (cell === undefined) return '';
  if (typeof cell === 'number') return String(cell);
  const text = formula.test(cell) ? `'${cell}` : cell;
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
}
