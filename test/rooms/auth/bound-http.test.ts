import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { expect, test } from '@jest/globals';
import { SignJWT } from 'jose';
import { randomUUID } from 'node:crypto';
import { HttpClient } from '../../../server/demo/http-client.ts';
import { backendKey } from '../../../server/demo/smart-client.ts';
import { startTestServer } from '../../support/server.ts';
import { dpopKey, proof } from './dpop-proof.ts';

test('the FHIR API takes a bound token with its proof alone, and says why not', async () => {
  const server = await startTestServer();
  const http = new HttpClient({ ca: server.ca });
  try {
    const [key, own] = [await backendKey(), await dpopKey()];
    const file = join(server.directory, 'jwks.json');
    writeFileSync(file, JSON.stringify(key.jwks));
    const { client_id: clientId } = await server.cliJson<{ client_id: string }>(['client', 'add', '--name', 'Bound', '--jwks', file, '--scope', 'system/*.rs', '--require-dpop']);
    const tokenUrl = `${server.baseUrl}/oauth2/token`;
    const assertion = await new SignJWT({ iss: clientId, sub: clientId, aud: tokenUrl, jti: randomUUID() }).setProtectedHeader({ alg: 'ES384', kid: key.kid }).setExpirationTime('4m').sign(key.privateKey);
    const body = new URLSearchParams({ grant_type: 'client_credentials', scope: 'system/Patient.rs', client_assertion_type: 'urn:ietf:params:oauth:client-assertion-type:jwt-bearer', client_assertion: assertion }).toString();
    const { access_token: token } = (await http.call(tokenUrl, { method: 'POST', headers: { 'content-type': 'application/x-www-form-urlencoded', dpop: await proof(own, 'POST', tokenUrl) }, body })).json() as { access_token: string };
    const url = `${server.fhirUrl}/Patient`;
    const get = (headers: Record<string, string>, query = '?_count=1') => http.call(`${url}${query}`, { headers });
    const good = await proof(own, 'GET', url, { token });
    expect((await get({ authorization: `DPoP ${token}`, dpop: good })).status).toBe(200);
    const replayed = await get({ authorization: `DPoP ${token}`, dpop: good });
    expect([replayed.status, replayed.headers['www-authenticate']]).toEqual([401, expect.stringContaining('DPoP error="invalid_dpop_proof"')]);
    const stolen = await get({ authorization: `Bearer ${token}` });
    expect([stolen.status, stolen.headers['www-authenticate']]).toEqual([401, expect.stringContaining('DPoP error="invalid_token"')]);
    expect((await get({ authorization: `DPoP ${token}`, dpop: await proof(own, 'GET', url, { token }) }, `?access_token=${token}`)).status).toBe(401);
  } finally {
    http.close();
    await server.stop();
  }
});
