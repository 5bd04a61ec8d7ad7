import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { isResourceType, resourceTypes } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import { hiddenTree } from './mask-tree.ts';
import type { Role, RoleRow } from './roles.ts';
import { shippedRoles } from './shipped-roles.ts';

/** Purposes of use that a role may name: general ones of the PurposeOfUse value set (https://terminology.hl7.org/ValueSet-v3-PurposeOfUse.html). */
export const purposesOfUse = [
  'CAREMGT', 'CLINTRCH', 'COVERAGE', 'ETREAT', 'HDIRECT', 'HLEGAL', 'HMARKT', 'HOPERAT', 'HOUTCOMS', 'HPAYMT', 'HPRGRP', 'HQUALIMP', 'HRESCH', 'HSYSADMIN', 'METAMGT', 'PATADMIN', 'PATRQT', 'PATSFTY',
  'PERFMSR', 'PUBHLTH', 'RECORDMGT', 'SYSDEV', 'TRAIN', 'TREAT',
] as const;

/** Shipped roles that others rely on to be what they are. */
const fixed: ReadonlySet<string> = new Set(['patient', 'auditor', ...Object.keys(shippedRoles).filter((name) => shippedRoles[name]!.administers === true)]);

const maxFileSizeBytes = 1_000_000;

const purposes = z.array(z.enum(purposesOfUse, 'a purpose of use such as TREAT')).min(1).max(purposesOfUse.length);
const rowSchema = z.strictObject({
  types: z.union([z.literal('*'), z.array(z.string().refine(isResourceType, 'not a resource type of R4')).min(1).max(200)], 'must be "*" or a list of resource types'),
  interactions: z.string().regex(/^c?r?u?d?s?$/, 'letters of cruds, in this order'),
  compartment: z.enum(['all', 'care', 'self']).optional(),
  masks: z.array(z.string().regex(/^[a-z][A-Za-z]*(?:\[x\])?(?:\.[a-z][A-Za-z]*(?:\[x\])?)*$/, 'an element such as telecom or contact.telecom')).max(100).optional(),
  purposes: purposes.optional(),
});
const roleSchema = z.strictObject({ summary: z.string().min(1).max(200), purposes, breaksGlass: z.boolean().optional(), rows: z.array(rowSchema).max(200) });
const fileSchema = z.strictObject({ roles: z.record(z.string().regex(/^[a-z][a-z0-9-]{1,40}$/, 'a role name of small letters, digits and -'), roleSchema) });

/**
 * Reads the roles of an installation from a JSON file: `{"roles": {"ward-nurse": {"summary": …, "purposes": ["TREAT"], "rows": […]}}}`.
 * @throws InterlockError `config-invalid` that names the file and every mistake by its place
 */
export function readRolesFile(path: string): Readonly<Record<string, Role>> {
  let json: unknown;
  try {
    const bytes = readFileSync(path);
    if (bytes.length > maxFileSizeBytes) throw new RangeError('it is too large');
    json = JSON.parse(bytes.toString());
  } catch (cause) {
    throw invalid([cause instanceof SyntaxError ? 'the file is no JSON' : cause instanceof RangeError ? cause.message : 'the file cannot be read']);
  }
  return rolesFrom(json);
}

/** The same from JSON. @throws InterlockError `config-invalid` */
export function rolesFrom(json: unknown): Readonly<Record<string, Role>> {
  const parsed = fileSchema.safeParse(json);
  if (!parsed.success) throw invalid(parsed.error.issues.map(({ path, message }) => `${placeOf(path)}: ${message}`));
  const roles: Record<string, Role> = {};
  const mistakes: string[] = [];
  for (const [name, { rows, ...role }] of Object.entries(parsed.data.roles)) {
    if (fixed.has(name)) mistakes.push(`roles.${name}: this role is Interlock's own and cannot be replaced`);
    roles[name] = { ...role, rows: rows.map((row) => Object.fromEntries(Object.entries(row).filter(([, value]) => value !== undefined)) as unknown as RoleRow) };
    mistakes.push(...mistakesOf(name, roles[name]));
  }
  if (mistakes.length > 0) throw invalid(mistakes);
  return roles;
}

function mistakesOf(name: string, { rows, purposes: allowed }: Role): string[] {
  const found: string[] = [];
  const audits = rows.some(({ types }) => types !== '*' && types.includes('AuditEvent'));
  for (const [index, { types, interactions, masks = [], purposes: own = [], compartment }] of rows.entries()) {
    const place = `roles.${name}.rows[${index}]`;
    if (types !== '*' && types.includes('AuditEvent') && (!/^r?s?$/.test(interactions) || compartment === 'care' || compartment === 'self' || masks.length > 0)) found.push(`${place}: the audit trail can be read and searched as a whole, and nothing else`);
    if (audits && interactions !== '' && (types === '*' || types.some((type) => type !== 'AuditEvent'))) found.push(`${place}: who reads the audit trail reads no patient data`);
    for (const purpose of own) if (!allowed.includes(purpose)) found.push(`${place}.purposes: ${purpose} is not among the role's purposes`);
    if (compartment === 'self' && /[d]/.test(interactions)) found.push(`${place}: nobody deletes from the own record`);
    for (const mask of masks) found.push(...maskMistakes(types === '*' ? resourceTypes() : types, mask, types === '*').map((text) => `${place}.masks: ${text}`));
  }
  return found;
}

/** For `*`, a mask is for the types that have the element. */
function maskMistakes(types: readonly string[], mask: string, isEvery: boolean): string[] {
  const failures = types.flatMap((type) => {
    try {
      hiddenTree(type, [mask]);
      return [];
    } catch (error) {
      return [(error as TypeError).message];
    }
  });
  return isEvery && failures.length > 0 ? ['masks need rows that name their types'] : failures;
}

function placeOf(path: readonly PropertyKey[]): string {
  return path.map((part, index) => (typeof part === 'number' ? `[${part}]` : `${index === 0 ? '' : '.'}${String(part)}`)).join('') || 'the file';
}

function invalid(mistakes: readonly string[]): InterlockError {
  const shown = mistakes.slice(0, 10);
  return new InterlockError('config-invalid', { detail: `INTERLOCK_ROLES_FILE: ${shown.join('; ')}${mistakes.length > shown.length ? `; and ${mistakes.length - shown.length} more` : ''}.` });
}
