import { expect, test } from '@jest/globals';
import { breakAuditStore } from './audit-store.ts';

test('an audit store that is stopped, full, too slow or failing over: 503, no byte of a record, nothing lost, and back without a restart', async () => {
  const { faults, early, lost, asRecorded, auditIntact } = await breakAuditStore(3_000);
  for (const [name, { during, acks, disclosed }] of Object.entries(faults)) {
    expect({ name, statuses: Object.keys(during), acks: Object.keys(acks).filter((code) => code !== 'AE'), disclosed }).toEqual({ name, statuses: ['503'], acks: [], disclosed: 0 });
  }
  expect(Object.keys(faults)).toHaveLength(4);
  expect({ early, lost, asRecorded, auditIntact }).toEqual({ early: 0, lost: [], asRecorded: true, auditIntact: true });
}, 240_000);
