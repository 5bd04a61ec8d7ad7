import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';

/** How long an organisation keeps its audit trail, and where. */
export interface RetentionPolicy {
  /** Entries are removed no earlier; six years unless told otherwise. */
  readonly retentionDays: number;
  /** Entries leave the database for segment files after so many days. */
  readonly archiveAfterDays: number;
  /** On what ground: stands in each tombstone, which others read. */
  readonly basis: string;
}

/** 45 CFR 164.316(b)(2)(i): six years. */
export const defaultBasis = '45 CFR 164.316(b)(2)(i)';

const days = (max: number): z.ZodNumber => z.int().min(1).max(max);
const fileSchema = z.record(z.string().regex(/^[a-z0-9-]{1,64}$/), z.strictObject({ retentionDays: days(36_525).optional(), archiveAfterDays: days(36_525).optional(), basis: z.string().min(1).max(200).optional() }));

/**
 * The policy of one organisation: what the file says of it, else what the options say.
 * @throws InterlockError `config-invalid` if the file is not right, or entries would be removed before they are archived
 */
export function policyOf(tenant: string, options: { readonly auditRetentionDays: number; readonly auditArchiveAfterDays: number; readonly auditRetentionFile?: string | undefined }): RetentionPolicy {
  const own = options.auditRetentionFile === undefined ? {} : (readPolicies(options.auditRetentionFile)[tenant] ?? {});
  const policy = { retentionDays: own.retentionDays ?? options.auditRetentionDays, archiveAfterDays: own.archiveAfterDays ?? options.auditArchiveAfterDays, basis: own.basis ?? defaultBasis };
  if (policy.retentionDays < policy.archiveAfterDays) throw new InterlockError('config-invalid', { detail: 'Audit entries would be purged before they are archived: retention is shorter than the time to archiving.' });
  return policy;
}

function readPolicies(file: string): z.infer<typeof fileSchema> {
  try {
    return fileSchema.parse(JSON.parse(readFileSync(file, 'utf8')));
  } catch (cause) {
    throw new InterlockError('config-invalid', { detail: 'The file of INTERLOCK_AUDIT_RETENTION_FILE cannot be read, or is not of the form that docs/operating/retention.md shows.', cause });
  }
}
