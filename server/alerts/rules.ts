import type { AuditRecord } from '../audit/record.ts';

export const severities = ['low', 'medium', 'high', 'critical'] as const;
export type Severity = (typeof severities)[number];

/** What kind of thing happened, in the words of the reader: groups rules. */
export type AlertKind = 'sign-in' | 'snooping' | 'break-glass' | 'denials' | 'export' | 'trail' | 'delivery';

/** Which records a rule looks at. All that is given must hold. */
export interface When {
  readonly kinds: readonly AuditRecord['kind'][];
  readonly interactions?: readonly string[];
  /** Beginnings of the names of commands. */
  readonly commands?: readonly string[];
  readonly outcome?: 'ok' | 'refused';
  readonly actors?: readonly AuditRecord['actor']['kind'][];
  /** Roles that are left out. */
  readonly exceptRoles?: readonly string[];
  /** Only outside the working hours. */
  readonly offHours?: true;
  /** Records that disclose at most so many patients: a look, not a list. */
  readonly maxPatients?: number;
  readonly recovered?: true;
}

/**
 * What is counted within the window: `events` (a record that stands for several counts as them), or different `patients`;
 * `new-device`, `new-network`, `same-surname` and `self` are comparisons, and one is enough.
 */
export type Measure = 'events' | 'patients' | 'new-device' | 'new-network' | 'same-surname' | 'self';

/** Whom an alert is about, and so what is counted apart: the person or application (for strangers the address), the address, the access in question, or all. */
export type Subject = 'actor' | 'address' | 'request' | 'all';

export interface Rule {
  readonly id: string;
  readonly kind: AlertKind;
  readonly severity: Severity;
  /** What it means, in one line for people. */
  readonly title: string;
  /** Absent: raised by the server itself, not by records. */
  readonly when?: When;
  readonly per: Subject;
  readonly measure: Measure;
  /** How many, within `windowS`, make an alert. */
  readonly threshold: number;
  /** At most an hour: that much is read again after a restart. */
  readonly windowS: number;
  /** One alert per subject in this time; more of the same counts on it. */
  readonly quietS: number;
}

const hourS = 3600;
const dayS = 24 * hourS;
const count = { measure: 'events', threshold: 1, windowS: hourS, quietS: hourS } as const;
const people = { actors: ['user'] } as const;

/** The rules that Interlock ships. */
export const shippedRules: readonly Rule[] = [
  { id: 'failed-sign-ins', kind: 'sign-in', severity: 'medium', title: 'Failed sign-ins of one person', when: { kinds: ['login'], interactions: ['login', 'sign-on'], outcome: 'refused', ...people }, per: 'actor', ...count, threshold: 5, windowS: 900 },
  { id: 'failed-sign-ins-address', kind: 'sign-in', severity: 'medium', title: 'Failed sign-ins from one address', when: { kinds: ['login'], interactions: ['login', 'sign-on'], outcome: 'refused', actors: ['user', 'anonymous'] }, per: 'address', ...count, threshold: 5, windowS: 900 },
  { id: 'failed-client-sign-ins', kind: 'sign-in', severity: 'medium', title: 'Applications refused at the token endpoint, from one address', when: { kinds: ['token'], outcome: 'refused', actors: ['anonymous', 'client'] }, per: 'address', ...count, threshold: 10, windowS: 900 },
  { id: 'account-locked', kind: 'sign-in', severity: 'medium', title: 'An account was locked', when: { kinds: ['login'], interactions: ['account-locked'] }, per: 'actor', ...count },
  { id: 'new-device', kind: 'sign-in', severity: 'low', title: 'Sign-in from a device that this person has not used', when: { kinds: ['login'], interactions: ['login', 'sign-on'], outcome: 'ok', ...people }, per: 'actor', ...count, measure: 'new-device' },
  { id: 'new-network', kind: 'sign-in', severity: 'medium', title: 'Sign-in from a country or network that this person has not used', when: { kinds: ['login'], interactions: ['login', 'sign-on'], outcome: 'ok', ...people }, per: 'actor', ...count, measure: 'new-network' },
  { id: 'many-patients', kind: 'snooping', severity: 'high', title: 'Many patients seen by one person within an hour', when: { kinds: ['rest'], outcome: 'ok', exceptRoles: ['patient'], ...people }, per: 'actor', ...count, measure: 'patients', threshold: 100 },
  { id: 'off-hours-bulk', kind: 'snooping', severity: 'high', title: 'Many patients seen by one person outside working hours', when: { kinds: ['rest'], outcome: 'ok', exceptRoles: ['patient'], offHours: true, ...people }, per: 'actor', ...count, measure: 'patients', threshold: 50 },
  { id: 'same-surname', kind: 'snooping', severity: 'low', title: 'A look at a patient with the same family name', when: { kinds: ['rest'], outcome: 'ok', exceptRoles: ['patient'], maxPatients: 5, ...people }, per: 'actor', ...count, measure: 'same-surname', quietS: dayS },
  { id: 'self-lookup', kind: 'snooping', severity: 'medium', title: 'A look at what seems to be the own record', when: { kinds: ['rest'], outcome: 'ok', exceptRoles: ['patient'], maxPatients: 5, ...people }, per: 'actor', ...count, measure: 'self', quietS: dayS },
  { id: 'break-glass', kind: 'break-glass', severity: 'high', title: 'The glass was broken: a review is due', when: { kinds: ['rest'], interactions: ['break-glass-begin'], outcome: 'ok' }, per: 'request', ...count },
  { id: 'denied-burst', kind: 'denials', severity: 'medium', title: 'Many accesses refused', when: { kinds: ['rest', 'channel'], outcome: 'refused' }, per: 'actor', ...count, threshold: 20, windowS: 300 },
  { id: 'export', kind: 'export', severity: 'medium', title: 'Data was exported', when: { kinds: ['rest', 'command'], interactions: ['export'], outcome: 'ok' }, per: 'request', ...count },
  { id: 'export-command', kind: 'export', severity: 'medium', title: 'Data was exported from the command line', when: { kinds: ['command'], interactions: ['command'], commands: ['audit export', 'audit disclosures', 'audit accounting', 'breach report', 'backup create'], outcome: 'ok' }, per: 'request', ...count },
  { id: 'audit-gap', kind: 'trail', severity: 'high', title: 'Audit entries of a crashed process were recovered', when: { kinds: ['rest', 'login', 'logout', 'token', 'channel', 'command', 'key', 'server'], recovered: true }, per: 'all', ...count },
  { id: 'audit-unavailable', kind: 'trail', severity: 'critical', title: 'The audit trail cannot be written: requests are refused', per: 'all', ...count },
  { id: 'verification-failed', kind: 'trail', severity: 'critical', title: 'Stored data or the audit trail was altered', per: 'request', ...count, quietS: dayS },
  { id: 'breach-overdue', kind: 'trail', severity: 'critical', title: 'A notice of the breach register is overdue', per: 'request', ...count, quietS: dayS },
  { id: 'delivery-failed', kind: 'delivery', severity: 'high', title: 'Something could not be delivered', per: 'request', ...count, quietS: dayS },
];

/** When people usually work, in the zone of the configuration. */
export interface WorkingHours {
  /** `HH:MM`. */
  readonly from: string;
  readonly to: string;
  /** 1 is Monday, 7 Sunday. */
  readonly days: readonly number[];
}

export const shippedHours: WorkingHours = { from: '07:00', to: '19:00', days: [1, 2, 3, 4, 5] };
