import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { Secret, TOTP } from 'otpauth';
import type { CommandRun, CommandServices } from '../../../server/cli/command.ts';
import { userCommands } from '../../../server/cli/commands/users.ts';
import { addPerson, startAuth, type TestAuth, type TestPerson } from './support.ts';

let server: TestAuth;

beforeAll(async () => {
  server = await startAuth();
});
afterAll(() => server.close());

const attempt = (person: TestPerson, changes: { password?: string; code?: string } = {}) => server.auth.people.signIn(person.username, changes.password ?? person.password, changes.code ?? person.code());
const nextStep = (): void => {
  server.clock.offsetMs += 30_000;
};

describe('signing in', () => {
  test('password and code together; a code counts once, also in parallel and for the neighbouring step', async () => {
    const person = await addPerson(server);
    const code = person.code();
    const answers = await Promise.all(Array.from({ length: 4 }, () => attempt(person, { code })));
    expect(answers.map(({ failure }) => failure).sort()).toEqual(['code', 'code', 'code', undefined]);
    expect((await attempt(person, { code })).failure).toBe('code');
    nextStep();
    expect((await attempt(person, { code: person.code(-1) })).failure).toBe('code');
    expect((await attempt(person)).failure).toBeUndefined();
  });

  test('codes two steps away are refused', async () => {
    const person = await addPerson(server);
    expect((await attempt(person, { code: person.code(2) })).failure).toBe('code');
    expect((await attempt(person, { code: person.code(-2) })).failure).toBe('code');
    expect((await attempt(person, { code: '' })).failure).toBe('code');
  });

  test('the fifth failure locks, whatever comes then, until an operator unlocks', async () => {
    const person = await addPerson(server);
    for (let i = 0; i < 5; i += 1) expect((await attempt(person, { password: 'Wrong-Horse-7-Staple' })).failure).toBe('password');
    expect((await attempt(person)).failure).toBe('locked');
    expect((await server.auth.people.get(person.id))!.locked).toBe(true);
    await server.auth.people.unlock(person.username);
    expect((await attempt(person)).failure).toBeUndefined();
  });

  test('parallel guesses get no further than sequential ones', async () => {
    const person = await addPerson(server);
    const answers = await Promise.all(Array.from({ length: 20 }, () => attempt(person, { code: '000000' })));
    expect(answers.filter(({ failure }) => failure === 'code')).toHaveLength(5);
    expect(answers.filter(({ failure }) => failure === 'locked')).toHaveLength(15);
  });

  test('success forgets earlier failures', async () => {
    const person = await addPerson(server);
    for (let round = 0; round < 2; round += 1) {
      for (let i = 0; i < 4; i += 1) await attempt(person, { password: 'x' });
      expect((await attempt(person)).failure).toBeUndefined();
      nextStep();
    }
  });

  test('an unknown name takes as long as a wrong password', async () => {
    const person = await addPerson(server);
    const time = async (work: () => Promise<unknown>): Promise<number> => {
      const startedAt = performance.now();
      await work();
      return performance.now() - startedAt;
    };
    const known = await time(() => attempt(person, { password: 'x' }));
    const unknown = await time(() => server.auth.people.signIn('nobody', 'x', '000000'));
    expect(unknown).toBeGreaterThanOrEqual(295);
    expect(known).toBeGreaterThanOrEqual(295);
  });

  test('disabled', async () => {
    const person = await addPerson(server);
    await server.auth.people.disable(person.username);
    expect((await attempt(person)).failure).toBe('disabled');
  });

  test('names are compared without case and Unicode form', async () => {
    const person = await addPerson(server);
    expect((await server.auth.people.signIn(` ${person.username.toUpperCase()} `, person.password, person.code())).failure).toBeUndefined();
  });
});

