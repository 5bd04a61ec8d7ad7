import { createHash, createPublicKey, generateKeyPairSync, randomBytes, sign, X509Certificate, type KeyObject } from 'node:crypto';
import { isIP } from 'node:net';
import { bits, children, content, decode, encode, integer, ipBytes, objectId, octets, pem, sequence, setOf, smallInteger, tagged, taggedBytes, time, unpem, utf8, yes, type Node } from './der.ts';

/** A certificate authority that can sign: its certificate and its private key. */
export interface Authority {
  readonly certificatePem: string;
  readonly key: KeyObject;
}

/** A certificate with the key made for it. */
export interface IssuedCertificate {
  readonly certificatePem: string;
  /** PKCS#8, not encrypted. */
  readonly keyPem: string;
  /** Upper-case hex, as `X509Certificate.serialNumber` and TLS sockets show it. */
  readonly serial: string;
  /** SHA-256 of the DER, upper-case hex with colons, as `X509Certificate.fingerprint256`. */
  readonly fingerprint: string;
  readonly notAfter: Date;
}

/** What a certificate is to be. */
export interface CertificateRequest {
  readonly commonName: string;
  readonly organizationalUnit?: string;
  readonly usages: readonly ('server' | 'client')[];
  /** DNS names and IP addresses for subjectAltName. */
  readonly hosts?: readonly string[];
  readonly validDays: number;
}

const dayMs = 24 * 3600_000;
/** Certificates count from an hour ago, for clocks that are behind. */
const backdateMs = 3600_000;

const oid = {
  commonName: '2.5.4.3', organization: '2.5.4.10', organizationalUnit: '2.5.4.11',
  ecdsaWithSha256: '1.2.840.10045.4.3.2',
  subjectKeyIdentifier: '2.5.29.14', keyUsage: '2.5.29.15', subjectAltName: '2.5.29.17', basicConstraints: '2.5.29.19', authorityKeyIdentifier: '2.5.29.35', extKeyUsage: '2.5.29.37',
  server: '1.3.6.1.5.5.7.3.1', client: '1.3.6.1.5.5.7.3.2',
} as const;

// Bits of keyUsage (RFC 5280, section 4.2.1.3), first byte, with the number of unused bits.
const digitalSignature = bits(Buffer.of(0x80), 7);
const certAndCrlSign = bits(Buffer.of(0x06), 1);

/** Makes a self-signed authority (ECDSA P-256, SHA-256; RFC 5280) that may sign leaf certificates and revocation lists only. */
export function createAuthority(request: { readonly commonName: string; readonly validDays: number }): Authority {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const name = distinguishedName(request.commonName);
  const extensions = [
    extension(oid.basicConstraints, sequence(yes(), smallInteger(0)), true),
    extension(oid.keyUsage, certAndCrlSign, true),
    extension(oid.subjectKeyIdentifier, octets(keyIdentifier(publicKey))),
  ];
  const der = signedCertificate({ issuer: name, subject: name, publicKey, extensions, validDays: request.validDays, signer: privateKey });
  return { certificatePem: pem('CERTIFICATE', der), key: privateKey };
}

/** Makes a key pair (ECDSA P-256) and a certificate for it. */
export function issueCertificate(authority: Authority, request: CertificateRequest): IssuedCertificate {
  const { privateKey, publicKey } = generateKeyPairSync('ec', { namedCurve: 'P-256' });
  const hosts = request.hosts ?? [];
  const extensions = [
    extension(oid.basicConstraints, sequence(), true),
    extension(oid.keyUsage, digitalSignature, true),
    extension(oid.extKeyUsage, sequence(...request.usages.map((usage) => objectId(oid[usage])))),
    extension(oid.subjectKeyIdentifier, octets(keyIdentifier(publicKey))),
    authorityKeyIdentifier(authority),
    ...(hosts.length > 0 ? [extension(oid.subjectAltName, sequence(...hosts.map(generalName)))] : []),
  ];
  const der = signedCertificate({
    issuer: subjectOf(authority), subject: distinguishedName(request.commonName, request.organizationalUnit), publicKey, extensions, validDays: request.validDays, signer: authority.key,
  });
  const certificate = new X509Certificate(der);
  return {
    certificatePem: pem('CERTIFICATE', der),
    keyPem: privateKey.export({ type: 'pkcs8', format: 'pem' }).toString(),
    serial: certificate.serialNumber,
    fingerprint: certificate.fingerprint256,
    notAfter: certificate.validToDate,
  };
}

