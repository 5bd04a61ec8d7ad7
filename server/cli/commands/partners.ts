import { X509Certificate } from 'node:crypto';
import { InterlockError } from '../../../resources/outcome/error.ts';
import type { Partner } from '../../partners/registry.ts';
import { text, texts, type Command } from '../command.ts';

/** Vendors and hospitals that may connect. */
export const partnerCommands: readonly Command[] = [
  {
    name: 'partner add',
    summary: 'register a partner with the last day of its agreement (BAA)',
    options: [
      { flags: '--name <name>', description: 'name of the partner', required: true },
      { flags: '--baa-expires <day>', description: 'YYYY-MM-DD; afterwards the partner is refused', required: true },
      { flags: '--channel <id>', description: 'channel that the partner may use, by default all that are shipped; may be given several times', repeats: true },
    ],
    run: async ({ partners, channels }, input) => {
      const asked = texts(input, 'channel');
      const partner = await partners.add({
        name: text(input, 'name')!,
        baaExpires: text(input, 'baaExpires')!,
        channels: asked.length > 0 ? asked : channels.definitions.map(({ id }) => id),
      });
      return { lines: [`added, may use ${partner.channels.join(', ')} until ${partner.baaExpires}`, `next: npx interlock partner issue-cert "${partner.name}" --out DIR`], json: shown(partner) };
    },
  },
  {
    name: 'partner issue-cert',
    summary: 'make a client certificate for a partner: client.crt, client.key, ca.crt',
    args: ['<name>'],
    options: [{ flags: '--out <dir>', description: 'directory to write to', required: true, local: true }],
    run: async ({ partners, pki }, { args }) => {
      const name = args[0]!;
      // Looked up first, so that no certificate is made for somebody unknown.
      if ((await partners.get(name)) === undefined) throw new InterlockError('not-found', { detail: 'There is no partner of this name.' });
      const issued = pki.issuePartnerCertificate({ name });
      const certificate = new X509Certificate(issued.certificatePem);
      await partners.bindCertificate(name, { fingerprint: certificate.fingerprint256, serial: certificate.serialNumber, notAfter: certificate.validToDate });
      const file = (fileName: string, content: string, mode: number) => ({ name: fileName, contentBase64: Buffer.from(content).toString('base64'), mode });
      return {
        lines: [`serial ${certificate.serialNumber}, valid until ${certificate.validToDate.toISOString().slice(0, 10)}`, 'written: client.crt, client.key, ca.crt'],
        json: { serial: certificate.serialNumber, fingerprint: certificate.fingerprint256, notAfter: certificate.validToDate.toISOString() },
        files: [file('client.crt', issued.certificatePem, 0o644), file('client.key', issued.keyPem, 0o600), file('ca.crt', issued.caPem, 0o644)],
      };
    },
  },
  {
    name: 'partner revoke-cert',
    summary: 'refuse a certificate from now on, open connections included',
    args: ['<name>', '<serial>'],
    run: async ({ partners, pki }, { args }) => {
      await partners.revokeCertificate(args[0]!, args[1]!);
      pki.revoke(args[1]!);
      return { lines: ['revoked'], json: { revoked: args[1] } };
    },
  },
  {
    name: 'partner list',
    summary: 'list partners, their channels and certificates',
    run: async ({ partners, nowMs }) => {
      const all = await partners.list();
      const rows = all.map((partner) => [partner.name, stateOf(partner, nowMs()), partner.baaExpires, partner.channels.join(' '), partner.certificates.map(({ serial, revokedAt }) => (revokedAt === undefined ? serial : `${serial} (revoked)`)).join(' ')]);
      return { table: { columns: ['name', 'state', 'BAA until', 'channels', 'certificates'], rows }, json: all.map(shown) };
    },
  },
  {
    name: 'partner disable',
    summary: 'close every door to a partner at once',
    args: ['<name>'],
    run: async ({ partners }, { args }) => {
      const partner = await partners.disable(args[0]!);
      return { lines: ['disabled'], json: shown(partner) };
    },
  },
  {
    name: 'partner renew-baa',
    summary: "set a new last day of a partner's agreement",
    args: ['<name>'],
    options: [{ flags: '--expires <day>', description: 'YYYY-MM-DD', required: true }],
    run: async ({ partners }, input) => {
      const partner = await partners.renewBaa(input.args[0]!, text(input, 'expires')!);
      return { lines: [`in force until ${partner.baaExpires}`], json: shown(partner) };
    },
  },
];

function stateOf(partner: Partner, nowMs: number): string {
  if (partner.disabled) return 'disabled';
  return Date.parse(partner.baaExpires) + 24 * 3600_000 <= nowMs ? 'BAA expired' : 'active';
}

function shown(partner: Partner): unknown {
  const { name, baaExpires, channels, disabled, certificates } = partner;
  return { name, baaExpires, channels, disabled, certificates };
}
