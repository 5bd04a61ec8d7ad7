import { Worker } from 'node:worker_threads';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { XmlJob, XmlResult } from './xml-thread.ts';

const maxPending = 64;
const jobTimeoutMs = 30_000;
const idleTimeoutMs = 60_000;

interface Pending {
  readonly resolve: (bytes: Buffer) => void;
  readonly reject: (error: Error) => void;
  readonly timer: NodeJS.Timeout;
}

/**
 * FHIR XML to and from JSON, in a thread of its own: started when it is first needed, ended when it has been idle, so that
 * neither a large document nor the parser's memory is felt by those who use JSON.
 */
export class XmlConverter {
  readonly #pending = new Map<number, Pending>();
  #worker: Worker | undefined;
  #idle: NodeJS.Timeout | undefined;
  #nextId = 0;

  /**
   * @param bytes XML to become JSON, or a valid resource's JSON to become XML
   * @throws InterlockError `structure-invalid`; `throttled` while too much waits; `too-costly` if it takes too long
   */
  async convert(to: XmlJob['to'], bytes: Uint8Array): Promise<Buffer> {
    if (this.#pending.size >= maxPending) throw new InterlockError('throttled', { retryAfterSeconds: 5 });
    clearTimeout(this.#idle);
    this.#worker ??= this.#start();
    const worker = this.#worker;
    const id = this.#nextId++;
    const result = new Promise<Buffer>((resolve, reject) => {
      const timer = setTimeout(() => this.#end(new InterlockError('too-costly')), jobTimeoutMs);
      this.#pending.set(id, { resolve, reject, timer });
    });
    const job: XmlJob = { id, to, bytes };
    worker.postMessage(job);
    return result;
  }

  #start(): Worker {
    const worker = new Worker(new URL('./xml-thread.ts', import.meta.url), { resourceLimits: { maxOldGenerationSizeMb: 1024 }, execArgv: [] });
    worker.on('message', (result: XmlResult) => this.#settle(result));
    worker.on('error', (cause) => {
      if (this.#worker === worker) this.#end(new InterlockError('too-costly', { cause }));
    });
    // Last: listening for messages would hold the process again.
    worker.unref();
    return worker;
  }

  #settle(result: XmlResult): void {
    const pending = this.#pending.get(result.id);
    if (pending === undefined) return;
    this.#pending.delete(result.id);
    clearTimeout(pending.timer);
    if ('code' in result) pending.reject(new InterlockError(result.code, result.options));
    else pending.resolve(Buffer.from(result.bytes.buffer, result.bytes.byteOffset, result.bytes.byteLength));
    if (this.#pending.size > 0) return;
    this.#idle = setTimeout(() => this.#end(new InterlockError('unavailable')), idleTimeoutMs);
    this.#idle.unref();
  }

  /** Stops the thread; what waits for it fails. */
  #end(error: InterlockError): void {
    const worker = this.#worker;
    this.#worker = undefined;
    for (const { reject, timer } of this.#pending.values()) {
      clearTimeout(timer);
      reject(error);
    }
    this.#pending.clear();
    void worker?.terminate();
  }
}
