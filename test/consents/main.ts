import { parseArgs } from 'node:util';
import setup from '../support/mongod-setup.ts';
import teardown from '../support/mongod-teardown.ts';
import { checkConsents } from './check.ts';

/*
 * npm run consents -- [--cases N] [--seed N]
 * Generated consents, each decision compared with an independent evaluator; a tenth of them in an installation that shares by opt-in.
 */
const { values } = parseArgs({ options: { cases: { type: 'string', default: '10000' }, seed: { type: 'string', default: '1' } } });
const [cases, seed] = [Number(values.cases), Number(values.seed)];
await setup();
try {
  for (const [otherwise, share] of [['permit', 0.9], ['deny', 0.1]] as const) {
    const found = await checkConsents({ cases: Math.ceil(cases * share), seed, otherwise });
    process.stdout.write(`default ${otherwise}, seed ${seed}: ${found.cases} cases, ${found.compared} answers compared, ${found.shown} resources shown, ${found.hidden} hidden, ${found.differences.length} differences\n`);
    for (const difference of found.differences) process.stdout.write(`  ${difference}\n`);
    if (found.differences.length > 0) process.exitCode = 1;
  }
} finally {
  await teardown();
}
