import type { TokenFacts } from '../../server/access/context.ts';
import { rolesFrom } from '../../server/access/roles-file.ts';
import { setCustomRoles } from '../../server/access/roles.ts';
import { Random } from '../oracle/random.ts';
import { attemptOf, kinds } from './attempts.ts';
import { loadOthers, ownLinks, ownResources, World, type Attempt, type Reply } from './worlds.ts';

/** An attempt that two worlds answer differently: something of other patients shows. */
export interface Leak {
  readonly caller: string;
  readonly kind: string;
  readonly attempt: Attempt;
  readonly answers: readonly [Reply, Reply];
}

/** What came of many attempts. */
export interface Outcome {
  readonly leaks: readonly Leak[];
  /** Attempts that were answered by 2xx. */
  readonly permitted: number;
  readonly byKind: ReadonlyMap<string, number>;
  /** Of 100 attempts by one who sees all patients, those that the worlds answer differently: what leaks would look like. */
  readonly control: number;
}

const token = (role: string, scope: string, more: { readonly fhirUser?: string; readonly patient?: string }): TokenFacts => ({
  clientId: 'app', scope, expiresAtMs: Number.MAX_SAFE_INTEGER,
  user: { id: `user-${role}`, username: role, role, ...(more.fhirUser === undefined ? {} : { fhirUser: more.fhirUser }) },
  ...(more.patient === undefined ? {} : { launch: { patient: more.patient } }),
});

/** Callers who are confined to one patient, each in another way. */
const callers: readonly (readonly [name: string, token: TokenFacts])[] = [
  ['the patient', token('patient', 'patient/*.cruds launch/patient', { fhirUser: 'Patient/me', patient: 'me' })],
  ['the patient with user scopes', token('patient', 'user/*.cruds', { fhirUser: 'Patient/me' })],
  ['a physician in the patient\'s context', token('physician', 'patient/*.cruds', { fhirUser: 'Practitioner/doc', patient: 'me' })],
  ['an app with two scopes', token('physician', 'patient/Observation.rs patient/Condition.cruds', { fhirUser: 'Practitioner/doc', patient: 'me' })],
  ['an app with a granular scope', token('physician', 'patient/Observation.rs?category=laboratory patient/Patient.r', { patient: 'me' })],
  ['a nurse of the patient\'s care team', token('attending', 'user/*.cruds', { fhirUser: 'Practitioner/carer' })],
];

/**
 * Asks two servers the same, which hold the same about one patient and different things about all others: whoever is confined
 * to the one patient must get the same answers, byte for byte but for ids that servers make and times.
 */
export async function attempt({ seed, count, onProgress }: { readonly seed: number; readonly count: number; readonly onProgress?: (done: number) => void }): Promise<Outcome> {
  setCustomRoles(rolesFrom({ roles: { attending: { summary: 'Cares for own patients', purposes: ['TREAT'], rows: [{ types: '*', interactions: 'cruds', compartment: 'care' }] } } }));
  const worlds = await Promise.all([World.open(), World.open()]);
  try {
    for (const [index, world] of worlds.entries()) {
      for (const resource of ownResources()) await world.load(resource);
      await world.load({ resourceType: 'Practitioner', id: 'carer', name: [{ family: 'Carer' }] });
      await world.load({ resourceType: 'CareTeam', id: 'own-team', status: 'active', subject: { reference: 'Patient/me' }, participant: [{ member: { reference: 'Practitioner/carer' } }] });
      await loadOthers(world, new Random(seed + 1 + index));
      for (const resource of ownLinks()) await world.load(resource);
    }
    const foreign = await Promise.all(worlds.map(async (world) => world.foreignLink()));
    const random = new Random(seed);
    const leaks: Leak[] = [];
    const byKind = new Map<string, number>();
    let permitted = 0;
    let next: (string | undefined)[] = [];
    let asker = random.pick(callers);
    for (let done = 0; done < count && leaks.length < 20; done += 1) {
      const kind = random.pick(kinds);
      const follows = kind === 'next page' && next.every((link) => link !== undefined);
      if (!follows) asker = random.pick(callers);
      const made = attemptOf(random, kind === 'next page' ? 'search' : kind);
      const links = follows ? next : kind === 'page of another' ? foreign : undefined;
      const asked = worlds.map((_, index): Attempt => (links === undefined ? made! : { method: 'GET', url: links[index]! }));
      const answers = (await Promise.all(worlds.map(async (world, index) => world.ask(asker[1], asked[index]!)))) as [Reply, Reply];
      byKind.set(kind, (byKind.get(kind) ?? 0) + 1);
      if (answers[0].status < 300) permitted += 1;
      next = answers.map((answer) => answer.next);
      if (answers[0].status !== answers[1].status || answers[0].text !== answers[1].text) leaks.push({ caller: asker[0], kind, attempt: asked[0]!, answers });
      if (done % 100 === 0) onProgress?.(done);
    }
    let control = 0;
    const unconfined = token('physician', 'user/*.rs', {});
    for (let done = 0; done < 100; done += 1) {
      const made = attemptOf(random, random.pick(['read', 'search', 'compartment', 'history']))!;
      const [one, other] = await Promise.all(worlds.map(async (world) => world.ask(unconfined, made)));
      if (one!.text !== other!.text) control += 1;
    }
    return { leaks, permitted, byKind, control };
  } finally {
    setCustomRoles({});
    await Promise.all(worlds.map(async (world) => world.close()));
  }
}
