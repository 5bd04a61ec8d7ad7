import { readFileSync } from 'node:fs';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import { severities, shippedHours, shippedRules, type Rule, type WorkingHours } from './rules.ts';

/** The rules in force, and when people usually work. */
export interface RuleSet {
  readonly rules: readonly Rule[];
  readonly hours: WorkingHours;
}

export const shippedRuleSet: RuleSet = { rules: shippedRules, hours: shippedHours };

const change = z.strictObject({
  enabled: z.boolean(),
  severity: z.enum(severities),
  threshold: z.int().min(1).max(10_000),
  windowS: z.int().min(1).max(3600),
  quietS: z.int().min(60).max(30 * 86_400),
  exceptRoles: z.array(z.string().min(1).max(64)).max(100),
}).partial();

const time = z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'must be HH:MM');

const fileSchema = z.strictObject({
  rules: z.record(z.string(), change).default({}),
  workingHours: z.strictObject({ from: time, to: time, days: z.array(z.int().min(1).max(7)).max(7) }).optional(),
});

/**
 * The shipped rules as a file changes them: `{"rules": {"many-patients": {"threshold": 200}}, "workingHours": {…}}`.
 * @throws InterlockError `config-invalid` that names what is wrong, and where
 */
export function readRulesFile(path: string): RuleSet {
  let parsed: unknown;
  try {
    parsed = JSON.parse(readFileSync(path, 'utf8'));
  } catch (cause) {
    throw new InterlockError('config-invalid', { detail: 'INTERLOCK_ALERT_RULES_FILE must name a readable JSON file.', cause });
  }
  const result = fileSchema.safeParse(parsed);
  const problems = result.success
    ? Object.entries(result.data.rules).flatMap(([id, changed]) => problemsOf(id, changed))
    : result.error.issues.map(({ path: at, code, message }) => `${at.map((part) => (/^[\w-]{1,64}$/.test(String(part)) ? String(part) : '?')).join('.') || 'the file'}: ${code === 'unrecognized_keys' ? 'unknown names' : message}`);
  if (!result.success || problems.length > 0) throw new InterlockError('config-invalid', { detail: `INTERLOCK_ALERT_RULES_FILE: ${problems.slice(0, 10).join('; ')}.` });
  const { rules, workingHours } = result.data;
  return {
    hours: workingHours ?? shippedHours,
    rules: shippedRules.filter(({ id }) => rules[id]?.enabled !== false).map((rule): Rule => {
      const { enabled: _, exceptRoles, ...changed } = rules[rule.id] ?? {};
      const given = Object.fromEntries(Object.entries(changed).filter(([, value]) => value !== undefined));
      return { ...rule, ...given, ...(exceptRoles === undefined || rule.when === undefined ? {} : { when: { ...rule.when, exceptRoles } }) };
    }),
  };
}

function problemsOf(id: string, changed: z.output<typeof change>): string[] {
  const rule = shippedRules.find((one) => one.id === id);
  if (rule === undefined) return [`rules.${/^[\w-]{1,64}$/.test(id) ? id : '?'}: there is no such rule (${shippedRules.map((one) => one.id).join(', ')})`];
  const counts = rule.measure === 'events' || rule.measure === 'patients';
  return [
    ...(changed.threshold !== undefined && !(counts && rule.when !== undefined) ? [`rules.${id}.threshold: nothing is counted by this rule`] : []),
    ...(changed.exceptRoles !== undefined && rule.when === undefined ? [`rules.${id}.exceptRoles: this rule is not about people`] : []),
  ];
}
