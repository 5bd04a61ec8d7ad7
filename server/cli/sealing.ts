import { InterlockError } from '../../resources/outcome/error.ts';
import type { Seal } from '../reports/sealed-file.ts';
import { text, type CommandInput, type CommandOption } from './command.ts';

/** How a command is told for whom a file is sealed. */
export const sealOptions: readonly CommandOption[] = [
  { flags: '--passphrase-file <file>', description: 'seal with the passphrase on the first line of this file (12 characters at least)', readsFile: true },
  { flags: '--recipient <key>', description: 'seal for the holder of this public key of age (age1…)' },
];

/** The seal that was asked for; undefined if none was. @throws InterlockError `request-invalid` if both were */
export function sealOf(input: CommandInput): Seal | undefined {
  const recipient = text(input, 'recipient');
  const file = input.files['passphraseFile'];
  if (file === undefined) return recipient === undefined ? undefined : { recipient };
  if (recipient !== undefined) throw new InterlockError('request-invalid', { detail: 'A file is sealed by --passphrase-file or by --recipient, not both.' });
  return { passphrase: Buffer.from(file, 'base64').toString().split(/\r?\n/)[0]! };
}
