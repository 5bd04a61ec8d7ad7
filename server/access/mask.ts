import { isDeepStrictEqual } from 'node:util';
import { InterlockError } from '../../resources/outcome/error.ts';
import { itemsOf, membersOf, skipSpace, skipValue } from '../../resources/validate/splice.ts';
import { subsetted, withSubsettedTag } from '../../resources/validate/select.ts';
import type { ResourceJson, StoredVersion } from '../storage/contract.ts';
import type { AccessContext, HiddenTree, Masks } from './context.ts';

const resourceTypeName = '"resourceType"';

/**
 * A version as a caller may see it: without what its role hides, and tagged as SUBSETTED then
 * (https://hl7.org/fhir/R4/resource.html#simple-tags). What has masked elements is always tagged, so that the tag does not
 * tell whether there was anything to hide. The same object if nothing is hidden.
 */
export function masked<T extends StoredVersion>(version: T, { masks, actor }: Pick<AccessContext, 'masks' | 'actor'>): T {
  if (version.deleted) return version;
  if (version.type === 'AuditEvent') return actor.kind === 'user' ? version : withBytes(version, withoutRule(version));
  if (masks === undefined) return version;
  const isMasked = masks.trees.has(version.type);
  // Most resources hold no other.
  if (!isMasked && !holdsResources(version.bytes)) return version;
  const bytes = cutResource(version.bytes, masks);
  if (!isMasked && bytes.length === version.bytes.length) return version;
  return withBytes(version, withSubsettedTag(bytes));
}

/** Which rule refused a request is for auditors, who are people. */
function withoutRule(version: StoredVersion): Buffer {
  const event = version.resource();
  const { outcomeDesc } = event;
  return typeof outcomeDesc === 'string' && outcomeDesc.includes(': ') ? Buffer.from(JSON.stringify({ ...event, outcomeDesc: outcomeDesc.split(': ', 1)[0] })) : version.bytes;
}

/**
 * What a patch by a caller to whom parts are hidden makes of the version as it really is: the parts come back as they were.
 * Decided by what the caller sees and sent alone, so that the outcome tells nothing of them.
 * @param shown what the patch was applied to
 * @throws InterlockError `forbidden` if the patch concerns an element that is hidden, in whole or in part
 */
function unmasked({ raw, shown, patched, masks }: { readonly raw: StoredVersion; readonly shown: StoredVersion; readonly patched: Buffer; readonly masks: Masks | undefined }): Buffer {
  if (raw === shown) return patched;
  const tree: HiddenTree = masks?.trees.get(raw.type) ?? new Map();
  const [before, seen, after] = [topOf(raw.bytes), topOf(shown.bytes), topOf(patched)];
  const isPartial = (name: string) => name !== 'meta' && (tree.has(name) || (before.has(name) && !same(before.get(name), seen.get(name))));
  const names = [...new Set([...after.keys(), ...before.keys(), ...tree.keys()])];
  const members: Buffer[] = [];
  for (const name of names) {
    if (isPartial(name) && !same(seen.get(name), after.get(name))) throw new InterlockError('forbidden', { rule: `mask: a patch concerns an element of ${raw.type} that is hidden` });
    const value = isPartial(name) ? before.get(name) : name === 'meta' ? withoutTag(after.get(name)) : after.get(name);
    if (value !== undefined) members.push(Buffer.concat([Buffer.from(`${JSON.stringify(name)}:`), value]));
  }
  return Buffer.concat([Buffer.from('{'), ...members.flatMap((member, index) => (index === 0 ? [member] : [Buffer.from(','), member])), Buffer.from('}')]);
}

/**
 * A patch as a caller makes it to whom parts may be hidden: of what it sees, the hidden parts staying as they are.
 * @throws InterlockError `forbidden`, and what `change` throws
 */
export function patchAs<T extends Content>(context: AccessContext, raw: StoredVersion, change: (current: StoredVersion) => T): { readonly made: T; readonly isMerged: boolean } {
  const shown = masked(raw, context);
  const made = change(shown);
  if (shown === raw) return { made, isMerged: false };
  const bytes = unmasked({ raw, shown, patched: made.bytes ?? Buffer.from(JSON.stringify(made.resource)), masks: context.masks });
  return { made: { ...made, resource: JSON.parse(bytes.toString()) as ResourceJson, bytes }, isMerged: true };
}

interface Content {
  readonly resource: ResourceJson;
  readonly bytes?: Buffer;
}

