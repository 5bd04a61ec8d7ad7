import { parseArgs } from 'node:util';
import startMongod from '../support/mongod-setup.ts';
import stopMongod from '../support/mongod-teardown.ts';
import { attempt } from './run.ts';

/*
 * npm run attempts -- [--attempts N] [--seed N]
 * Many generated attempts to learn of other patients, over several pairs of worlds.
 */
const { values } = parseArgs({ options: { attempts: { type: 'string', default: '100000' }, seed: { type: 'string', default: String(Date.now() % 1_000_000) } } });
const attemptsPerWorlds = 5_000;
const attempts = Number(values.attempts);
let seed = Number(values.seed);
let isTight = true;

await startMongod();
try {
  for (let done = 0; done < attempts && isTight; done += attemptsPerWorlds, seed += 10) {
    const count = Math.min(attemptsPerWorlds, attempts - done);
    const { leaks, permitted, control } = await attempt({ seed, count, onProgress: (now) => process.stdout.isTTY && process.stdout.write(`\r${done + now} of ${attempts} attempts`) });
    process.stdout.write(`${process.stdout.isTTY ? '\r' : ''}seed ${seed}: ${count} attempts, ${permitted} permitted, ${leaks.length} leaks; of 100 by one who sees all, ${control} differ\n`);
    for (const { caller, kind, attempt: asked, answers } of leaks) process.stdout.write(`  ${caller}, ${kind}: ${JSON.stringify(asked)}\n    ${answers[0].status}: ${answers[0].text.slice(0, 2_000)}\n    ${answers[1].status}: ${answers[1].text.slice(0, 2_000)}\n`);
    isTight = leaks.length === 0;
  }
} finally {
  await stopMongod();
}
process.exitCode = isTight ? 0 : 1;
