import { randomUUID } from 'node:crypto';
import type { Collection, Connection } from 'mongoose';
import { z } from 'zod';
import type { PartnerRefusal, Partners } from '../../channels/ports.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AuditRecord } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';
import { isDuplicateKey } from '../mongo/errors.ts';

const certificateSchema = z.object({
  /** SHA-256, lower-case hex. */
  fingerprint: z.string(),
  serial: z.string(),
  /** ISO 8601. */
  notAfter: z.string(),
  revokedAt: z.string().optional(),
});
const partnerSchema = z.object({
  name: z.string(),
  /** Last day on which the business associate agreement (45 CFR 164.504(e)) is in force, `YYYY-MM-DD`, to its end in UTC. */
  baaExpires: z.string(),
  /** Ids of the channels that the partner may use. */
  channels: z.array(z.string()),
  disabled: z.boolean(),
  certificates: z.array(certificateSchema),
  createdAt: z.string(),
});

/** A vendor that may connect: for what, until when, and with which certificates. */
export type Partner = Readonly<z.infer<typeof partnerSchema>>;
export type PartnerCertificate = Readonly<z.infer<typeof certificateSchema>>;

/** Name of the collection. Names, dates and certificates of partners are sealed in it; lookups go by keyed hash. */
export const partnersCollection = 'partners';
interface PartnerDocument {
  readonly _id: Buffer;
  readonly vid: number;
  readonly sealed: Buffer;
  /** Keyed hashes of certificate fingerprints, revoked ones too: they are refused by name. */
  readonly fingerprints?: readonly Buffer[];
}

export interface PartnerRegistryOptions {
  readonly connection: Connection;
  readonly keyring: Keyring;
  /** Makes a refusal durable in the audit trail. */
  readonly audit: (record: AuditRecord) => Promise<void>;
  /** Revocation as the certificate authority knows it, by serial number. */
  readonly isRevoked?: (serial: string) => boolean;
  readonly nowMs?: () => number;
  /** How long an answer may be reused: the longest time until a change made by another process acts. */
  readonly cacheMs?: number;
}

const namePattern = /^[\p{L}\p{N}][\p{L}\p{N} ._-]{0,63}$/u;
const maxCached = 1000;
const maxChanges = 5;
const maxCertificates = 50;
const durable = { writeConcern: { w: 'majority', j: true } } as const;

/** Who may connect, until when, for what (45 CFR 164.308(b)). Changes are audited by whoever asks for them; refusals here. */
export class PartnerRegistry implements Partners {
  readonly #options: PartnerRegistryOptions;
  readonly #partners: Collection<PartnerDocument>;
  readonly #nowMs: () => number;
  readonly #cache = new Map<string, { readonly partner: Partner | undefined; readonly untilMs: number }>();

  constructor(options: PartnerRegistryOptions) {
    this.#options = options;
    this.#partners = options.connection.collection<PartnerDocument>(partnersCollection);
    this.#nowMs = options.nowMs ?? Date.now;
  }

