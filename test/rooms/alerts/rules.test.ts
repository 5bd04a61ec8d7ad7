import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterAll, describe, expect, test } from '@jest/globals';
import { blockOf, readNetworksFile } from '../../../server/alerts/networks.ts';
import { shippedRules } from '../../../server/alerts/rules.ts';
import { readRulesFile, shippedRuleSet } from '../../../server/alerts/rules-file.ts';
import { DistinctWindow, EventWindow } from '../../../server/alerts/windows.ts';

const directory = mkdtempSync(join(tmpdir(), 'interlock-rules-'));
afterAll(() => rmSync(directory, { recursive: true }));
const fileOf = (content: unknown): string => {
  const file = join(directory, 'file');
  writeFileSync(file, typeof content === 'string' ? content : JSON.stringify(content));
  return file;
};

describe('rules', () => {
  test('have names of their own, and windows that a restart can read again', () => {
    expect(new Set(shippedRules.map(({ id }) => id)).size).toBe(shippedRules.length);
    expect(shippedRules.filter(({ windowS, quietS, threshold }) => windowS > 3600 || quietS < windowS || threshold < 1)).toEqual([]);
  });

  test('are changed by a file, the rest stays', () => {
    const { rules, hours } = readRulesFile(fileOf({ rules: { 'many-patients': { threshold: 7, severity: 'critical', exceptRoles: ['auditor'] }, 'new-device': { enabled: false } }, workingHours: { from: '22:00', to: '06:00', days: [6, 7] } }));
    expect(rules.find(({ id }) => id === 'many-patients')).toMatchObject({ threshold: 7, severity: 'critical', windowS: 3600, when: { exceptRoles: ['auditor'], actors: ['user'] } });
    expect(rules.map(({ id }) => id)).toEqual(shippedRules.map(({ id }) => id).filter((id) => id !== 'new-device'));
    expect(rules.find(({ id }) => id === 'export')).toEqual(shippedRules.find(({ id }) => id === 'export'));
    expect(hours).toEqual({ from: '22:00', to: '06:00', days: [6, 7] });
    expect(readRulesFile(fileOf({}))).toEqual(shippedRuleSet);
  });

  test.each([
    ['no JSON', '{', /readable JSON file/],
    ['a list', [], /the file/],
    ['an unknown rule', { rules: { 'many-patient': { threshold: 7 } } }, /rules\.many-patient: there is no such rule \(failed-sign-ins, /],
    ['a wrong threshold', { rules: { 'many-patients': { threshold: 0 } } }, /rules\.many-patients\.threshold/],
    ['a window that is too long', { rules: { 'many-patients': { windowS: 7200 } } }, /rules\.many-patients\.windowS/],
    ['a wrong severity', { rules: { 'many-patients': { severity: 'dire' } } }, /rules\.many-patients\.severity/],
    ['an unknown name', { rules: { 'many-patients': { limit: 7 } } }, /rules\.many-patients: unknown names/],
    ['a threshold where nothing is counted', { rules: { 'new-device': { threshold: 3 } } }, /rules\.new-device\.threshold: nothing is counted/],
    ['hours that are none', { workingHours: { from: '7', to: '19:00', days: [1] } }, /workingHours\.from: must be HH:MM/],
  ])('%s is refused, and the place named', (_name, content, message) => {
    expect(() => readRulesFile(fileOf(content))).toThrow(message);
    expect(() => readRulesFile(fileOf(content))).toThrow(expect.objectContaining({ code: 'config-invalid' }));
  });
});

describe('networks', () => {
  test.each([
    ['192.0.2.77', '192.0.0.0/16'], ['::ffff:192.0.2.77', '192.0.0.0/16'], ['2001:db8:1:2::3', '2001:db8::/32'], ['2001:0DB8::', '2001:db8::/32'], ['::1', '0:0::/32'], ['fe80::1%eth0', 'fe80:0::/32'], ['many', 'unknown'], ['', 'unknown'],
  ])('%s is in %s', (address, block) => {
    expect(blockOf(address)).toBe(block);
  });

  test('are named by country where a file tells', () => {
    const networkOf = readNetworksFile(fileOf('# blocks\n203.0.113.0/24,NZ\n"198.51.100.0/24","au"\r\n2001:db8:1::/48,DE\n203.0.112.0/25,FJ\n'));
    expect(['203.0.113.0', '203.0.113.255', '::ffff:203.0.113.9', '198.51.100.8', '2001:db8:1:ffff::1', '203.0.112.127'].map(networkOf)).toEqual(['country NZ', 'country NZ', 'country NZ', 'country AU', 'country DE', 'country FJ']);
    expect(['203.0.112.128', '203.0.114.0', '2001:db8:2::1', '0.0.0.1', 'many'].map(networkOf)).toEqual(['203.0.0.0/16', '203.0.0.0/16', '2001:db8::/32', '0.0.0.0/16', 'unknown']);
  });

  test.each(['203.0.113.0/33,NZ', '203.0.113.0,NZ', 'here/24,NZ', '203.0.113.0/24', '203.0.113.0/24,New Zealand'])('%j is refused', (line) => {
    expect(() => readNetworksFile(fileOf(`203.0.113.0/24,NZ\n${line}\n`))).toThrow(/line 2/);
  });
});

describe('windows', () => {
  test('events count while they are within the window, and only then', () => {
    const window = new EventWindow(3, 1_000);
    expect([0, 100, 999, 1_000, 1_099, 1_100, 3_000].map((atMs) => window.add('a', atMs, 1))).toEqual([undefined, undefined, 3, 4, 5, 6, undefined]);
    expect(window.add('b', 0, 2)).toBeUndefined();
    expect(window.add('b', 1, 40)).toBe(42);
  });

  test('different things count once each', () => {
    const window = new DistinctWindow(3, 1_000);
    expect(window.add('a', 0, ['x', 'x', 'y'])).toBeUndefined();
    expect(window.add('a', 1, ['x'])).toBeUndefined();
    expect(window.add('a', 2, ['z'])).toBe(3);
    expect(window.add('a', 3, ['z'])).toBeUndefined();
    expect(window.add('a', 4, ['u', 'v'])).toBe(5);
    expect(window.add('b', 4, ['z'])).toBeUndefined();
    expect(window.add('a', 2_000, ['x'])).toBeUndefined();
    expect(window.add('a', 2_001, Array.from({ length: 500 }, (_, index) => String(index)))).toBe(501);
  });
});
