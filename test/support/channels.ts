import { createHash, randomBytes } from 'node:crypto';
import { connect, type ConnectionOptions, type TLSSocket } from 'node:tls';
import type { ClientSession, Connection } from 'mongoose';
import type { AckVerdict, MessageFormat } from '../../channels/format.ts';
import { MessageRefused } from '../../channels/format.ts';
import type { ChannelAuditEvent, Clock, PartnerIdentity, Partners, Seal, Sink } from '../../channels/ports.ts';
import { block, Framer } from '../../channels/mllp/framing.ts';
import { createHmac, createSecretKey } from 'node:crypto';
import { open, seal } from '../../server/kms/seal.ts';

/** Sealing and tokens under keys of this test run, by the product's own sealing. */
export function testSeal(): Seal {
  const key = createSecretKey(randomBytes(32));
  return {
    seal: (plaintext, aad) => seal(key, plaintext, aad),
    open: async (sealed, aad) => open(key, sealed, aad),
    token: (parts) => {
      const hmac = createHmac('sha256', key);
      for (const part of parts) hmac.update(`${Buffer.byteLength(part)}:${part}`);
      return hmac.digest().subarray(0, 16);
    },
  };
}

export const systemClock: Clock = { nowMs: () => Date.now() };
export const somePartner: PartnerIdentity = { name: 'General', fingerprint: 'ab'.repeat(32), address: '192.0.2.1' };

/** An audit that remembers, and can be made to fail. */
export function memoryAudit(): { readonly events: ChannelAuditEvent[]; failing: boolean; record(event: ChannelAuditEvent): Promise<void> } {
  return {
    events: [],
    failing: false,
    async record(event) {
      await new Promise((resolve) => setTimeout(resolve, 1));
      if (this.failing) throw new Error('audit store down');
      this.events.push(event);
    },
  };
}

/** A note as the tests send it: a control id, the lanes it belongs to and a number. */
export interface Note { readonly id: string; readonly keys: readonly string[]; readonly n: number; readonly type?: string; readonly pad?: string }

export function noteBytes(note: Note): Buffer {
  return Buffer.from(JSON.stringify(note));
}

/** A format of the tests' own: JSON notes. Shows that the engine knows nothing of HL7v2. */
export const noteFormat: MessageFormat = {
  contentType: 'application/json',
  decode(bytes) {
    let note: Note;
    try {
      note = JSON.parse(bytes.toString('utf8')) as Note;
    } catch (cause) {
      throw new MessageRefused('message-malformed', 'Not a note.', { cause });
    }
    if (note.type === 'unsupported') throw new MessageRefused('message-unsupported', 'This kind of note is not supported.', { controlId: note.id, messageType: note.type });
    return {
      controlId: note.id, messageType: note.type ?? 'note', orderingKeys: note.keys,
      plan: () => {
        if (note.type === 'unmappable') throw new Error('a defect in a map');
        return { messageType: 'note', resources: [{ key: 'basic', resource: { resourceType: 'Basic', n: note.n, lanes: [...note.keys] }, mode: 'create', match: [], clear: [], createIfAbsent: true }], merges: [], unmapped: [], untranslated: [] };
      },
    };
  },
  acknowledge: (bytes, verdict: AckVerdict, { messageId, nowMs }) => {
    let id = '';
    try {
      id = (JSON.parse(bytes.toString('utf8')) as Note).id;
    } catch {
      // An answer without a control id.
    }
    return Buffer.from(JSON.stringify({ verdict: verdict.kind, code: 'code' in verdict ? verdict.code : '', id, messageId, nowMs }));
  },
};

