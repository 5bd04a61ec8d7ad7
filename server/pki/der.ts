import forge from 'node-forge';

/** DER by node-forge (ITU-T X.690), reduced to what certificates and revocation lists need. */

const { asn1 } = forge;
const { Class, Type } = asn1;

// What node-forge can do and its published types leave out: options, any tag number, a helper.
const untyped = forge as unknown as {
  readonly asn1: {
    create(tagClass: forge.asn1.Class, tag: number, constructed: boolean, value: string | Node[]): Node;
    fromDer(bytes: forge.util.ByteStringBuffer, options: { strict: boolean; parseAllBytes: boolean; decodeBitStrings: boolean }): Node;
  };
  readonly util: { bytesFromIP(address: string): string | null };
};

/** A node of an ASN.1 tree. */
export type Node = forge.asn1.Asn1;

/** SEQUENCE */
export const sequence = (...items: Node[]): Node => asn1.create(Class.UNIVERSAL, Type.SEQUENCE, true, items);
/** SET of one element, which is all that a relative distinguished name needs. */
export const setOf = (item: Node): Node => asn1.create(Class.UNIVERSAL, Type.SET, true, [item]);
/** INTEGER from its bytes, big-endian, two's complement. */
export const integer = (bytes: Uint8Array): Node => asn1.create(Class.UNIVERSAL, Type.INTEGER, false, binary(bytes));
/** INTEGER from a number that is not negative. */
export const smallInteger = (value: number): Node => {
  const hex = value.toString(16);
  const bytes = Buffer.from(hex.length % 2 === 0 ? hex : `0${hex}`, 'hex');
  return integer((bytes[0] ?? 0) > 0x7f ? Buffer.concat([Buffer.of(0), bytes]) : bytes);
};
/** OBJECT IDENTIFIER in dotted form */
export const objectId = (dotted: string): Node => asn1.create(Class.UNIVERSAL, Type.OID, false, asn1.oidToDer(dotted).getBytes());
/** UTF8String */
export const utf8 = (text: string): Node => asn1.create(Class.UNIVERSAL, Type.UTF8, false, binary(Buffer.from(text, 'utf8')));
/** OCTET STRING */
export const octets = (bytes: Uint8Array): Node => asn1.create(Class.UNIVERSAL, Type.OCTETSTRING, false, binary(bytes));
/** BIT STRING of whole bytes, or with `unusedBits` at its end */
export const bits = (bytes: Uint8Array, unusedBits = 0): Node => asn1.create(Class.UNIVERSAL, Type.BITSTRING, false, String.fromCharCode(unusedBits) + binary(bytes));
/** BOOLEAN TRUE */
export const yes = (): Node => asn1.create(Class.UNIVERSAL, Type.BOOLEAN, false, '\xff');
/** Context-specific tag around other nodes (constructed). */
export const tagged = (tag: number, ...items: Node[]): Node => untyped.asn1.create(Class.CONTEXT_SPECIFIC, tag, true, items);
/** Context-specific tag with bytes of its own (primitive). */
export const taggedBytes = (tag: number, bytes: Uint8Array): Node => untyped.asn1.create(Class.CONTEXT_SPECIFIC, tag, false, binary(bytes));
/** UTCTime before 2050, GeneralizedTime from then on (RFC 5280, section 4.1.2.5). */
export const time = (at: Date): Node =>
  at.getUTCFullYear() < 2050
    ? asn1.create(Class.UNIVERSAL, Type.UTCTIME, false, asn1.dateToUtcTime(at))
    : asn1.create(Class.UNIVERSAL, Type.GENERALIZEDTIME, false, asn1.dateToGeneralizedTime(at));

/** Serialises a tree. */
export function encode(node: Node): Buffer {
  return Buffer.from(asn1.toDer(node).getBytes(), 'latin1');
}

/** Parses one tree. Bit strings are left as they are. @throws Error if it is not DER */
export function decode(der: Uint8Array): Node {
  // Decoding bit strings must be off: the bytes of a key can look like DER by chance.
  return untyped.asn1.fromDer(forge.util.createBuffer(binary(der)), { strict: true, parseAllBytes: true, decodeBitStrings: false });
}

/** The children of a constructed node. @throws Error if it has none */
export function children(node: Node | undefined): Node[] {
  if (node === undefined || !Array.isArray(node.value)) throw new Error('Not a constructed ASN.1 value.');
  return node.value;
}

/** The bytes of a primitive node. @throws Error if it is constructed */
export function content(node: Node | undefined): Buffer {
  if (node === undefined || typeof node.value !== 'string') throw new Error('Not a primitive ASN.1 value.');
  return Buffer.from(node.value, 'latin1');
}

/** Reads a UTCTime or GeneralizedTime. */
export function timeOf(node: Node | undefined): Date {
  const text = content(node).toString('latin1');
  return node?.type === Type.UTCTIME ? asn1.utcTimeToDate(text) : asn1.generalizedTimeToDate(text);
}

/** Wraps DER as PEM (RFC 7468). */
export function pem(label: 'CERTIFICATE' | 'X509 CRL', der: Uint8Array): string {
  const lines = Buffer.from(der).toString('base64').match(/.{1,64}/g) ?? [];
  return `-----BEGIN ${label}-----\n${lines.join('\n')}\n-----END ${label}-----\n`;
}

/** The DER of the first PEM block of a text. @throws Error if there is none */
export function unpem(text: string): Buffer {
  const block = /-----BEGIN [A-Z0-9 ]+-----([A-Za-z0-9+/=\s]+)-----END /.exec(text)?.[1];
  if (block === undefined) throw new Error('Not PEM.');
  return Buffer.from(block, 'base64');
}

/** The 4 or 16 bytes of an IP address. */
export function ipBytes(address: string): Buffer {
  return Buffer.from(untyped.util.bytesFromIP(address) ?? '', 'latin1');
}

function binary(bytes: Uint8Array): string {
  return Buffer.from(bytes).toString('latin1');
}
