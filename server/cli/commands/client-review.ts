import { InterlockError } from '../../../resources/outcome/error.ts';
import type { SoftwareIssuer } from '../../auth/software-issuers.ts';
import { text, type Command } from '../command.ts';
import { keysOf } from './clients.ts';

/** Applications that register themselves: who may, and what becomes of them. */
export const clientReviewCommands: readonly Command[] = [
  {
    name: 'client approve',
    summary: 'let an application act that registered itself',
    args: ['<client-id>'],
    run: async ({ clients }, { args }) => {
      await clients.approve(args[0]!);
      return { lines: ['approved'], json: { approved: args[0] } };
    },
  },
  {
    name: 'client reject',
    summary: 'remove an application that registered itself',
    args: ['<client-id>'],
    run: async ({ clients }, { args }) => {
      await clients.reject(args[0]!);
      return { lines: ['rejected'], json: { rejected: args[0] } };
    },
  },
  {
    name: 'client initial-token',
    summary: 'issue a token by which applications may register themselves; shown once',
    options: [
      { flags: '--uses <count>', description: 'registrations that it is good for, 1 to 50; by default 1' },
      { flags: '--expires <duration>', description: 'how long it lasts, such as 30m, 12h or 7d, 30d at most; by default 1d' },
    ],
    run: async ({ initialTokens }, input) => {
      const uses = Number(text(input, 'uses') ?? '1');
      const lifetimeS = secondsOf(text(input, 'expires') ?? '1d');
      const token = await initialTokens.issue(uses, lifetimeS);
      return { lines: [`initial_access_token  ${token}`, 'The token is shown this once.'], json: { initial_access_token: token, uses, expires_in: lifetimeS } };
    },
  },
  {
    name: 'client trust-issuer',
    summary: 'believe the software statements of an issuer',
    args: ['<issuer-url>'],
    options: [
      { flags: '--jwks <file>', description: 'signed with the keys of this JWK set', readsFile: true },
      { flags: '--jwks-url <url>', description: 'signed with the keys that are published there' },
    ],
    run: async ({ softwareIssuers }, input) => {
      await softwareIssuers.trust({ issuer: input.args[0]!, ...keysOf(input) } as SoftwareIssuer);
      return { lines: ['trusted'], json: { issuer: input.args[0] } };
    },
  },
  {
    name: 'client distrust-issuer',
    summary: 'believe the software statements of an issuer no more',
    args: ['<issuer-url>'],
    run: async ({ softwareIssuers }, { args }) => {
      await softwareIssuers.distrust(args[0]!);
      return { lines: ['distrusted'], json: { issuer: args[0] } };
    },
  },
  {
    name: 'client issuers',
    summary: 'list the issuers whose software statements are believed',
    run: async ({ softwareIssuers }) => {
      const all = (await softwareIssuers.list()).map(({ issuer, jwks, jwksUri }) => ({ issuer, keys: jwksUri ?? `${jwks?.keys.length ?? 0} keys` }));
      return { table: { columns: ['issuer', 'keys'], rows: all.map(({ issuer, keys }) => [issuer, keys]) }, json: all };
    },
  },
];

function secondsOf(duration: string): number {
  const [, count, unit] = /^(\d{1,6})([smhd])$/.exec(duration) ?? [];
  if (count === undefined) throw new InterlockError('request-invalid', { detail: 'A duration is a number with s, m, h or d.' });
  return Number(count) * { s: 1, m: 60, h: 3600, d: 86_400 }[unit as 's' | 'm' | 'h' | 'd'];
}
