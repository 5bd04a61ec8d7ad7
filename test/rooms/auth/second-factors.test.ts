import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { addPerson, Browser, allow, authorizationUrl, launch, patientScopes, post, signIn, startAuth, type TestAuth, type TestPerson } from './support.ts';

let server: TestAuth;
let app: string;

beforeAll(async () => {
  server = await startAuth({ maxFailuresPerMinute: 10_000 });
  ({ clientId: app } = await server.auth.clients.addClient({ name: 'Growth Chart', type: 'public', redirectUris: ['https://app.example/callback'], scope: `${patientScopes} online_access` }));
});
afterAll(() => server.close());

const nextStep = (): void => {
  server.clock.offsetMs += 30_000;
};
/** Opens the security page, signing in first. */
async function account(person: TestPerson): Promise<{ browser: Browser; text: string }> {
  const browser = server.browser();
  const shown = await signIn(browser, `${server.issuer}/account`, person);
  return { browser, text: await shown.response.text() };
}
async function act(browser: Browser, text: string, fields: Record<string, string>): Promise<{ status: number; text: string }> {
  const { fields: hidden } = Browser.form(text);
  const { response } = await browser.follow(`${server.issuer}/account`, { form: new URLSearchParams({ csrf: hidden.get('csrf')!, ...fields }) });
  return { status: response.status, text: await response.text() };
}

describe('recovery codes', () => {
  test('ten, each good once in place of the authenticator app, also at the same moment', async () => {
    const person = await addPerson(server);
    const codes = await server.auth.people.factors.makeRecoveryCodes(person.id);
    expect(new Set(codes).size).toBe(10);
    const uses = await Promise.all(Array.from({ length: 4 }, () => server.auth.people.signIn(person.username, person.password, codes[0]!)));
    expect(uses.filter(({ failure }) => failure === undefined)).toHaveLength(1);
    expect((await server.auth.people.signIn(person.username, person.password, codes[0]!)).failure).toBe('code');
    expect((await server.auth.people.signIn(person.username, person.password, codes[1]!.toLowerCase().replace('-', ' '))).failure).toBeUndefined();
    expect((await server.auth.people.security(person.id))!.recoveryCodesLeft).toBe(8);
  });

  test('of twenty uses of one at once, one wins', async () => {
    const person = await addPerson(server);
    const { factors } = server.auth.people;
    const [code] = await factors.makeRecoveryCodes(person.id);
    const { Accounts } = await import('../../../server/auth/accounts.ts');
    const stored = (await new Accounts(server.mongo.app, server.keyring).get(person.id))!;
    const won = await Promise.all(Array.from({ length: 20 }, () => factors.prove(person.id, stored, code!, false)));
    expect(won.filter((amr) => amr !== undefined)).toEqual([['otp', 'mfa']]);
    expect((await server.auth.people.security(person.id))!.recoveryCodesLeft).toBe(9);
  });

  test('those of somebody else and earlier ones do not count', async () => {
    const [one, other] = [await addPerson(server), await addPerson(server)];
    const [code] = await server.auth.people.factors.makeRecoveryCodes(one.id);
    expect((await server.auth.people.signIn(other.username, other.password, code!)).failure).toBe('code');
    await server.auth.people.factors.makeRecoveryCodes(one.id);
    expect((await server.auth.people.signIn(one.username, one.password, code!)).failure).toBe('code');
  });
});