/** A small record: one transaction pushes the number of a note to each of its lanes. `before` runs inside the transaction, first. */
export function laneSink(connection: Connection, before: (n: number, attempt: number) => Promise<void> | void = () => undefined): Sink & { commits: number } {
  const attempts = new Map<string, number>();
  const lanes = connection.collection<{ _id: string; seen: number[] }>('test_lanes');
  return {
    commits: 0,
    async commit({ plan, messageId, advance }) {
      const attempt = (attempts.get(messageId) ?? 0) + 1;
      attempts.set(messageId, attempt);
      const { n, lanes: keys } = plan.resources[0]!.resource as unknown as { n: number; lanes: string[] };
      const session: ClientSession = await connection.startSession();
      try {
        await session.withTransaction(async () => {
          await before(n, attempt);
          for (const key of keys) await lanes.updateOne({ _id: key }, { $push: { seen: n } }, { upsert: true, session });
          await advance(session, [`Basic/${createHash('sha256').update(messageId).digest('hex').slice(0, 8)}`]);
        });
      } finally {
        await session.endSession();
      }
      this.commits += 1;
      return { stored: [] };
    },
  };
}

/** What the lanes hold. */
export async function lanesOf(connection: Connection): Promise<Map<string, number[]>> {
  return new Map((await connection.collection<{ _id: string; seen: number[] }>('test_lanes').find({}).toArray()).map(({ _id, seen }) => [_id, seen]));
}

/** Waits until a condition holds. @throws after `timeoutMs` */
export async function until(condition: () => Promise<boolean> | boolean, timeoutMs = 20_000): Promise<void> {
  const endMs = Date.now() + timeoutMs;
  while (!await condition()) {
    if (Date.now() > endMs) throw new Error('The condition did not come true in time.');
    await new Promise((resolve) => setTimeout(resolve, 20));
  }
}

/** Partners that admit whom `decide` admits; counts how often it was asked. */
export function partnersBy(decide: (fingerprint: string) => PartnerIdentity | 'unknown' | 'revoked' | 'baa-expired'): Partners & { asked: number } {
  return {
    asked: 0,
    async admit(fingerprint) {
      this.asked += 1;
      const decision = decide(fingerprint);
      return typeof decision === 'string' ? { refused: decision } : { partner: decision };
    },
  };
}

/** An MLLP sender over TLS: raw writes, and answers one by one. */
export class MllpClient {
  readonly socket: TLSSocket;
  readonly #framer = new Framer({ maxMessageBytes: 2 ** 20, headBytes: 10, maxNoiseBytes: 1000 });
  readonly #answers: Buffer[] = [];
  #waiting: ((answer: Buffer | undefined) => void)[] = [];
  #closed = false;
  receivedBytes = 0;

  private constructor(socket: TLSSocket) {
    this.socket = socket;
    socket.on('error', () => undefined);
    socket.on('data', (chunk: Buffer) => {
      this.receivedBytes += chunk.length;
      for (const frame of this.#framer.push(chunk)) {
        if (frame.kind !== 'message') continue;
        const waiting = this.#waiting.shift();
        if (waiting === undefined) this.#answers.push(frame.bytes);
        else waiting(frame.bytes);
      }
    });
    socket.on('close', () => {
      this.#closed = true;
      for (const waiting of this.#waiting) waiting(undefined);
      this.#waiting = [];
    });
  }

  static async connect(options: ConnectionOptions): Promise<MllpClient> {
    const socket = connect({ servername: 'localhost', ...options });
    const client = new MllpClient(socket);
    await new Promise<void>((resolve, reject) => {
      socket.once('secureConnect', resolve);
      socket.once('error', reject);
    });
    return client;
  }

  get closed(): boolean {
    return this.#closed;
  }

  /** The next answer; undefined once the connection is closed. */
  answer(): Promise<Buffer | undefined> {
    const ready = this.#answers.shift();
    if (ready !== undefined || this.#closed) return Promise.resolve(ready);
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async send(message: Buffer): Promise<Buffer | undefined> {
    this.socket.write(block(message));
    return await this.answer();
  }

  async untilClosed(): Promise<void> {
    if (!this.#closed) await new Promise<void>((resolve) => this.socket.once('close', () => resolve()));
  }
}
