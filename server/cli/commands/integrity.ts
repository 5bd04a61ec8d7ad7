import type { Command } from '../command.ts';

/** Proof that the database holds what was written to it. */
export const integrityCommands: readonly Command[] = [
  {
    name: 'integrity verify',
    summary: 'compare every stored version with the audit trail; exit code 2 if any was altered, swapped, rolled back, removed or put in',
    run: async ({ integrityChecks }, _input, tell) => {
      const outcome = await integrityChecks.run({ tell });
      const { ok, trail, recorded, documents, files, findings, found, complete, purged, durationMs } = outcome;
      const rows = findings.map(({ kind, type, id, versionId, document, text }) => [kind, type === undefined ? '' : `${type}/${id}`, versionId === undefined ? '' : String(versionId), text, document]);
      return {
        ...(found === 0 ? {} : { table: { columns: ['finding', 'resource', 'version', 'what', 'document'], rows } }),
        lines: [
          `${ok ? 'as recorded' : 'NOT AS RECORDED'}: ${documents} stored versions and ${files} files compared with ${recorded} writes on record, in ${Math.round(durationMs / 1000)} s`,
          ...(found > findings.length ? [`${found - findings.length} more findings are not listed`] : []),
          ...(purged === 0 ? [] : [`of ${purged} versions only the seals could be checked: their entries were purged after their time`]),
          ...(complete ? [] : ['given up: too much does not fit']),
          trail.ok ? `the trail is unaltered${trail.log.last === undefined ? '' : `, anchored up to checkpoint ${trail.log.last.n} of ${trail.log.last.at}`}` : 'THE TRAIL ITSELF WAS ALTERED: interlock audit verify tells where. What is missing in it cannot be missed in the database.',
        ],
        json: { ...outcome, trail: { ok: trail.ok, checkpoint: trail.log.last?.n, entries: trail.sealed.entries } },
        failed: !ok,
      };
    },
  },
];
