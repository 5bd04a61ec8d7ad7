import { randomUUID } from 'node:crypto';
import { flag, text, type Command } from '../command.ts';

/** Accesses in an emergency, which somebody else has to review. */
export const breakGlassCommands: readonly Command[] = [
  {
    name: 'break-glass list',
    summary: 'list emergency accesses that nobody has reviewed yet',
    options: [{ flags: '--all', description: 'reviewed ones too' }],
    run: async ({ breakGlass }, input) => {
      const all = await breakGlass.list(!flag(input, 'all'));
      const rows = all.map(({ id, personName, person, patient, atMs, untilMs, reason, review }) => [id, personName ?? person, patient, new Date(atMs).toISOString(), new Date(untilMs).toISOString(), reason, review?.by ?? '']);
      return { table: { columns: ['id', 'person', 'patient', 'from', 'until', 'reason', 'reviewed by'], rows }, json: all };
    },
  },
  {
    name: 'break-glass review',
    summary: 'close the review of an emergency access; not by who broke the glass',
    args: ['<id>'],
    options: [{ flags: '--note <text>', description: 'what the review found', required: true }],
    run: async ({ breakGlass, people }, input) => {
      const { operator } = input;
      const name = operator.replace(/^operator:/, '');
      const persons = (await people.list()).flatMap(({ id, username }) => (username === name.normalize('NFKC').trim().toLowerCase() ? [id] : []));
      await breakGlass.review(input.args[0]!, { kind: 'operator', id: operator, display: name }, text(input, 'note')!, randomUUID(), persons);
      return { lines: ['The review is closed.'], json: { id: input.args[0] } };
    },
  },
];
