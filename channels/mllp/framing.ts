const startOfBlock = 0x0b;
const endOfBlock = 0x1c;
const carriageReturn = 0x0d;

/** What the framer found. `oversize` holds the beginning of a message that exceeds the limit; nothing may follow it. */
export type Frame = { readonly kind: 'message'; readonly bytes: Buffer } | { readonly kind: 'oversize'; readonly head: Buffer } | { readonly kind: 'noise' };

export interface FramerOptions {
  readonly maxMessageBytes: number;
  /** How much of an oversize message is kept. */
  readonly headBytes: number;
  /** Bytes outside of any block that are skipped in a row before the peer is taken for something else. */
  readonly maxNoiseBytes: number;
}

/**
 * Cuts a byte stream into MLLP blocks: 0x0B, message, 0x1C, 0x0D (MLLP Release 1; HL7 v2.x Implementation Guide, appendix C).
 * Bytes, never text: the character set is inside. Tolerant where senders differ, and always in the same way however the
 * bytes are spread over reads: 0x1C ends a block, the carriage return after it may be missing, what stands between blocks is
 * skipped, and 0x0B inside a block starts anew (the sender gave up on the one before, which is never acknowledged).
 */
export class Framer {
  readonly #options: FramerOptions;
  #block: Buffer = Buffer.alloc(0);
  #length = 0;
  #inBlock = false;
  #noise = 0;
  #over = false;

  constructor(options: FramerOptions) {
    this.#options = options;
  }

  /** True between the start of a block and its end. */
  get inBlock(): boolean {
    return this.#inBlock;
  }

  /** Memory that the unfinished block holds. */
  get heldBytes(): number {
    return this.#block.length;
  }

  /** Adds bytes; yields what they complete, lazily, so that the reader can work between two messages of one read. */
  *push(chunk: Buffer): Generator<Frame> {
    let at = 0;
    while (at < chunk.length && !this.#over) {
      if (!this.#inBlock) {
        const start = chunk.indexOf(startOfBlock, at);
        const end = start === -1 ? chunk.length : start;
        for (let index = at; index < end; index += 1) if (chunk[index] !== carriageReturn && chunk[index] !== 0x0a) this.#noise += 1;
        if (this.#noise > this.#options.maxNoiseBytes) {
          this.#over = true;
          yield { kind: 'noise' };
          return;
        }
        if (start === -1) return;
        this.#begin();
        at = start + 1;
        continue;
      }
      const end = chunk.indexOf(endOfBlock, at);
      const piece = chunk.subarray(at, end === -1 ? chunk.length : end);
      const restart = piece.lastIndexOf(startOfBlock);
      if (restart !== -1) this.#begin();
      this.#append(restart === -1 ? piece : piece.subarray(restart + 1));
      if (this.#length > this.#options.maxMessageBytes) {
        this.#over = true;
        yield { kind: 'oversize', head: Buffer.from(this.#block.subarray(0, this.#options.headBytes)) };
        this.#drop();
        return;
      }
      if (end === -1) return;
      at = end + 1;
      const bytes = this.#block.subarray(0, this.#length);
      this.#drop();
      yield { kind: 'message', bytes };
    }
  }

  #begin(): void {
    this.#inBlock = true;
    this.#length = 0;
    this.#noise = 0;
  }

  #drop(): void {
    this.#block = Buffer.alloc(0);
    this.#length = 0;
    this.#inBlock = false;
  }

  /** One growing buffer instead of a list of pieces: a message that arrives byte by byte costs no more than its size. */
  #append(piece: Buffer): void {
    const needed = this.#length + piece.length;
    if (needed > this.#options.maxMessageBytes) {
      // Only the beginning is of use now.
      piece = piece.subarray(0, Math.max(0, this.#options.headBytes - this.#length));
    }
    if (this.#length + piece.length > this.#block.length) {
      const grown = Buffer.allocUnsafe(Math.max(this.#length + piece.length, Math.min(this.#block.length * 2, this.#options.maxMessageBytes), 512));
      this.#block.copy(grown, 0, 0, this.#length);
      this.#block = grown;
    }
    piece.copy(this.#block, this.#length);
    this.#length = needed;
  }
}

/** Puts a message into a block. */
export function block(message: Buffer): Buffer {
  return Buffer.concat([Buffer.of(startOfBlock), message, Buffer.of(endOfBlock, carriageReturn)]);
}