/** Signs a `tbs` structure with ECDSA and SHA-256 and wraps it as certificates and revocation lists are. */
export function signedStructure(tbs: Node, signer: KeyObject): Buffer {
  return encode(sequence(tbs, signatureAlgorithm(), bits(sign('sha256', encode(tbs), signer))));
}

/** AlgorithmIdentifier of ecdsa-with-SHA256 (RFC 5758, section 3.2). */
export function signatureAlgorithm(): Node {
  return sequence(objectId(oid.ecdsaWithSha256));
}

/** The authority's name, byte for byte as its certificate has it. */
export function subjectOf(authority: Pick<Authority, 'certificatePem'>): Node {
  const subject = children(children(decode(unpem(authority.certificatePem)))[0])[5];
  if (subject === undefined) throw new Error('Not a version 3 certificate.');
  return subject;
}

/** The authorityKeyIdentifier extension of what the authority signs. */
export function authorityKeyIdentifier(authority: Pick<Authority, 'certificatePem'>): Node {
  return extension(oid.authorityKeyIdentifier, sequence(taggedBytes(0, keyIdentifier(createPublicKey(authority.certificatePem)))));
}

/** One X.509 extension. */
export function extension(id: string, value: Node, critical = false): Node {
  return sequence(objectId(id), ...(critical ? [yes()] : []), octets(encode(value)));
}

interface Signable {
  readonly issuer: Node;
  readonly subject: Node;
  readonly publicKey: KeyObject;
  readonly extensions: Node[];
  readonly validDays: number;
  readonly signer: KeyObject;
}

function signedCertificate(parts: Signable): Buffer {
  const now = Date.now();
  const validity = sequence(time(new Date(now - backdateMs)), time(new Date(now + parts.validDays * dayMs)));
  const publicKeyInfo = decode(parts.publicKey.export({ type: 'spki', format: 'der' }));
  const tbs = sequence(tagged(0, smallInteger(2)), integer(randomSerial()), signatureAlgorithm(), parts.issuer, validity, parts.subject, publicKeyInfo, tagged(3, sequence(...parts.extensions)));
  return signedStructure(tbs, parts.signer);
}

/** 126 random bits. The first byte is never zero nor above 0x7f, so that the DER integer has one form only. */
function randomSerial(): Buffer {
  const serial = randomBytes(16);
  serial[0] = (serial[0]! & 0x7f) | 0x40;
  return serial;
}

function distinguishedName(commonName: string, organizationalUnit?: string): Node {
  const part = (id: string, value: string): Node => setOf(sequence(objectId(id), utf8(value)));
  return sequence(part(oid.organization, 'Interlock'), ...(organizationalUnit === undefined ? [] : [part(oid.organizationalUnit, organizationalUnit)]), part(oid.commonName, commonName));
}

/** SHA-1 of the public key bits: an identifier, not a protection (RFC 5280, section 4.2.1.2, method 1). */
function keyIdentifier(key: KeyObject): Buffer {
  const info = children(decode(key.export({ type: 'spki', format: 'der' })));
  return createHash('sha1').update(content(info[1]).subarray(1)).digest();
}

function generalName(host: string): Node {
  return isIP(host) === 0 ? taggedBytes(2, Buffer.from(host, 'ascii')) : taggedBytes(7, ipBytes(host));
}
