import { openMongoose } from '../../../server/mongo/connect.ts';
import { observation, patient, startProcess } from './support.ts';

/*
 * A server process that writes, and never appends the audit entries of what it wrote: as if it was killed between the two.
 * It says when it is done and waits to be killed. Arguments: URIs of app and audit database, keys directory, lease (ms).
 */
const [appUri, auditUri, keysDir, leaseMs] = process.argv.slice(2) as [string, string, string, string];
const [app, audit] = await Promise.all([openMongoose(appUri), openMongoose(auditUri)]);
const on = await startProcess({ app, audit }, keysDir, { leaseMs: Number(leaseMs) });
await on.put(patient(), 'audited', 0);
await on.store.write(on.store.prepare(patient(), 'lost'), on.auditOf, { ifMatch: 0 });
await on.store.write(on.store.prepare(patient({ gender: 'male' }), 'lost'), on.auditOf);
await on.store.remove('Patient', 'lost', on.auditOf);
await on.store.transaction((tx) => tx.createMany(Array.from({ length: 20 }, (_, index) => on.store.prepare(observation('lost'), `lost-${index}`)), on.auditOf));
process.stdout.write('written\n');
setInterval(() => undefined, 1_000);
