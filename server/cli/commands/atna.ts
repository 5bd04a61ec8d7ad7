import type { Command } from '../command.ts';

/** Audit repositories of others. */
export const atnaCommands: readonly Command[] = [
  {
    name: 'atna status',
    summary: 'what audit repositories do not have yet',
    run: async ({ atna }) => {
      const all = await atna.status();
      const rows = all.map(({ repository, blocks, oldestAt, failures }) => [repository, String(blocks), oldestAt?.toISOString().slice(0, 19).replace('T', ' ') ?? '', String(failures)]);
      return { table: { columns: ['repository', 'blocks waiting', 'oldest (UTC)', 'failed attempts'], rows }, json: all };
    },
  },
];
