import { randomUUID } from 'node:crypto';
import type { Alert } from '../../alerts/register.ts';
import { flag, text, type Command } from '../command.ts';

/** Alerts: what somebody has to look into. */
export const alertCommands: readonly Command[] = [
  {
    name: 'alerts list',
    summary: 'list alerts that nobody has acknowledged, newest first',
    options: [{ flags: '--all', description: 'acknowledged ones too' }],
    run: async ({ alerts }, input) => {
      const all = await alerts.register.list(!flag(input, 'all'));
      const rows = all.map(({ id, severity, rule, count, at, about, acknowledged }) => [id, severity, rule, String(count), time(at), about.who?.display ?? about.who?.id ?? '', about.address ?? '', acknowledged?.by ?? '']);
      return { table: { columns: ['id', 'severity', 'rule', 'count', 'since (UTC)', 'who', 'address', 'acknowledged by'], rows }, json: all };
    },
  },
  {
    name: 'alerts show',
    summary: 'everything about one alert',
    args: ['<id>'],
    run: async ({ alerts }, input) => {
      const alert = await alerts.register.read(input.args[0]!);
      return { table: { columns: ['', ''], rows: factsOf(alert, alerts.ruleSet.rules.find(({ id }) => id === alert.rule)?.title) }, json: alert };
    },
  },
  {
    name: 'alerts ack',
    summary: 'close an alert with a note on what came of it',
    args: ['<id>'],
    options: [{ flags: '--note <text>', description: 'what was found', required: true }],
    run: async ({ alerts }, input) => {
      const { args, operator } = input;
      await alerts.register.acknowledge(args[0]!, { kind: 'operator', id: operator, display: operator.replace(/^operator:/, '') }, text(input, 'note')!, randomUUID());
      return { lines: ['The alert is acknowledged.'], json: { id: args[0] } };
    },
  },
  {
    name: 'alerts rules',
    summary: 'list the rules in force',
    run: async ({ alerts }) => {
      const rows = alerts.ruleSet.rules.map(({ id, severity, threshold, windowS, quietS, measure, when, title }) => [id, severity, when === undefined || !['events', 'patients'].includes(measure) ? '' : `${threshold} in ${windowS} s`, `${quietS} s`, title]);
      return { table: { columns: ['rule', 'severity', 'threshold', 'once per', 'meaning'], rows }, json: alerts.ruleSet };
    },
  },
  {
    name: 'alerts test',
    summary: 'send a test notice to each target, and say what waits for them',
    run: async ({ alerts }) => {
      const results = await alerts.test();
      const waiting = await alerts.deliveries();
      const rows = results.map(({ target, error }) => {
        const queue = waiting.find((one) => one.target === target);
        return [target, error ?? 'ok', String(queue?.waiting ?? 0), queue?.oldestAt === undefined ? '' : time(queue.oldestAt)];
      });
      const lines = rows.length === 0 ? ['No target is configured: alerts are shown by `alerts list` and on the page only.'] : [];
      return { table: { columns: ['target', 'test', 'waiting', 'oldest (UTC)'], rows }, lines, json: { results, waiting }, failed: results.some(({ error }) => error !== undefined) };
    },
  },
];

function factsOf({ id, rule, severity, count, at, last, state, about, acknowledged }: Alert, title: string | undefined): string[][] {
  const { who } = about;
  return [
    ['id', id], ['rule', rule], ['meaning', title ?? ''], ['severity', severity], ['state', state], ['count', String(count)], ['since (UTC)', time(at)], ['latest (UTC)', time(last)],
    ['who', who === undefined ? '' : [who.kind, who.display ?? who.id, who.role].filter((part) => part !== undefined).join(' ')], ['address', about.address ?? ''], ['about', about.what ?? ''], ['AuditEvent', about.auditEvent ?? ''],
    ['acknowledged', acknowledged === undefined ? '' : `${acknowledged.by}, ${time(acknowledged.at)}`], ['note', acknowledged?.note ?? ''],
  ].filter(([, value]) => value !== '');
}

function time(date: Date): string {
  return date.toISOString().slice(0, 19).replace('T', ' ');
}
