/**
 * What a SCRIPT message can be refused for:
 * - `syntax`: it is not the XML that the standard asks for
 * - `unsupported`: it is sound, but no map takes this kind of message
 * - `content`: an element that is needed is missing or cannot be read
 */
export type ScriptFault = 'syntax' | 'unsupported' | 'content';

/** A message that is refused. Text and path never hold content of the message. */
export class ScriptError extends Error {
  override readonly name = 'ScriptError';
  readonly fault: ScriptFault;
  /** Where, by element names only, such as `Body/NewRx/MedicationPrescribed/DrugDescription`. */
  readonly path: string | undefined;

  constructor(fault: ScriptFault, text: string, options: { readonly path?: string; readonly cause?: unknown } = {}) {
    super(text, { cause: options.cause });
    this.fault = fault;
    this.path = options.path;
  }
}
