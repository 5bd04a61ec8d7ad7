import { InterlockError } from '../../../resources/outcome/error.ts';
import { flag, text, texts, type Command } from '../command.ts';

/** Registered OAuth clients. */
export const clientCommands: readonly Command[] = [
  {
    name: 'client add',
    summary: 'register an application; prints its client_id, and its secret once',
    options: [
      { flags: '--name <name>', description: 'shown to people on the consent page', required: true },
      { flags: '--scope <scopes>', description: 'what may be granted, such as "launch/patient patient/*.rs"', required: true },
      { flags: '--redirect-uri <uri>', description: 'compared exactly; may be given several times', repeats: true },
      { flags: '--confidential-secret', description: 'authenticates with a secret' },
      { flags: '--jwks <file>', description: 'authenticates with the keys of this JWK set', readsFile: true },
      { flags: '--public', description: 'does not authenticate (browser and phone apps)' },
    ],
    run: async ({ clients }, input) => {
      const jwksFile = input.files['jwks'];
      const chosen = [flag(input, 'confidentialSecret'), jwksFile !== undefined, flag(input, 'public')].filter(Boolean).length;
      if (chosen !== 1) throw new InterlockError('request-invalid', { detail: 'Give one of --confidential-secret, --jwks FILE and --public.' });
      const type = jwksFile !== undefined ? 'jwks' : flag(input, 'public') ? 'public' : 'confidential-secret';
      const added = await clients.addClient({
        name: text(input, 'name')!,
        scope: text(input, 'scope')!,
        type,
        redirectUris: texts(input, 'redirectUri'),
        ...(jwksFile === undefined ? {} : { jwks: parseJson(jwksFile) }),
      });
      const lines = [`client_id      ${added.clientId}`, ...(added.clientSecret === undefined ? [] : [`client_secret  ${added.clientSecret}`, 'The secret is shown this once.'])];
      return { lines, json: { client_id: added.clientId, ...(added.clientSecret === undefined ? {} : { client_secret: added.clientSecret }) } };
    },
  },
  {
    name: 'client list',
    summary: 'list the registered applications',
    run: async ({ clients }) => {
      const all = await clients.list();
      const rows = all.map((client) => [client.clientId, client.name, client.type, client.disabled ? 'disabled' : 'active', client.scope]);
      return { table: { columns: ['client_id', 'name', 'type', 'state', 'scope'], rows }, json: all };
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
];

function parseJson(base64: string): unknown {
  try {
    return JSON.parse(Buffer.from(base64, 'base64').toString());
  } catch (cause) {
    throw new InterlockError('request-invalid', { detail: 'The JWKS file does not hold JSON.', cause });
  }
}
