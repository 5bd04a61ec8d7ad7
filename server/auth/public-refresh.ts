import { once } from 'node:events';
import type { IncomingMessage } from 'node:http';
import type Provider from 'oidc-provider';

/** Longer requests name their client, or are refused for naming none. */
const maxBytes = 8_192;

/**
 * Lets public clients refresh without their `client_id`, which neither RFC 6749, section 6, nor SMART App Launch
 * (https://hl7.org/fhir/smart-app-launch/STU2.2/app-launch.html#step-6-refresh-access-token) demands of them and npm's
 * fhirclient does not send: the refresh token tells whose it is. Clients that authenticate have to, as ever.
 */
export function letPublicClientsRefresh(provider: Provider): void {
  provider.use(async (ctx, next) => {
    const { req } = ctx;
    const length = Number(req.headers['content-length']);
    if (ctx.method === 'POST' && ctx.path === '/token' && req.headers.authorization === undefined && length > 0 && length <= maxBytes) await nameClient(provider, req, length);
    await next();
  });
}

async function nameClient(provider: Provider, req: IncomingMessage, length: number): Promise<void> {
  // The library reads the request itself: what is read here is put back before the stream can end.
  while (req.readableLength < length) await once(req, 'readable');
  const body = read(req);
  req.unshift(body);
  const form = new URLSearchParams(body.toString());
  const token = form.get('refresh_token');
  if (token === null || form.get('grant_type') !== 'refresh_token' || ['client_id', 'client_secret', 'client_assertion'].some((name) => form.has(name))) return;
  const clientId = (await provider.RefreshToken.find(token))?.clientId;
  const client = clientId === undefined ? undefined : await provider.Client.find(clientId);
  if (client?.clientAuthMethod !== 'none') return;
  const named = Buffer.concat([read(req), Buffer.from(`&${new URLSearchParams({ client_id: client.clientId }).toString()}`)]);
  req.unshift(named);
  req.headers['content-length'] = String(named.length);
}

const read = (request: IncomingMessage): Buffer => request.read() as Buffer;
