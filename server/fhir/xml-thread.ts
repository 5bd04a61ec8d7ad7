import { parentPort } from 'node:worker_threads';
import { InterlockError, type ErrorOptions } from '../../resources/outcome/error.ts';
import type { ErrorCode } from '../../resources/outcome/catalogue.ts';
import { fromXml } from '../../resources/xml/read.ts';
import { toXml } from '../../resources/xml/write.ts';

/** What is asked of the thread. */
export interface XmlJob {
  readonly id: number;
  readonly to: 'json' | 'xml' | 'pretty-xml';
  readonly bytes: Uint8Array;
}

/** What it answers. */
export type XmlResult = { readonly id: number; readonly bytes: Uint8Array } | { readonly id: number; readonly code: ErrorCode; readonly options: Pick<ErrorOptions, 'detail' | 'expression'> };

parentPort?.on('message', (job: XmlJob) => {
  parentPort?.postMessage(convert(job));
});

function convert({ id, to, bytes }: XmlJob): XmlResult {
  try {
    return { id, bytes: to === 'json' ? fromXml(bytes) : Buffer.from(toXml(bytes, to === 'pretty-xml')) };
  } catch (error) {
    if (!(error instanceof InterlockError)) return { id, code: 'internal', options: {} };
    const { detail, expression } = error.options;
    return { id, code: error.code, options: { ...(detail === undefined ? {} : { detail }), ...(expression === undefined ? {} : { expression }) } };
  }
}
