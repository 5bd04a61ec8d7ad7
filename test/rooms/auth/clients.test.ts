import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { generateKeyPairSync } from 'node:crypto';
import type { NewClient } from '../../../server/auth/clients.ts';
import { clientKey, startAuth, type TestAuth } from './support.ts';

let server: TestAuth;

beforeAll(async () => {
  server = await startAuth();
});
afterAll(() => server.close());

const jwkOf = (pair: { publicKey: { export(options: { format: 'jwk' }): object } }): object => ({ keys: [pair.publicKey.export({ format: 'jwk' })] });

describe('registration', () => {
  test.each([
    [{ name: '', type: 'public', redirectUris: ['https://a.example/'], scope: 'patient/Patient.rs' }, 'name'],
    [{ name: 'A\u202eB', type: 'public', redirectUris: ['https://a.example/'], scope: 'patient/Patient.rs' }, 'visible'],
    [{ name: 'A', type: 'public', redirectUris: ['https://a.example/'], scope: 'patient/Nonsense.rs' }, 'scope'],
    [{ name: 'A', type: 'public', redirectUris: ['https://a.example/'], scope: '' }, 'scopes'],
    [{ name: 'A', type: 'public', redirectUris: ['https://a.example/'], scope: 'system/Patient.rs' }, 'public client'],
    [{ name: 'A', type: 'public', scope: 'patient/Patient.rs' }, 'redirect'],
    [{ name: 'A', type: 'public', redirectUris: ['http://a.example/'], scope: 'patient/Patient.rs' }, 'redirect'],
    [{ name: 'A', type: 'public', redirectUris: ['https://a.example/#x'], scope: 'patient/Patient.rs' }, 'redirect'],
    [{ name: 'A', type: 'public', redirectUris: ['https://user@a.example/'], scope: 'patient/Patient.rs' }, 'redirect'],
    [{ name: 'A', type: 'public', redirectUris: ['javascript:alert(1)'], scope: 'patient/Patient.rs' }, 'redirect'],
    [{ name: 'A', type: 'public', redirectUris: ['nonsense'], scope: 'patient/Patient.rs' }, 'redirect'],
    [{ name: 'A', type: 'jwks', scope: 'system/Patient.rs' }, 'key set'],
    [{ name: 'A', type: 'jwks', scope: 'system/Patient.rs', jwksUri: 'http://a.example/jwks' }, 'https'],
    [{ name: 'A', type: 'jwks', scope: 'system/Patient.rs', jwks: { keys: [] } }, 'key set'],
    [{ name: 'A', type: 'jwks', scope: 'system/Patient.rs', jwks: { keys: [{ kty: 'oct', k: 'c2VjcmV0' }] } }, 'key set'],
    [{ name: 'A', type: 'jwks', scope: 'system/Patient.rs', jwks: jwkOf(generateKeyPairSync('rsa', { modulusLength: 1024 })) }, '2048'],
    [{ name: 'A', type: 'jwks', scope: 'system/Patient.rs', jwks: jwkOf(generateKeyPairSync('ec', { namedCurve: 'P-256' })) }, 'P-384'],
    [{ name: 'A', type: 'jwks', scope: 'system/Patient.rs', jwks: { keys: [generateKeyPairSync('ec', { namedCurve: 'P-384' }).privateKey.export({ format: 'jwk' })] } }, 'public keys'],
  ] as const)('refuses %j', async (input, reason) => {
    await expect(server.auth.clients.addClient(input)).rejects.toThrow(reason);
  });

  test('every type that is accepted becomes a client that the provider accepts', async () => {
    const { jwks } = await clientKey();
    const accepted: NewClient[] = [
      { name: 'Web', type: 'public', redirectUris: ['https://a.example/cb', 'http://localhost:3000/cb'], scope: 'patient/*.rs' },
      { name: 'Phone', type: 'public', redirectUris: ['org.example.app:/cb'], scope: 'patient/*.rs' },
      { name: 'Server', type: 'confidential-secret', redirectUris: ['https://a.example/cb'], scope: 'openid user/*.rs system/*.rs' },
      { name: 'Keys', type: 'jwks', redirectUris: ['https://a.example/cb'], scope: 'openid user/*.rs', jwks },
      { name: 'Published keys', type: 'jwks', scope: 'system/*.cruds', jwksUri: 'https://a.example/jwks.json' },
    ];
    for (const input of accepted) {
      const [uri] = input.redirectUris ?? [];
      const { clientId } = await server.auth.clients.addClient(input);
      const response = await server.browser().request(`${server.issuer}/authorize?client_id=${clientId}&response_type=code&redirect_uri=${encodeURIComponent(uri ?? 'https://a.example')}`);
      // Registered well: what is refused is the request, by redirect, where there is somewhere to redirect to.
      expect([input.name, response.status]).toEqual([input.name, uri === undefined ? 400 : 303]);
    }
  });
});
