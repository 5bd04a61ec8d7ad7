import type { AuditRecord } from '../audit/record.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AccessContext } from './context.ts';

/** What the audit says of an access before its outcome is known. */
export interface AccessFacts {
  readonly interaction: string;
  readonly action: AuditRecord['action'];
  readonly type?: string;
  readonly id?: string;
  readonly versionId?: number;
  readonly query?: string;
}

/** The audit's record of an access: who, what, and how it failed if it did. */
export function recordOf(facts: AccessFacts, { context, at, channel }: { readonly context: AccessContext; readonly at: number; readonly channel?: AuditRecord['channel'] }, error?: unknown): AuditRecord {
  const failure =
    error === undefined
      ? { outcome: '0' as const }
      : error instanceof InterlockError
        ? { outcome: error.status >= 500 ? ('8' as const) : ('4' as const), error: error.code, ...(error.options.rule === undefined ? {} : { rule: error.options.rule }) }
        : { outcome: '8' as const, error: 'internal' as const };
  const target = facts.type !== undefined && facts.id !== undefined ? { entities: [{ type: facts.type, id: facts.id, ...(facts.versionId === undefined ? {} : { versionId: facts.versionId }) }] } : {};
  return {
    at,
    kind: 'rest',
    interaction: facts.interaction,
    action: facts.action,
    requestId: context.requestId,
    actor: context.actor,
    purposeOfUse: context.purposeOfUse,
    ...failure,
    ...target,
    ...(facts.query === undefined ? {} : { query: facts.query }),
    ...(channel === undefined ? {} : { channel }),
  };
}