describe('the register', () => {
  test('what is missing is made, and the otpauth URL works', async () => {
    const made = await server.auth.people.addUser({ username: 'new.nurse', role: 'nurse' });
    expect(made).toMatchObject({ id: expect.stringMatching(/^user-[0-9a-f]{24}$/), password: expect.stringMatching(/^.{20}$/) });
    const url = new URL(made.otpauthUrl!);
    expect(url.protocol).toBe('otpauth:');
    const totp = new TOTP({ secret: Secret.fromBase32(url.searchParams.get('secret')!) });
    const timestamp = Date.now() + server.clock.offsetMs;
    expect((await server.auth.people.signIn('new.nurse', made.password!, totp.generate({ timestamp }))).failure).toBeUndefined();
  });

  test.each([
    [{ username: 'a', role: 'nurse' }, 'user name'],
    [{ username: 'semi;colon', role: 'nurse' }, 'user name'],
    [{ username: 'someone', role: 'wizard' }, 'Roles are'],
    [{ username: 'someone', role: 'constructor' }, 'Roles are'],
    [{ username: 'someone', role: 'patient' }, 'Patient'],
    [{ username: 'someone', role: 'nurse', patientId: 'p' }, 'Patient'],
    [{ username: 'someone', role: 'patient', patientId: 'a/b' }, 'logical id'],
    [{ username: 'someone', role: 'nurse', password: 'short' }, 'characters'],
    [{ username: 'someone', role: 'nurse', totpSecret: 'ABC' }, 'TOTP'],
  ])('refuses %j', async (input, reason) => {
    await expect(server.auth.people.addUser(input)).rejects.toThrow(reason);
  });

  test('a name is taken once, also at the same moment', async () => {
    const results = await Promise.allSettled(Array.from({ length: 5 }, () => server.auth.people.addUser({ username: 'One.Only', role: 'nurse' })));
    expect(results.filter(({ status }) => status === 'fulfilled')).toHaveLength(1);
    await expect(server.auth.people.addUser({ username: 'one.only', role: 'nurse' })).rejects.toThrow('taken');
  });

  test('a new second factor voids the old one', async () => {
    const person = await addPerson(server);
    const { otpauthUrl } = await server.auth.people.resetMfa(person.username);
    expect((await attempt(person)).failure).toBe('code');
    const totp = new TOTP({ secret: Secret.fromBase32(new URL(otpauthUrl!).searchParams.get('secret')!) });
    expect((await attempt(person, { code: totp.generate({ timestamp: Date.now() + server.clock.offsetMs }) })).failure).toBeUndefined();
  });

  test('nothing readable is stored', async () => {
    await server.auth.people.addUser({ username: 'visible.name', role: 'patient', patientId: 'visible-record' });
    await server.auth.clients.addClient({ name: 'Visible App', type: 'public', redirectUris: ['https://visible.example/cb'], scope: 'patient/Patient.rs' });
    const stored: string[] = [];
    for (const name of ['people', 'clients', 'oauth']) for await (const row of server.mongo.app.collection(name).find({}, { promoteBuffers: true })) stored.push(JSON.stringify(row, (_key, value: unknown) => (value !== null && typeof value === 'object' && 'data' in value ? Buffer.from(value.data as number[]).toString('latin1') : value)));
    expect(stored.length).toBeGreaterThan(2);
    expect(stored.join('\n')).not.toMatch(/visible|patient|RS256/i);
    expect((await server.auth.people.list()).map(({ username }) => username)).toContain('visible.name');
    expect((await server.auth.clients.list()).map(({ name }) => name)).toContain('Visible App');
  });

  test('unknown names', async () => {
    const { people } = server.auth;
    for (const work of [() => people.disable('nobody'), () => people.unlock('nobody'), () => people.resetMfa('nobody')]) await expect(work()).rejects.toMatchObject({ code: 'not-found' });
  });
});

test('the command that gives a role says who the person is and for whom they act; what is not named is taken away', async () => {
  const role = userCommands.find(({ name }) => name === 'user role')!;
  const { username, id } = await addPerson(server);
  const silent: CommandRun = { tell: () => undefined, record: async () => undefined, send: async () => undefined };
  const give = async (options: Readonly<Record<string, string | readonly string[]>>) => {
    await role.run({ people: server.auth.people } as CommandServices, { operator: 'operator:somebody', args: [username, 'patient'], options, files: {} }, silent.tell, silent);
    return server.auth.people.get(id);
  };
  expect(await give({ relatedPerson: 'r-1', proxyFor: ['p-1', 'p-2'] })).toMatchObject({ role: 'patient', fhirUser: 'RelatedPerson/r-1', proxyFor: ['p-1', 'p-2'] });
  expect(await give({ patient: 'p-3' })).not.toHaveProperty('proxyFor');
  await expect(give({ relatedPerson: 'r-1' })).rejects.toMatchObject({ code: 'business-rule' });
});
