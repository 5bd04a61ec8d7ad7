import type { ClientMetadata, JWKS } from 'oidc-provider';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';
import { parseScope, type Scope } from '../access/scopes.ts';

/**
 * How a client authenticates: not at all, with a secret, with a key pair
 * (https://hl7.org/fhir/smart-app-launch/STU2.2/client-confidential-asymmetric.html), or by its TLS certificate (RFC 8705).
 */
export type ClientType = 'public' | 'confidential-secret' | 'jwks' | 'tls';

/** The grants that are offered. */
export const grantTypes = ['authorization_code', 'refresh_token', 'client_credentials'] as const;
export type GrantType = (typeof grantTypes)[number];

export interface NewClient {
  /** Shown to people on the consent page. */
  readonly name: string;
  readonly type: ClientType;
  /** Compared exactly. `https:`, `http:` on the loopback, or a private-use scheme that holds a dot. */
  readonly redirectUris?: readonly string[];
  /** Space-separated patterns of what may be granted, such as `system/*.cruds` or `launch/patient patient/*.rs`. */
  readonly scope: string;
  /** Public keys, of type `jwks`: RSA for RS384 or P-384 for ES384. Of type `tls`: self-signed certificates, as `x5c`. */
  readonly jwks?: unknown;
  /** Or where the keys are published (https). */
  readonly jwksUri?: string;
  /** Of type `tls`: the subject of a certificate that this server's authority issued (RFC 4514, such as `CN=Example Lab,OU=partner,O=Interlock`). */
  readonly tlsSubject?: string;
  /** Absent: what the redirect URIs and scopes call for. */
  readonly grantTypes?: readonly string[];
  /** Its tokens are bound to a key that it proves to hold with every request (RFC 9449). */
  readonly requireDpop?: boolean;
  /** Its tokens are bound to its TLS certificate (RFC 8705). */
  readonly requireMtls?: boolean;
}

/** What is kept of a client, sealed; checked by {@link checkedClient}. */
export interface Registration {
  readonly name: string;
  readonly type: ClientType;
  readonly redirectUris: readonly string[];
  readonly scope: string;
  readonly grantTypes?: readonly GrantType[];
  readonly jwks?: JWKS;
  readonly jwksUri?: string;
  readonly tlsSubject?: string;
  readonly requireDpop?: boolean;
  readonly requireMtls?: boolean;
  /** SHA-256 of the secret, which is 256 random bits: nothing slower is needed, and nothing readable is kept. */
  readonly secretHash?: string;
}

const jwkSchema = z.union([
  z.object({ kty: z.literal('RSA'), n: z.string().min(340).max(2_800), e: z.string().max(16) }),
  z.object({ kty: z.literal('EC'), crv: z.literal('P-384'), x: z.string().max(100), y: z.string().max(100) }),
]);
const privateParts = { d: z.undefined().optional(), p: z.undefined().optional(), q: z.undefined().optional(), k: z.undefined().optional() };
const signingKeySchema = jwkSchema.and(z.looseObject({ kid: z.string().max(256).optional(), ...privateParts }));
const certificateKeySchema = z.looseObject({ kty: z.enum(['RSA', 'EC']), x5c: z.array(z.string().max(10_000)).min(1).max(5), ...privateParts });
const keySetOf = (key: z.ZodType) => z.object({ keys: z.array(key).min(1).max(20) });
const keySetSchema = keySetOf(signingKeySchema);
const certificateSetSchema = keySetOf(certificateKeySchema);

const refuse = (expression: string, detail: string): never => {
  throw new InterlockError('business-rule', { expression, detail });
};

/** What a client asks for, found fit to be kept. @param assertUrl refuses URLs that no key set is fetched from @throws InterlockError `business-rule` */
export function checkedClient(input: NewClient, assertUrl: (url: string) => void): Registration {
  const { type, redirectUris = [], requireDpop = false, requireMtls = false } = input;
  const name = input.name.normalize('NFKC').trim();
  // Control and formatting characters could make a name look like another one on the consent page.
  if (!/^[^\p{C}]{1,100}$/u.test(name)) refuse('name', 'A name has 1 to 100 visible characters.');
  const scopes = [...new Set(input.scope.split(/\s+/).filter(Boolean))];
  const parsed = scopes.map((text) => parseScope(text) ?? refuse('scope', 'A scope is not in SMART v1 or v2 syntax, or names no R4 type.'));
  if (parsed.length === 0 || parsed.length > 500) refuse('scope', 'A client has 1 to 500 scopes.');
  if (type === 'public' && parsed.some(isForItself)) refuse('scope', 'A public client has no identity of its own, so it can hold no system scope.');
  if (redirectUris.length > 20 || !redirectUris.every(isRedirectUri)) refuse('redirectUris', 'A redirect URI is https, http on the loopback, or has a private-use scheme with a dot; it is written in its normal form, without a fragment, user or wildcard.');
  if (parsed.some((scope) => !isForItself(scope)) && redirectUris.length === 0) refuse('redirectUris', 'Scopes other than system/ need a redirect URI.');
  const grants = input.grantTypes === undefined ? undefined : grantsOf(input.grantTypes, parsed, redirectUris);
  return {
    name, type, redirectUris, scope: scopes.join(' '),
    ...(grants === undefined ? {} : { grantTypes: grants }),
    ...(requireDpop ? { requireDpop } : {}),
    ...(requireMtls ? { requireMtls } : {}),
    ...checkedKeys(input, assertUrl),
  };
}

