/**
 * What a fax can be refused for:
 * - `media-type`: neither TIFF nor PDF, or not what its content type says
 * - `damaged`: it cannot be read to its end
 * - `unacceptable`: it can be read, but is encrypted, active or beyond the bounds
 */
export type FaxFault = 'media-type' | 'damaged' | 'unacceptable';

/** A fax that is refused. The text never holds content of the fax. */
export class FaxError extends Error {
  override readonly name = 'FaxError';
  readonly fault: FaxFault;

  constructor(fault: FaxFault, text: string, cause?: unknown) {
    super(text, { cause });
    this.fault = fault;
  }
}
