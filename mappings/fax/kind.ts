import { FaxError } from './error.ts';

/** Media types that a fax may have. */
export type FaxType = 'image/tiff' | 'application/pdf';

/**
 * What the bytes are, by their signature. A content type that says something else is refused: it would lead whoever opens
 * the file later to read it as what it is not. `application/octet-stream`, or none, says nothing.
 * @throws FaxError `media-type`
 */
export function faxTypeOf(bytes: Buffer, contentType: string): FaxType {
  const declared = contentType.split(';')[0]!.trim().toLowerCase();
  const actual = signatureOf(bytes);
  if (actual === undefined) throw new FaxError('media-type', 'The content is neither TIFF nor PDF.');
  if (declared !== '' && declared !== 'application/octet-stream' && declared !== actual) throw new FaxError('media-type', 'The content is not what its content type says.');
  return actual;
}

function signatureOf(bytes: Buffer): FaxType | undefined {
  const head = bytes.subarray(0, 5).toString('latin1');
  if (head === '%PDF-') return 'application/pdf';
  return head.startsWith('II*\0') || head.startsWith('MM\0*') ? 'image/tiff' : undefined;
}
