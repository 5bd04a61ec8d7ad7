import { formatSyslog, sendSyslog, type SyslogServer } from '../delivery/syslog.ts';
import type { Target } from '../delivery/queue.ts';
import type { Alert } from './register.ts';
import type { Rule, Severity } from './rules.ts';

/** What goes out about an alert: which rule, when, how often; nothing of a patient, and not who. */
export interface AlertNotice {
  readonly type: 'alert' | 'test';
  readonly id: string;
  readonly rule: string;
  readonly kind: string;
  readonly severity: Severity;
  readonly title: string;
  /** ISO 8601. */
  readonly at: string;
  readonly count: number;
  /** Where it can be looked into. */
  readonly url: string;
}

export function noticeOf({ id, rule, kind, severity, at, count }: Alert, rules: readonly Rule[], url: string): AlertNotice {
  return { type: 'alert', id, rule, kind, severity, title: rules.find((one) => one.id === rule)?.title ?? rule, at: at.toISOString(), count, url };
}

/** https://www.rfc-editor.org/rfc/rfc5424#section-6.2.1 */
const syslogSeverity: Readonly<Record<Severity, number>> = { low: 5, medium: 4, high: 3, critical: 2 };
const securityFacility = 10;

/** Sends alerts to a syslog server, one line each. */
export function syslogTarget(server: SyslogServer): Target {
  return {
    name: 'syslog',
    async send({ body }, signal) {
      const notice = JSON.parse(body) as AlertNotice;
      const { type, id, rule, kind, severity, title, at, count, url } = notice;
      const text = `${title}; ${Object.entries({ type, id, rule, kind, severity, count, url }).map(([name, value]) => `${name}=${value}`).join(' ')}`;
      await sendSyslog(server, [formatSyslog({ facility: securityFacility, severity: syslogSeverity[severity], atMs: Date.parse(at), msgId: 'ALERT', text })], signal);
    },
  };
}
