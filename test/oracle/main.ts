import { parseArgs } from 'node:util';
import { HttpClient } from '../../server/demo/http-client.ts';
import { startTestServer } from '../support/server.ts';
import { ask, load } from './check.ts';
import { Random } from './random.ts';
import { searchersOf } from './searchers.ts';

/*
 * npm run oracle -- [--queries N] [--seed N] [--scale X]
 * Many generated searches over several generated worlds, each compared with the in-memory oracle.
 */
const { values } = parseArgs({ options: { queries: { type: 'string', default: '50000' }, seed: { type: 'string', default: String(Date.now() % 1_000_000) }, scale: { type: 'string', default: '1' } } });
const queriesPerWorld = 4_000;
const queries = Number(values.queries);
let seed = Number(values.seed);
let isRight = true;

for (let asked = 0; asked < queries && isRight; asked += queriesPerWorld, seed++) {
  const server = await startTestServer();
  const http = new HttpClient({ ca: server.ca, maxSockets: 8 });
  try {
    // Tokens of backend services last five minutes: a world is done before.
    const searchers = await searchersOf(server, http);
    const world = await load(searchers[0].caller, new Random(seed), Number(values.scale));
    const count = Math.min(queriesPerWorld, queries - asked);
    const { differences, found } = await ask(searchers, world, { seed, count, parallel: 8, onProgress: (done) => process.stdout.isTTY && process.stdout.write(`\r${asked + done} of ${queries} searches`) });
    process.stdout.write(`${process.stdout.isTTY ? '\r' : ''}seed ${seed}: ${count} searches over ${world.length} resources, ${found} found something, ${differences.length} differ\n`);
    for (const { url, detail } of differences) process.stdout.write(`  ${url}\n    ${detail}\n`);
    isRight = differences.length === 0;
  } finally {
    http.close();
    await server.stop();
  }
}
process.exitCode = isRight ? 0 : 1;
