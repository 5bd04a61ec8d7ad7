import type { Readable } from 'node:stream';

/** A body, or the beginning of one that is larger than accepted. */
export type DoorBody = { readonly kind: 'whole'; readonly bytes: Buffer } | { readonly kind: 'too-large'; readonly head: Buffer };

/** Reads a body up to a bound; of a larger one no more than the bound is read. @throws if it ends early */
export async function readBody(body: Readable, maxBytes: number, headBytes: number): Promise<DoorBody> {
  return await new Promise((resolve, reject) => {
    const chunks: Buffer[] = [];
    let length = 0;
    const finish = (settle: () => void): void => {
      body.off('data', onData).off('end', onEnd).off('error', onBroken).off('close', onBroken);
      settle();
    };
    const onData = (chunk: Buffer): void => {
      chunks.push(chunk);
      length += chunk.length;
      if (length <= maxBytes) return;
      body.pause();
      finish(() => resolve({ kind: 'too-large', head: Buffer.concat(chunks).subarray(0, headBytes) }));
    };
    const onEnd = (): void => finish(() => resolve({ kind: 'whole', bytes: Buffer.concat(chunks, length) }));
    const onBroken = (): void => finish(() => reject(new Error('the body ended early')));
    body.on('data', onData).on('end', onEnd).on('error', onBroken).on('close', onBroken);
  });
}

/**
 * Reads and forgets the rest of a body, so that its sender can read the answer: many look for one only after they have
 * sent everything. Bounded; resolves when nothing more is to be waited for.
 */
export async function discardBody(body: Readable, { maxBytes, timeoutMs }: { readonly maxBytes: number; readonly timeoutMs: number }): Promise<void> {
  if (body.readableEnded || body.destroyed) return;
  await new Promise<void>((resolve) => {
    let left = maxBytes;
    const finish = (): void => {
      clearTimeout(timer);
      body.off('data', onData).off('end', finish).off('close', finish);
      resolve();
    };
    const timer = setTimeout(finish, timeoutMs);
    const onData = (chunk: Buffer): void => {
      left -= chunk.length;
      if (left < 0) finish();
    };
    body.on('data', onData).on('end', finish).on('close', finish).on('error', finish);
    body.resume();
  });
}

/** Bounds what is in hand at once, in bytes and in number. */
export class BodyBudget {
  #bytes: number;
  #requests: number;

  constructor(room: { readonly bytes: number; readonly requests: number }) {
    this.#bytes = room.bytes;
    this.#requests = room.requests;
  }

  /** Runs `work` while `bytes` are held; calls `full` instead if there is no room. */
  async hold<T>(bytes: number, full: () => never, work: () => Promise<T>): Promise<T> {
    if (bytes > this.#bytes || this.#requests < 1) return full();
    this.#bytes -= bytes;
    this.#requests -= 1;
    try {
      return await work();
    } finally {
      this.#bytes += bytes;
      this.#requests += 1;
    }
  }
}
