import { readFileSync } from 'node:fs';
import { dirname, resolve } from 'node:path';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import { roleOf } from '../access/roles.ts';

const name = z.string().min(1).max(200);

const schema = z.strictObject({
  /** What the button on the sign-in page says. */
  name: z.string().min(1).max(60),
  issuer: z.url({ protocol: /^https$/ }).max(500),
  clientId: name,
  /** A file that holds the client secret and nothing else; relative to this one. */
  clientSecretFile: name,
  /** A PEM file of authorities to trust instead of the system's. */
  caFile: name.optional(),
  scope: z.string().max(500).regex(/(?:^| )openid(?: |$)/).default('openid profile'),
  /** Claim of the id_token that holds the name to show. */
  usernameClaim: name.default('preferred_username'),
  /** The first rule that fits gives the role; none: no access. */
  roles: z.array(z.strictObject({ claim: name, equals: name, role: name })).min(1).max(200),
  /** Claims that hold the logical id of the person's Practitioner or Patient. */
  practitionerClaim: name.optional(),
  patientClaim: name.optional(),
  /** Any of these values says that a second factor was used. */
  mfa: z.strictObject({ amr: z.array(name).max(20).default([]), acr: z.array(name).max(20).default([]) }),
});

/** A hospital's sign-on: where it is, who gets which role, what counts as second factor. */
export interface SsoSettings extends Omit<z.output<typeof schema>, 'clientSecretFile' | 'caFile'> {
  readonly clientSecret: string;
  readonly caPem?: string;
}

/**
 * Reads the file that INTERLOCK_SSO_FILE names.
 * @throws InterlockError `config-invalid`, which names the element but no value
 */
export function readSsoFile(path: string): SsoSettings {
  const refuse = (detail: string): never => {
    throw new InterlockError('config-invalid', { detail: `INTERLOCK_SSO_FILE: ${detail}` });
  };
  const read = (file: string, what: string): string => {
    try {
      return readFileSync(resolve(dirname(path), file), 'utf8');
    } catch {
      return refuse(`${what} cannot be read.`);
    }
  };
  let json: unknown;
  try {
    json = JSON.parse(read(path, 'the file'));
  } catch (cause) {
    if (cause instanceof InterlockError) throw cause;
    refuse('the file is not JSON.');
  }
  const parsed = schema.safeParse(json);
  if (!parsed.success) return refuse(`${parsed.error.issues[0]!.path.join('.') || 'the file'} is not as documented.`);
  const { clientSecretFile, caFile, ...settings } = parsed.data;
  const unknown = settings.roles.findIndex(({ role }) => roleOf(role) === undefined);
  if (unknown >= 0) refuse(`roles.${unknown}.role is not a role.`);
  if (settings.mfa.amr.length + settings.mfa.acr.length === 0) refuse('mfa names no value of amr or acr.');
  const clientSecret = read(clientSecretFile, 'clientSecretFile').trim();
  if (clientSecret === '') refuse('clientSecretFile is empty.');
  return { ...settings, clientSecret, ...(caFile === undefined ? {} : { caPem: read(caFile, 'caFile') }) };
}