/** The keys or certificates by which a client authenticates. @throws InterlockError `business-rule` */
export function checkedKeys({ type, jwks, jwksUri, tlsSubject }: Pick<NewClient, 'type' | 'jwks' | 'jwksUri' | 'tlsSubject'>, assertUrl: (url: string) => void): Pick<Registration, 'jwks' | 'jwksUri' | 'tlsSubject'> {
  if (type === 'tls') {
    if ((jwks === undefined) === (tlsSubject === undefined) || jwksUri !== undefined) refuse('tlsSubject', 'Give either the subject of the certificate or the certificates themselves.');
    if (tlsSubject !== undefined) return /^[^\p{C}]{1,300}$/u.test(tlsSubject) ? { tlsSubject } : refuse('tlsSubject', 'A subject is an RFC 4514 name.');
    const certificates = certificateSetSchema.safeParse(jwks);
    return certificates.success ? { jwks: certificates.data as unknown as JWKS } : refuse('jwks', 'A set of certificates holds 1 to 20 public keys with their certificates (x5c).');
  }
  if (type !== 'jwks') return jwks === undefined && jwksUri === undefined ? {} : refuse('jwks', 'Only a client that authenticates with keys has a key set.');
  if ((jwks === undefined) === (jwksUri === undefined)) refuse('jwks', 'Give either a key set or the URL of one.');
  if (jwksUri !== undefined) {
    assertUrl(jwksUri);
    return { jwksUri };
  }
  const keys = keySetSchema.safeParse(jwks);
  return keys.success ? { jwks: keys.data as unknown as JWKS } : refuse('jwks', 'A key set holds 1 to 20 public keys: RSA of at least 2048 bits, or EC on P-384.');
}

function grantsOf(asked: readonly string[], scopes: readonly Scope[], redirectUris: readonly string[]): GrantType[] {
  const known = grantTypes.filter((grant) => asked.includes(grant));
  if (known.length === 0 || asked.some((grant) => !(grantTypes as readonly string[]).includes(grant))) refuse('grantTypes', 'A grant type is authorization_code, refresh_token or client_credentials.');
  if (known.includes('authorization_code') !== redirectUris.length > 0) refuse('grantTypes', 'The grant authorization_code and a redirect URI come together.');
  if (known.includes('refresh_token') && !known.includes('authorization_code')) refuse('grantTypes', 'The grant refresh_token comes with authorization_code.');
  if (known.includes('client_credentials') !== scopes.some(isForItself)) refuse('grantTypes', 'The grant client_credentials and system scopes come together.');
  return known;
}

function isForItself(scope: Scope): boolean {
  return scope.kind === 'resource' && scope.level === 'system';
}

/** In its normal form only: what parsers read differently is never registered. */
function isRedirectUri(uri: string): boolean {
  const url = URL.parse(uri);
  if (url === null || uri.length > 500 || /[#*\s]/.test(uri) || url.username !== '' || url.password !== '') return false;
  if (url.href !== uri && url.href !== `${uri}/`) return false;
  if (url.protocol === 'https:') return true;
  if (url.protocol === 'http:') return ['localhost', '127.0.0.1', '[::1]'].includes(url.hostname);
  return url.protocol.includes('.');
}

/** A client as oidc-provider knows it; `client_secret` holds the secret's hash. */
export function metadataOf(clientId: string, registration: Registration): ClientMetadata {
  const { name, type, redirectUris, scope, jwks, jwksUri, tlsSubject, secretHash: hash, requireDpop, requireMtls } = registration;
  const interactive = redirectUris.length > 0;
  const forItself = type !== 'public' && scope.split(' ').some((text) => text.startsWith('system/'));
  const methods = { public: 'none', 'confidential-secret': 'client_secret_basic', jwks: 'private_key_jwt', tls: jwks === undefined ? 'tls_client_auth' : 'self_signed_tls_client_auth' } as const;
  return {
    client_id: clientId,
    client_name: name,
    application_type: redirectUris.some((uri) => !/^https?:/.test(uri)) ? 'native' : 'web',
    redirect_uris: [...redirectUris],
    response_types: interactive ? ['code'] : [],
    grant_types: [...(registration.grantTypes ?? [...(interactive ? ['authorization_code', 'refresh_token'] : []), ...(forItself ? ['client_credentials'] : [])])],
    token_endpoint_auth_method: methods[type],
    ...(hash === undefined ? {} : { client_secret: hash }),
    ...(jwks === undefined ? {} : { jwks }),
    ...(jwksUri === undefined ? {} : { jwks_uri: jwksUri }),
    ...(tlsSubject === undefined ? {} : { tls_client_auth_subject_dn: tlsSubject }),
    ...(requireDpop === true ? { dpop_bound_access_tokens: true } : {}),
    ...(requireMtls === true ? { tls_client_certificate_bound_access_tokens: true } : {}),
  };
}