describe('the first sign-in', () => {
  test('chooses password and second factor, and gets recovery codes, before any app gets anything', async () => {
    const { password } = await server.auth.people.addUser({ username: 'first.day', role: 'patient', patientId: 'pat-9', setUpLater: true });
    const browser = server.browser();
    const { url } = await authorizationUrl(server, app);
    const person = { id: '', username: 'first.day', password: password!, code: () => '' };
    let shown = await signIn(browser, url, person);
    let text = await shown.response.text();
    expect(text).toContain('Set up your second factor');
    // There is no way past this page.
    expect(await (await browser.request(shown.url)).text()).toContain('Set up your second factor');
    const secret = /class="secret">([A-Z2-7 ]+)</.exec(text)![1]!.replaceAll(' ', '');
    const { TOTP, Secret } = await import('otpauth');
    const code = new TOTP({ secret: Secret.fromBase32(secret) }).generate({ timestamp: Date.now() + server.clock.offsetMs });
    const submit = async (fields: Record<string, string>): Promise<string> => {
      const { action, fields: hidden } = Browser.form(text);
      for (const [name, value] of Object.entries(fields)) hidden.set(name, value);
      shown = await browser.follow(new URL(action, shown.url), { form: hidden });
      return shown.response.clone().text();
    };
    text = await submit({ code: '000000' });
    expect(text).toContain('did not match');
    text = await submit({ code });
    expect(text.match(/<li><code>[A-Z2-9]{5}-[A-Z2-9]{5}<\/code>/g)).toHaveLength(10);
    text = await submit({});
    expect(text).toContain('Choose a new password');
    for (const bad of ['Short-1x', 'Password1234!', 'First.Day-2026-xy']) expect(await submit({ current: password!, next: bad, again: bad })).toContain('role="alert"');
    text = await submit({ current: password!, next: 'Correct-Horse-7-Staple', again: 'Correct-Horse-7-Staple' });
    expect(text).toContain('Before you go on');
    text = await submit({});
    expect(text).toContain('Growth Chart');
    expect((await allow(browser, { response: new Response(text), url: shown.url })).searchParams.get('code')).toEqual(expect.any(String));
    const [actor] = (await server.auth.people.list()).filter(({ username }) => username === 'first.day');
    expect((await server.records()).filter(({ actor: { id } }) => id === actor!.id).map(({ interaction }) => interaction)).toEqual(expect.arrayContaining(['login-first-factor', 'second-factor-set-up', 'login', 'password-changed']));
  });

  test('a second person with the same first password cannot replace what was set up', async () => {
    const { id, password } = await server.auth.people.addUser({ username: 'two.hands', role: 'nurse', setUpLater: true });
    expect(await server.auth.people.signIn('two.hands', password!, '')).toMatchObject({ amr: ['pwd'] });
    const { TOTP, Secret } = await import('otpauth');
    const secret = new Secret({ size: 20 });
    const code = new TOTP({ secret }).generate({ timestamp: Date.now() + server.clock.offsetMs });
    await server.auth.people.factors.setTotp(id, secret.base32, code, true);
    await expect(server.auth.people.factors.setTotp(id, secret.base32, code, true)).rejects.toMatchObject({ code: 'credentials-invalid' });
    expect((await server.auth.people.signIn('two.hands', password!, '')).failure).toBe('code');
  });
});

describe('lock and notices', () => {
  test('twenty wrong passwords at once count five times, lock, and are told at the next sign-in', async () => {
    const person = await addPerson(server);
    const answers = await Promise.all(Array.from({ length: 20 }, () => server.auth.people.signIn(person.username, 'Wrong-Horse-7-Staple', '000000')));
    expect(answers.filter(({ failure }) => failure === 'password')).toHaveLength(5);
    expect(answers.filter((answer) => answer.failure !== undefined && answer.locks === true)).toHaveLength(1);
    await server.auth.people.unlock(person.username);
    const { url } = await authorizationUrl(server, app);
    const text = await (await signIn(server.browser(), url, person)).response.text();
    expect(text).toContain('locked after five failed sign-ins');
  });

  test('locking is recorded', async () => {
    const person = await addPerson(server);
    const { url } = await authorizationUrl(server, app);
    for (let i = 0; i < 5; i += 1) await signIn(server.browser(), url, { ...person, password: 'Wrong-Horse-7-Staple' });
    expect((await server.records()).filter(({ actor, interaction }) => actor.id === person.id && interaction === 'account-locked')).toHaveLength(1);
  });
});

describe('changes from outside', () => {
  test('a row that is edited or put back is noticed', async () => {
    const person = await addPerson(server);
    const rows = server.mongo.app.collection<{ _id: string; rev: number; body: Buffer }>('people');
    const before = (await rows.findOne({ _id: person.id }))!;
    await server.auth.people.disable(person.username);
    const after = (await rows.findOne({ _id: person.id }))!;
    await rows.replaceOne({ _id: person.id }, before);
    await expect(server.auth.people.get(person.id)).rejects.toMatchObject({ code: 'integrity-failure' });
    await rows.replaceOne({ _id: person.id }, { ...after, body: before.body });
    await expect(server.auth.people.get(person.id)).rejects.toMatchObject({ code: 'integrity-failure' });
    await rows.replaceOne({ _id: person.id }, { ...after, rev: after.rev + 1 });
    await expect(server.auth.people.get(person.id)).rejects.toMatchObject({ code: 'integrity-failure' });
    await rows.replaceOne({ _id: person.id }, after);
    expect((await server.auth.people.get(person.id))!.disabled).toBe(true);
  });
});