  /** Registers a partner. @throws InterlockError `request-invalid` (name, date), `version-conflict` (name taken) */
  async add(input: { readonly name: string; readonly baaExpires: string; readonly channels: readonly string[] }): Promise<Partner> {
    if (!namePattern.test(input.name)) throw new InterlockError('request-invalid', { detail: 'A partner name has 1 to 64 letters, digits, spaces, dots, hyphens or underscores.' });
    const partner: Partner = { name: input.name, baaExpires: day(input.baaExpires), channels: [...new Set(input.channels)], disabled: false, certificates: [], createdAt: new Date(this.#nowMs()).toISOString() };
    try {
      await this.#partners.insertOne({ _id: this.#idOf(partner.name), vid: 1, sealed: this.#seal(partner, 1) }, durable);
    } catch (cause) {
      throw isDuplicateKey(cause) ? new InterlockError('version-conflict', { detail: 'A partner of this name exists.', cause }) : cause;
    }
    return partner;
  }

  /** All partners, by name. */
  async list(): Promise<Partner[]> {
    const documents = await this.#partners.find({}, { promoteBuffers: true }).toArray();
    return (await Promise.all(documents.map((document) => this.#open(document)))).sort((a, b) => a.name.localeCompare(b.name));
  }

  async get(name: string): Promise<Partner | undefined> {
    const document = await this.#partners.findOne({ _id: this.#idOf(name) }, { promoteBuffers: true });
    return document === null ? undefined : await this.#open(document);
  }

  /** Closes every door to a partner, open connections included: they are asked for before each message. @throws InterlockError `not-found` */
  async disable(name: string): Promise<Partner> {
    return await this.#change(name, (partner) => ({ ...partner, disabled: true }));
  }

  /** @throws InterlockError `not-found` */
  async enable(name: string): Promise<Partner> {
    return await this.#change(name, (partner) => ({ ...partner, disabled: false }));
  }

  /** @param baaExpires `YYYY-MM-DD` @throws InterlockError `not-found`, `request-invalid` */
  async renewBaa(name: string, baaExpires: string): Promise<Partner> {
    const expires = day(baaExpires);
    return await this.#change(name, (partner) => ({ ...partner, baaExpires: expires }));
  }

  /** @throws InterlockError `not-found` */
  async permitChannels(name: string, channels: readonly string[]): Promise<Partner> {
    return await this.#change(name, (partner) => ({ ...partner, channels: [...new Set(channels)] }));
  }

  /** Lets the partner connect with a certificate from now on; those bound before stay. @throws InterlockError `not-found`, `version-conflict` (another partner's), `business-rule` (too many) */
  async bindCertificate(name: string, certificate: { readonly fingerprint: string; readonly serial: string; readonly notAfter: Date }): Promise<Partner> {
    const bound = { fingerprint: normalised(certificate.fingerprint), serial: certificate.serial, notAfter: certificate.notAfter.toISOString() };
    return await this.#change(name, (partner) => {
      // Expired ones that are long past make room; a revoked one stays until it expires, so that it is refused by name.
      const kept = partner.certificates.filter(({ fingerprint, notAfter }) => fingerprint !== bound.fingerprint && Date.parse(notAfter) > this.#nowMs() - 30 * 24 * 3600_000);
      if (kept.length >= maxCertificates) throw new InterlockError('business-rule', { detail: 'The partner has too many valid certificates; revoke some.' });
      return { ...partner, certificates: [...kept, bound] };
    });
  }

  /** Refuses a certificate from now on. @param serial as bound @throws InterlockError `not-found` */
  async revokeCertificate(name: string, serial: string): Promise<Partner> {
    const revokedAt = new Date(this.#nowMs()).toISOString();
    return await this.#change(name, (partner) => {
      if (!partner.certificates.some((certificate) => certificate.serial === serial)) throw new InterlockError('not-found', { detail: 'The partner has no such certificate.' });
      return { ...partner, certificates: partner.certificates.map((certificate) => certificate.serial === serial ? { revokedAt, ...certificate } : certificate) };
    });
  }

  /**
   * Decides whether who shows this certificate may use a channel now.
   * @param fingerprint SHA-256, hex
   * @returns the partner, or why not; a refusal is in the audit trail by then, or at least was tried to be: refused it is
   */
  async admit(fingerprint: string, channelId: string, address: string): ReturnType<Partners['admit']> {
    const hex = normalised(fingerprint);
    const partner = await this.#byFingerprint(hex);
    const refused = this.#refusalOf(partner, hex, channelId);
    if (refused === undefined) return { partner: { name: partner!.name, fingerprint: hex, address } };
    await this.#options.audit({
      at: this.#nowMs(), kind: 'channel', interaction: 'connection-refused', action: 'E', outcome: '8', error: 'forbidden', rule: `partner: ${refused}`,
      requestId: randomUUID(), channel: { id: channelId, messageId: '' },
      actor: partner === undefined ? { kind: 'anonymous', id: `certificate ${hex}`, address } : { kind: 'partner', id: partner.name, address },
    });
    return { refused };
  }

  #refusalOf(partner: Partner | undefined, fingerprint: string, channelId: string): PartnerRefusal | undefined {
    const certificate = partner?.certificates.find((bound) => bound.fingerprint === fingerprint);
    if (partner === undefined || certificate === undefined) return 'unknown';
    if (certificate.revokedAt !== undefined || this.#options.isRevoked?.(certificate.serial) === true) return 'revoked';
    const nowMs = this.#nowMs();
    if (Date.parse(certificate.notAfter) <= nowMs) return 'certificate-expired';
    if (partner.disabled) return 'disabled';
    if (Date.parse(partner.baaExpires) + 24 * 3600_000 <= nowMs) return 'baa-expired';
    return partner.channels.includes(channelId) ? undefined : 'channel-not-permitted';
  }

  async #byFingerprint(fingerprint: string): Promise<Partner | undefined> {
    const nowMs = this.#nowMs();
    const cached = this.#cache.get(fingerprint);
    if (cached !== undefined && cached.untilMs > nowMs) return cached.partner;
    const document = await this.#partners.findOne({ fingerprints: this.#tokenOf(fingerprint) }, { promoteBuffers: true });
    const partner = document === null ? undefined : await this.#open(document);
    if (this.#cache.size >= maxCached) this.#cache.clear();
    this.#cache.set(fingerprint, { partner, untilMs: nowMs + (this.#options.cacheMs ?? 2000) });
    return partner;
  }

  /** Compare-and-set, so that of two changes at once none is lost. */
  async #change(name: string, change: (partner: Partner) => Partner): Promise<Partner> {
    const _id = this.#idOf(name);
    for (let attempt = 0; attempt < maxChanges; attempt += 1) {
      const document = await this.#partners.findOne({ _id }, { promoteBuffers: true });
      if (document === null) throw new InterlockError('not-found', { detail: 'There is no partner of this name.' });
      const partner = change(await this.#open(document));
      const vid = document.vid + 1;
      const fingerprints = partner.certificates.map(({ fingerprint }) => this.#tokenOf(fingerprint));
      try {
        const result = await this.#partners.updateOne({ _id, vid: document.vid }, { $set: { vid, sealed: this.#seal(partner, vid), ...(fingerprints.length > 0 ? { fingerprints } : {}) } }, durable);
        if (result.matchedCount === 1) return partner;
      } catch (cause) {
        throw isDuplicateKey(cause) ? new InterlockError('version-conflict', { detail: 'The certificate belongs to another partner.', cause }) : cause;
      } finally {
        this.#cache.clear();
      }
    }
    throw new InterlockError('version-conflict');
  }

  #idOf(name: string): Buffer {
    return this.#options.keyring.mac('partner-token', ['name', name.normalize('NFC').toLowerCase()]);
  }

  #tokenOf(fingerprint: string): Buffer {
    return this.#options.keyring.mac('partner-token', ['fingerprint', fingerprint]);
  }

  /** The version is bound to the seal, so that an older state cannot be put back under a newer number. */
  #seal(partner: Partner, vid: number): Buffer {
    return this.#options.keyring.sealBlob('partner', Buffer.from(JSON.stringify(partner)), aad(this.#idOf(partner.name), vid));
  }

  async #open(document: PartnerDocument): Promise<Partner> {
    const bytes = await this.#options.keyring.openBlob('partner', document.sealed, aad(document._id, document.vid));
    return partnerSchema.parse(JSON.parse(bytes.toString('utf8')));
  }
}

function aad(id: Buffer, vid: number): string {
  return `partner|${id.toString('hex')}|${vid}`;
}

function normalised(fingerprint: string): string {
  return fingerprint.replaceAll(':', '').toLowerCase();
}

/** @throws InterlockError `request-invalid` unless it is a day of the calendar */
function day(text: string): string {
  const date = /^\d{4}-\d{2}-\d{2}$/.test(text) ? new Date(`${text}T00:00:00Z`) : undefined;
  if (date === undefined || Number.isNaN(date.getTime()) || !date.toISOString().startsWith(text)) throw new InterlockError('request-invalid', { detail: 'A day is written YYYY-MM-DD.' });
  return text;
}
