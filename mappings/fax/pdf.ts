import { once } from 'node:events';
import { Worker } from 'node:worker_threads';
import { FaxError } from './error.ts';
import type { PdfFinding } from './pdf-worker.ts';

/** Bounds on a PDF. Time also bounds what compressed streams can unfold to. */
export const pdfLimits = { pages: 500, timeoutMs: 10_000, heapMb: 256 } as const;

const findings: Readonly<Record<Extract<PdfFinding, { refused: string }>['refused'], FaxError['fault']>> = { 'damaged': 'damaged', 'encrypted': 'unacceptable', 'active': 'unacceptable', 'too-complex': 'unacceptable' };
const texts: Readonly<Record<keyof typeof findings, string>> = {
  'damaged': 'The PDF is truncated or damaged.',
  'encrypted': 'The PDF is encrypted.',
  'active': 'The PDF holds scripts, launch or remote actions, or other files.',
  'too-complex': 'The PDF is more complex than this channel accepts.',
};

/**
 * Reads a PDF's structure in a thread of its own, which is ended if it takes too long.
 * @returns the number of pages
 * @throws FaxError `damaged`, or `unacceptable` for encrypted, active or oversized documents
 */
export async function checkPdf(bytes: Buffer): Promise<number> {
  // Cheaper than a thread: every PDF ends so (ISO 32000-1, section 7.5.5).
  if (!bytes.subarray(-2048).includes('%%EOF')) throw new FaxError('damaged', texts.damaged);
  const finding = await inThread(bytes);
  if ('refused' in finding) throw new FaxError(findings[finding.refused], texts[finding.refused]);
  if (finding.pages > pdfLimits.pages) throw new FaxError('unacceptable', `The PDF has more than ${pdfLimits.pages} pages.`);
  return finding.pages;
}

/** Threads that wait for work: starting one takes a second, checking a fax some milliseconds. */
const idle: Worker[] = [];
const maxIdle = 2;

function startThread(): Worker {
  const worker = new Worker(new URL('./pdf-worker.ts', import.meta.url), { resourceLimits: { maxOldGenerationSizeMb: pdfLimits.heapMb }, env: {}, execArgv: [] });
  // Whoever waits for an answer hears of it too; a thread that fails while it is idle must not end the process.
  worker.on('error', () => undefined);
  worker.on('exit', () => {
    if (idle.includes(worker)) idle.splice(idle.indexOf(worker), 1);
  });
  return worker;
}

async function inThread(bytes: Buffer): Promise<PdfFinding> {
  const worker = idle.pop() ?? startThread();
  worker.ref();
  try {
    const answered = once(worker, 'message', { signal: AbortSignal.timeout(pdfLimits.timeoutMs) }) as Promise<[PdfFinding]>;
    worker.postMessage(new Uint8Array(bytes));
    const [finding] = await answered;
    if (idle.length >= maxIdle) await worker.terminate();
    else {
      // Waiting must not keep the process alive.
      worker.unref();
      idle.push(worker);
    }
    return finding;
  } catch {
    // Out of time or memory.
    await worker.terminate();
    return { refused: 'too-complex' };
  }
}
