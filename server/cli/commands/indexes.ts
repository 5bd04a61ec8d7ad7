import type { Command } from '../command.ts';

/** What can be searched by, and how far its indexing is. */
export const indexCommands: readonly Command[] = [
  {
    name: 'index status',
    summary: 'List posted search parameters, and how far indexing of what is stored is',
    run: async ({ store }) => {
      const found = await store.indexes.status();
      return {
        table: {
          columns: ['name', 'types', 'state', 'looked at', 'changed', 'failed', 'since'],
          rows: found.map(({ name, types, state, seen, changed, failed, since }) => [name, types.join(' '), state, String(seen), String(changed), String(failed), since?.toISOString() ?? '']),
        },
        json: found,
        failed: found.some(({ state }) => state === 'failed' || state === 'conflict'),
      };
    },
  },
];
