import { X509Certificate } from 'node:crypto';
import { InterlockError } from '../../../resources/outcome/error.ts';
import type { ClientInfo, ClientType } from '../../auth/clients.ts';
import { flag, text, texts, type Command, type CommandInput } from '../command.ts';

/** Registered OAuth clients. */
export const clientCommands: readonly Command[] = [
  {
    name: 'client add',
    summary: 'register an application; prints its client_id, and its secret once',
    options: [
      { flags: '--name <name>', description: 'shown to people on the consent page', required: true },
      { flags: '--scope <scopes>', description: 'what may be granted, such as "launch/patient patient/*.rs"', required: true },
      { flags: '--redirect-uri <uri>', description: 'compared exactly; may be given several times', repeats: true },
      { flags: '--grant-type <grant>', description: 'authorization_code, refresh_token, client_credentials; may be given several times; by default what redirect URIs and scopes call for', repeats: true },
      { flags: '--confidential-secret', description: 'authenticates with a secret' },
      { flags: '--jwks <file>', description: 'authenticates with the keys of this JWK set', readsFile: true },
      { flags: '--jwks-url <url>', description: 'authenticates with the keys that are published there' },
      { flags: '--tls-subject <name>', description: 'authenticates with a certificate of this server\'s authority that has this subject' },
      { flags: '--tls-certificate <file>', description: 'authenticates with this self-signed certificate (PEM)', readsFile: true },
      { flags: '--public', description: 'does not authenticate (browser and phone apps)' },
      { flags: '--require-dpop', description: 'its tokens count only with proofs of a key (DPoP)' },
      { flags: '--require-mtls', description: 'its tokens count only with its TLS certificate' },
    ],
    run: async ({ clients }, input) => {
      const added = await clients.addClient({
        name: text(input, 'name')!,
        scope: text(input, 'scope')!,
        redirectUris: texts(input, 'redirectUri'),
        ...(input.options['grantType'] === undefined ? {} : { grantTypes: texts(input, 'grantType') }),
        requireDpop: flag(input, 'requireDpop'),
        requireMtls: flag(input, 'requireMtls'),
        ...identity(input),
      });
      const lines = [`client_id      ${added.clientId}`, ...(added.clientSecret === undefined ? [] : [`client_secret  ${added.clientSecret}`, 'The secret is shown this once.'])];
      return { lines, json: { client_id: added.clientId, ...(added.clientSecret === undefined ? {} : { client_secret: added.clientSecret }) } };
    },
  },
  {
    name: 'client list',
    summary: 'list the registered applications',
    options: [{ flags: '--pending', description: 'only those that wait for approval' }],
    run: async ({ clients }, input) => {
      const all = (await clients.list()).filter(({ status }) => !flag(input, 'pending') || status === 'pending');
      const rows = all.map((client) => [client.clientId, client.name, client.type, client.status, client.scope]);
      return { table: { columns: ['client_id', 'name', 'type', 'state', 'scope'], rows }, json: all };
    },
  },
  {
    name: 'client show',
    summary: 'show all that is registered of an application',
    args: ['<client-id>'],
    run: async ({ clients }, { args }) => {
      const client = await clients.show(args[0]!);
      return { table: { columns: ['', ''], rows: linesOf(client) }, json: client };
    },
  },
  {
    name: 'client disable',
    summary: 'end all access of an application at once',
    args: ['<client-id>'],
    run: async ({ clients }, { args }) => {
      await clients.disable(args[0]!);
      return { lines: ['disabled'], json: { disabled: args[0] } };
    },
  },
  {
    name: 'client rotate-secret',
    summary: 'give an application a new secret, shown once; the old one counts no more',
    args: ['<client-id>'],
    run: async ({ clients }, { args }) => {
      const clientSecret = await clients.rotateSecret(args[0]!);
      return { lines: [`client_secret  ${clientSecret}`, 'The secret is shown this once.'], json: { client_id: args[0], client_secret: clientSecret } };
    },
  },
  {
    name: 'client set-jwks',
    summary: 'replace the keys of an application, or where they are published',
    args: ['<client-id>'],
    options: [
      { flags: '--jwks <file>', description: 'the keys of this JWK set', readsFile: true },
      { flags: '--jwks-url <url>', description: 'the keys that are published there' },
    ],
    run: async ({ clients }, input) => {
      await clients.setKeys(input.args[0]!, keysOf(input));
      return { lines: ['replaced'], json: { client_id: input.args[0] } };
    },
  },
];

/** A key set given by file or URL. @throws InterlockError `request-invalid` */
export function keysOf(input: CommandInput): { jwks?: unknown; jwksUri?: string } {
  const [jwksFile, jwksUri] = [input.files['jwks'], text(input, 'jwksUrl')];
  return { ...(jwksFile === undefined ? {} : { jwks: parseJson(jwksFile) }), ...(jwksUri === undefined ? {} : { jwksUri }) };
}

function identity(input: CommandInput): { type: ClientType; jwks?: unknown; jwksUri?: string; tlsSubject?: string } {
  const [tlsSubject, certificate] = [text(input, 'tlsSubject'), input.files['tlsCertificate']];
  const keys = keysOf(input);
  const types: ClientType[] = [
    ...(flag(input, 'public') ? (['public'] as const) : []),
    ...(flag(input, 'confidentialSecret') ? (['confidential-secret'] as const) : []),
    ...Object.keys(keys).map(() => 'jwks' as const),
    ...[tlsSubject, certificate].filter((given) => given !== undefined).map(() => 'tls' as const),
  ];
  const [type] = types;
  if (type === undefined || types.length > 1) throw new InterlockError('request-invalid', { detail: 'Give one of --confidential-secret, --jwks FILE, --jwks-url URL, --tls-subject NAME, --tls-certificate FILE and --public.' });
  return { type, ...keys, ...(tlsSubject === undefined ? {} : { tlsSubject }), ...(certificate === undefined ? {} : { jwks: certificateSet(certificate) }) };
}

function certificateSet(base64: string): unknown {
  try {
    const certificate = new X509Certificate(Buffer.from(base64, 'base64'));
    return { keys: [{ ...certificate.publicKey.export({ format: 'jwk' }), x5c: [certificate.raw.toString('base64')] }] };
  } catch (cause) {
    throw new InterlockError('request-invalid', { detail: 'The certificate file holds no certificate.', cause });
  }
}

function linesOf(client: ClientInfo): string[][] {
  return Object.entries(client).map(([name, value]) => [name, Array.isArray(value) ? value.join(' ') : String(value)]);
}

function parseJson(base64: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64, 'base64').toString());
  } catch (cause) {
    throw new InterlockError('request-invalid', { detail: 'The JWKS file does not hold JSON.', cause });
  }
}
