import { InterlockError } from '../../../resources/outcome/error.ts';
import { explain, storyOf } from '../../access/explain.ts';
import { roleNames, roleOf, type RoleRow } from '../../access/roles.ts';
import { queryRecords } from '../../audit/query.ts';
import type { Command } from '../command.ts';

/** Entries that one request may have and that are explained. */
const maxExplained = 200;

/** Roles, and why somebody was refused. */
export const roleCommands: readonly Command[] = [
  {
    name: 'role list',
    summary: 'the roles that people can have: shipped ones and those of INTERLOCK_ROLES_FILE',
    run: async () => {
      const roles = roleNames().map((name) => ({ name, ...roleOf(name)! }));
      return Promise.resolve({ table: { columns: ['role', 'purposes of use', 'what for'], rows: roles.map(({ name, purposes, summary }) => [name, purposes.join(' '), summary]) }, json: roles });
    },
  },
  {
    name: 'role show',
    summary: 'what a role may do, row by row: the first that names a type decides',
    args: ['<name>'],
    run: async (_services, { args }) => {
      const name = args[0]!;
      const role = roleOf(name);
      if (role === undefined) throw new InterlockError('not-found', { detail: `There is no such role. Roles are: ${roleNames().join(', ')}.` });
      return Promise.resolve({ table: { columns: ['types', 'interactions', 'patients', 'hidden elements', 'purposes'], rows: role.rows.map((row) => rowOf(row, role.purposes)) }, lines: [role.summary], json: { name, ...role } });
    },
  },
  {
    name: 'audit explain',
    summary: 'why a request was refused: who, what, when, which rule, and what would permit it',
    args: ['<request-id>'],
    run: async ({ auditReader }, { args }) => {
      const found = [];
      for await (const { record } of queryRecords(auditReader, { requestId: args[0]!, ascending: true, limit: maxExplained })) found.push(record);
      if (found.length === 0) throw new InterlockError('not-found', { detail: 'The trail has no entry of this request id. It is in the X-Request-Id header of the answer.' });
      // What was refused is what is asked about; the rest of the request is around it.
      const refused = found.filter(({ outcome }) => outcome !== '0');
      const explained = (refused.length > 0 ? refused : found).map((record) => explain(record));
      return { lines: explained.flatMap((one, index) => [...(index === 0 ? [] : ['']), ...storyOf(one)]), json: { requestId: args[0]!, entries: found.length, explanations: explained } };
    },
  },
];

const whose = { all: 'all', care: 'in own care', self: 'self' } as const;

function rowOf({ types, interactions, compartment = 'all', masks = [], purposes }: RoleRow, all: readonly string[]): string[] {
  return [types === '*' ? 'every other' : types.join(' '), interactions === '' ? 'none' : interactions, whose[compartment], masks.join(' '), (purposes ?? all).join(' ')];
}
