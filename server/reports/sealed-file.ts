import { createCipheriv, randomBytes, scrypt } from 'node:crypto';
import { ReadableStream } from 'node:stream/web';
import { promisify } from 'node:util';
import { Encrypter, Stanza, type Recipient } from 'age-encryption';
import { InterlockError } from '../../resources/outcome/error.ts';

/** Who can open a sealed file: whoever knows the passphrase, or whoever holds the identity of this recipient (`age1…`). */
export type Seal = { readonly passphrase: string } | { readonly recipient: string };

/** Shortest passphrase that a file is sealed with, in characters. */
export const minPassphraseLength = 12;

// As the age tool itself: 256 MiB and about a second.
const workFactor = 18;
const fileKeyNonce = Buffer.alloc(12);

/**
 * Seals a stream as an age file (https://age-encryption.org/v1), 64 KiB at a time: `age --decrypt` opens it. Checked
 * before the first byte is asked for.
 * @throws InterlockError `request-invalid` if the passphrase is too short or the recipient is none
 */
export async function sealStream(plain: AsyncIterable<Uint8Array>, seal: Seal): Promise<AsyncIterable<Uint8Array>> {
  const encrypter = new Encrypter();
  try {
    encrypter.addRecipient('passphrase' in seal ? passphraseRecipient(seal.passphrase) : seal.recipient.trim());
  } catch (cause) {
    if (cause instanceof InterlockError) throw cause;
    throw new InterlockError('request-invalid', { detail: 'The recipient is no public key of age (age1…).', cause });
  }
  // The web's and Node's types of the same class differ in name only.
  return (await encrypter.encrypt(ReadableStream.from(plain) as never)) as unknown as AsyncIterable<Uint8Array>;
}

/** The format's scrypt recipient, computed beside the event loop, which the package would hold up for a second. */
function passphraseRecipient(passphrase: string): Recipient {
  if (Array.from(passphrase).length < minPassphraseLength) throw new InterlockError('request-invalid', { detail: `The passphrase has at least ${minPassphraseLength} characters.` });
  return {
    async wrapFileKey(fileKey) {
      const salt = randomBytes(16);
      const labelled = Buffer.concat([Buffer.from('age-encryption.org/v1/scrypt'), salt]);
      const key = await scryptOf(passphrase, labelled, 32, { N: 2 ** workFactor, r: 8, p: 1, maxmem: 2 ** (workFactor + 11) });
      const cipher = createCipheriv('chacha20-poly1305', key, fileKeyNonce, { authTagLength: 16 });
      const wrapped = Buffer.concat([cipher.update(fileKey), cipher.final(), cipher.getAuthTag()]);
      return [new Stanza(['scrypt', salt.toString('base64').replaceAll('=', ''), String(workFactor)], new Uint8Array(wrapped))];
    },
  };
}

const scryptOf = promisify<string, Buffer, number, object, Buffer>(scrypt as never);

/** Text as UTF-8 bytes, gathered into chunks of about 64 KiB. */
export async function* bytesOf(texts: AsyncIterable<string> | Iterable<string>): AsyncGenerator<Uint8Array> {
  let parts: string[] = [];
  let length = 0;
  for await (const text of texts) {
    parts.push(text);
    length += text.length;
    if (length < chunkLength) continue;
    yield new Uint8Array(Buffer.from(parts.join('')));
    parts = [];
    length = 0;
  }
  if (length > 0) yield new Uint8Array(Buffer.from(parts.join('')));
}

const chunkLength = 64 * 1024;
