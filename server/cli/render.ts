import type { CommandResult } from './command.ts';

/** Widest a column gets before its text is cut; the full text is in `--json`. */
const maxColumnWidth = 48;

/** A table for people: columns aligned, a rule under the head, long cells cut. */
export function renderTable(columns: readonly string[], rows: readonly (readonly string[])[]): string {
  const cut = (text: string) => (text.length > maxColumnWidth ? `${text.slice(0, maxColumnWidth - 1)}…` : text);
  const cells = rows.map((row) => row.map((cell) => cut(oneLine(cell))));
  const widths = columns.map((column, index) => Math.max(column.length, ...cells.map((row) => row[index]?.length ?? 0)));
  const line = (row: readonly string[]) => row.map((cell, index) => (index === row.length - 1 ? cell : cell.padEnd(widths[index] ?? 0))).join('  ').trimEnd();
  return [line(columns), widths.map((width) => '─'.repeat(width)).join('  '), ...cells.map(line)].join('\n');
}

/** A result as text. */
export function renderResult(result: CommandResult): string {
  const parts: string[] = [];
  if (result.table !== undefined) parts.push(result.table.rows.length === 0 ? '(none)' : renderTable(result.table.columns, result.table.rows));
  if (result.lines !== undefined && result.lines.length > 0) parts.push(result.lines.join('\n'));
  return parts.join('\n\n');
}

/** Text that cannot move the cursor or break the table, whatever a record holds. */
function oneLine(text: string): string {
  return text.replaceAll(/[\u0000-\u001f\u007f-\u009f]+/g, ' ');
}