/** A contained resource as it is given by itself. */
export function maskedPart(resource: ResourceJson, { masks }: Pick<AccessContext, 'masks'>): ResourceJson {
  if (masks === undefined) return resource;
  const bytes = cutResource(Buffer.from(JSON.stringify(resource)), masks);
  return JSON.parse((masks.trees.has(resource.resourceType) ? withSubsettedTag(bytes) : bytes).toString()) as ResourceJson;
}

/** Refuses to replace what is hidden in part. @throws InterlockError `forbidden` */
export function assertMayReplace({ masks }: Pick<AccessContext, 'masks'>, type: string): void {
  if (masks?.trees.has(type) === true) throw new InterlockError('forbidden', { rule: `mask: elements of ${type} are hidden, and an update would remove them; a patch of others is permitted` });
}

function withBytes<T extends StoredVersion>(version: T, bytes: Buffer): T {
  let parsed: ResourceJson | undefined;
  const { type, id, versionId, lastUpdated, deleted, order, file } = version;
  const view: StoredVersion = {
    type, id, versionId, lastUpdated, deleted, order, bytes,
    ...(file === undefined ? {} : { file }),
    resource: () => (parsed ??= JSON.parse(bytes.toString()) as ResourceJson),
    patients: () => version.patients(),
  };
  return view as T;
}

function holdsResources(bytes: Buffer): boolean {
  const first = bytes.indexOf(resourceTypeName);
  return bytes.indexOf(resourceTypeName, first + resourceTypeName.length) !== -1;
}

function cutResource(bytes: Buffer, masks: Masks): Buffer {
  const start = skipSpace(bytes, 0);
  return cut(bytes, start, skipValue(bytes, start), undefined, masks, true) ?? bytes;
}

/** A value without what is hidden; byte for byte as it was where nothing is. Undefined: nothing is left. */
function cut(bytes: Buffer, start: number, end: number, tree: HiddenTree | undefined, masks: Masks, isOuter = false): Buffer | undefined {
  const first = bytes[start];
  if (first === 0x5b) {
    const items = itemsOf(bytes, start);
    const kept = items.flatMap((item) => cut(bytes, item, skipValue(bytes, item), tree, masks) ?? []);
    if (items.length > 0 && kept.length === 0) return undefined;
    return joined('[', kept, ']');
  }
  if (first !== 0x7b) return bytes.subarray(start, end);
  const members = membersOf(bytes, start);
  const type = members.find(({ name }) => name === 'resourceType');
  const typeName = type === undefined ? undefined : bytes.toString('utf8', type.valueStart + 1, type.valueEnd - 1);
  if (typeName !== undefined && !isOuter && masks.closed.has(typeName)) return undefined;
  const hidden = typeName === undefined ? tree : masks.trees.get(typeName);
  const kept = members.flatMap(({ name, valueStart, valueEnd }) => {
    const below = hidden?.get(name);
    const value = below === 'hidden' ? undefined : cut(bytes, valueStart, valueEnd, below, masks);
    return value === undefined ? [] : [Buffer.concat([Buffer.from(`${JSON.stringify(name)}:`), value])];
  });
  if (members.length > 0 && kept.length === 0) return undefined;
  return joined('{', kept, '}');
}

function joined(open: string, parts: readonly Buffer[], close: string): Buffer {
  return Buffer.concat([Buffer.from(open), ...parts.flatMap((part, index) => (index === 0 ? [part] : [Buffer.from(','), part])), Buffer.from(close)]);
}

function topOf(bytes: Buffer): Map<string, Buffer> {
  return new Map(membersOf(bytes, skipSpace(bytes, 0)).map(({ name, valueStart, valueEnd }) => [name, bytes.subarray(valueStart, valueEnd)]));
}

function same(one: Buffer | undefined, other: Buffer | undefined): boolean {
  if (one === undefined || other === undefined) return one === other;
  return one.equals(other) || isDeepStrictEqual(JSON.parse(one.toString()), JSON.parse(other.toString()));
}

/** The tag says what went out, not what is stored. */
function withoutTag(meta: Buffer | undefined): Buffer | undefined {
  if (meta === undefined) return undefined;
  const { tag, ...rest } = JSON.parse(meta.toString()) as { readonly tag?: readonly { readonly system?: string; readonly code?: string }[] };
  const tags = (tag ?? []).filter(({ system, code }) => system !== subsetted.system || code !== subsetted.code);
  return Buffer.from(JSON.stringify(tags.length === 0 ? rest : { ...rest, tag: tags }));
}
