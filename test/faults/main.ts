import { parseArgs } from 'node:util';
import startMongod from '../support/mongod-setup.ts';
import stopMongod from '../support/mongod-teardown.ts';
import { startTestServer } from '../support/server.ts';
import { breakAuditStore } from './audit-store.ts';
import { huntCanaries } from './canaries.ts';
import { raceCreates } from './conditional-creates.ts';
import { killRounds } from './kill.ts';
import { standStill } from './outage.ts';
import { seeded } from './random.ts';
import { flipEveryByte, forgeProofs, soundTrail, tamper } from './tampering.ts';

/*
 * The long fault runs: `npm run faults -- canaries|kill|creates|outage|audit|tampering [--seed N] [--rounds N]`. The tests of the same name
 * run them in small. Each ends with 1 if what must not happen did.
 */

interface Outcome {
  readonly passed: boolean;
  readonly report: unknown;
}

interface Run {
  /** Canaries, kills, races, seconds of outage or of each fault of the audit store, or cases of tampering (and as many forged proofs, and 100 times as many bytes). */
  readonly rounds: number;
  readonly run: (rounds: number, seed: number) => Promise<Outcome>;
}

const runs: Readonly<Record<string, Run>> = {
  canaries: {
    rounds: 500,
    run: async (rounds, seed) => {
      const report = await huntCanaries(rounds, seed);
      const { hits, canaries, control } = report;
      const seen = control.inDocuments === canaries && Object.values(control.inLogs).every((count) => count === canaries) && control.inFiles === canaries;
      return { passed: hits.length === 0 && seen, report };
    },
  },
  kill: {
    rounds: 20,
    run: async (rounds, seed) => {
      const report = await killRounds(rounds, seed, console.log);
      const { lost, doubled, unaudited, phantoms, auditIntact, asRecorded, deadLetters } = report;
      return { passed: [lost, doubled, unaudited, phantoms].every(({ length }) => length === 0) && auditIntact && asRecorded && deadLetters === 0, report };
    },
  },
  creates: {
    rounds: 100,
    run: async (rounds) => {
      const server = await startTestServer();
      try {
        const results = await raceCreates(server, rounds);
        const wrong = results.filter(({ answered, stored }) => answered['201'] !== 1 || answered['200'] !== 7 || stored !== 1);
        return { passed: wrong.length === 0, report: { races: results.length, wrong } };
      } finally {
        await server.remove();
      }
    },
  },
  outage: {
    rounds: 60,
    run: async (rounds) => {
      const server = await startTestServer();
      try {
        const report = await standStill(server, rounds * 1000);
        const { during, disclosed, lost, auditIntact } = report;
        return { passed: Object.keys(during).every((status) => status === '503') && disclosed === 0 && lost.length === 0 && auditIntact, report };
      } finally {
        await server.remove();
      }
    },
  },
  audit: {
    rounds: 60,
    run: async (rounds) => {
      await startMongod();
      try {
        const report = await breakAuditStore(rounds * 1000, console.log);
        const sound = Object.values(report.faults).every(({ during, acks, disclosed }) => Object.keys(during).every((status) => status === '503') && Object.keys(acks).every((code) => code === 'AE') && disclosed === 0);
        return { passed: sound && report.early === 0 && report.lost.length === 0 && report.asRecorded && report.auditIntact, report };
      } finally {
        await stopMongod();
      }
    },
  },
  tampering: {
    rounds: 10_000,
    run: async (rounds, seed) => {
      await startMongod();
      try {
        const random = seeded(seed);
        const sound = await soundTrail(13);
        const tampering = tamper(sound, rounds, random);
        console.log(`${tampering.cases} cases of ${Object.keys(tampering.kinds).length} kinds: ${tampering.undetected.length} undetected, ${tampering.misplaced.length} located wrongly`);
        const proofs = forgeProofs(sound, rounds, random);
        console.log(`${proofs.cases} forged proofs: ${proofs.accepted.length} accepted`);
        const bytes = flipEveryByte(rounds < 10_000 ? sound : await soundTrail(120), rounds * 100, random);
        const passed = [tampering.undetected, tampering.misplaced, proofs.accepted, bytes.unnoticed].every(({ length }) => length === 0);
        return { passed, report: { tampering, proofs, bytes } };
      } finally {
        await stopMongod();
      }
    },
  },
};

const { values, positionals } = parseArgs({ allowPositionals: true, options: { seed: { type: 'string' }, rounds: { type: 'string' } } });
const chosen = runs[positionals[0] ?? ''];
if (chosen === undefined) {
  console.error(`npm run faults -- ${Object.keys(runs).join('|')} [--seed N] [--rounds N]`);
  process.exitCode = 2;
} else {
  const seed = Number(values.seed ?? Date.now() % 2 ** 32);
  console.log(`seed ${seed}`);
  const beganMs = performance.now();
  const { passed, report } = await chosen.run(Number(values.rounds ?? chosen.rounds), seed);
  console.log(JSON.stringify(report, null, 2));
  console.log(`${passed ? 'passed' : 'FAILED'} after ${((performance.now() - beganMs) / 1000).toFixed(0)} s, seed ${seed}`);
  process.exitCode = passed ? 0 : 1;
}