describe('the security page', () => {
  test('changing the password ends other sessions and all tokens, and keeps this session', async () => {
    const person = await addPerson(server);
    const { tokens } = await launch(server, app, person);
    nextStep();
    const other = await account(person);
    nextStep();
    const { browser, text } = await account(person);
    expect(text).toContain('Another session');
    const wrong = await act(browser, text, { step: 'password', current: 'Wrong-Horse-7-Staple', next: 'Better-Horse-8-Staple', again: 'Better-Horse-8-Staple' });
    expect([wrong.status, wrong.text.includes('did not match')]).toEqual([422, true]);
    const common = await act(browser, text, { step: 'password', current: person.password, next: 'Password1234!', again: 'Password1234!' });
    expect(common.text).toContain('common password');
    const done = await act(browser, text, { step: 'password', current: person.password, next: 'Better-Horse-8-Staple', again: 'Better-Horse-8-Staple' });
    expect([done.status, done.text.includes('Security settings'), done.text.includes('Another session')]).toEqual([200, true, false]);
    expect((await other.browser.request(`${server.issuer}/account`)).status).toBe(303);
    await expect(server.auth.authenticateBearer(String(tokens.body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
    expect((await post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: app })).body['error']).toBe('invalid_grant');
    nextStep();
    expect((await server.auth.people.signIn(person.username, person.password, person.code())).failure).toBe('password');
    expect((await server.auth.people.signIn(person.username, 'Better-Horse-8-Staple', person.code())).failure).toBeUndefined();
  });

  test('ending a session ends the tokens that were granted in it without offline_access, at once', async () => {
    const person = await addPerson(server);
    const scope = 'openid launch/patient online_access patient/Observation.rs';
    const { tokens } = await launch(server, app, person, { scope });
    expect(tokens.body['refresh_token']).toEqual(expect.any(String));
    nextStep();
    const { browser, text } = await account(person);
    await act(browser, text, { step: 'session-end', id: 'others' });
    await expect(server.auth.authenticateBearer(String(tokens.body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
    expect((await post(server, 'token', { grant_type: 'refresh_token', refresh_token: String(tokens.body['refresh_token']), client_id: app })).body['error']).toBe('invalid_grant');
  });

  test('recovery codes are shown once; the last second factor stays; a form from elsewhere is refused', async () => {
    const person = await addPerson(server);
    const { browser, text } = await account(person);
    expect((await act(browser, text, { step: 'codes' })).text.match(/<li><code>/g)).toHaveLength(10);
    expect((await act(browser, text, { step: 'codes', csrf: 'x' })).status).toBe(403);
    expect((await act(browser, text, { step: 'toString' })).status).toBe(403);
    expect((await act(server.browser(), text, { step: 'codes' })).status).toBe(403);
    expect((await browser.request(`${server.issuer}/apps`, { form: new URLSearchParams({ csrf: 'x', client: 'c' }) })).status).toBe(403);
    const refused = (await server.records()).filter(({ actor, outcome }) => actor.id === person.id && outcome === '4');
    expect(refused.map(({ interaction, error }) => `${interaction} ${error!}`).sort()).toEqual(['account-form forbidden', 'account-form forbidden', 'revoke-access forbidden']);
  });
});

test('a password that IT reset has to be changed; what was open has ended', async () => {
  const person = await addPerson(server);
  const { tokens } = await launch(server, app, person);
  const { password } = await server.auth.people.resetPassword(person.username);
  await expect(server.auth.authenticateBearer(String(tokens.body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
  nextStep();
  const { url } = await authorizationUrl(server, app);
  expect(await (await signIn(server.browser(), url, { ...person, password: password! })).response.text()).toContain('Choose a new password');
});

test('activity of apps does not keep a session alive', async () => {
  const idle = await startAuth({ lifetimes: { idleS: 2 } });
  try {
    const { clientId } = await idle.auth.clients.addClient({ name: 'Growth Chart', type: 'public', redirectUris: ['https://app.example/callback'], scope: `${patientScopes} online_access` });
    const person = await addPerson(idle);
    const { tokens } = await launch(idle, clientId, person, { scope: 'openid launch/patient online_access patient/Observation.rs' });
    let refresh = String(tokens.body['refresh_token']);
    let ended: unknown;
    for (let i = 0; i < 8 && ended === undefined; i += 1) {
      await new Promise((resolve) => setTimeout(resolve, 500));
      const { body } = await post(idle, 'token', { grant_type: 'refresh_token', refresh_token: refresh, client_id: clientId });
      ended = body['error'];
      if (typeof body['refresh_token'] === 'string') refresh = body['refresh_token'];
    }
    expect(ended).toBe('invalid_grant');
    await expect(idle.auth.authenticateBearer(String(tokens.body['access_token']))).rejects.toMatchObject({ code: 'token-invalid' });
  } finally {
    await idle.close();
  }
});
