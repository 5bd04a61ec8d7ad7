import { searchParamsOf } from '../../../resources/definitions/index.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { assertValid, parseResource } from '../../../resources/validate/index.ts';
import { parseSearch } from '../../search/parse.ts';
import type { Exchange } from '../exchange.ts';
import { parseExact, writeExact } from '../patch/exact-json.ts';
import type { Operation } from './operation.ts';
import { parametersResponse } from './terminology.ts';

/** The lists of a Meta (https://hl7.org/fhir/R4/resource.html#Meta) that these operations tell and change. */
const lists = ['profile', 'security', 'tag'] as const;
type Lists = { readonly [Name in (typeof lists)[number]]?: readonly unknown[] };

/** Resources with any profile, tag or label that one call looks at; more are refused, never half answered. */
const maxExamined = 10_000;
const pageSize = 1_000;

/** Profiles, tags and security labels of a resource, or all that are in use (https://hl7.org/fhir/R4/resource-operation-meta.html). */
export const meta: Operation = {
  name: 'meta',
  definition: 'http://hl7.org/fhir/OperationDefinition/Resource-meta',
  summary: 'Profiles, tags and security labels of a resource, or all that are in use',
  levels: ['system', 'type', 'instance'],
  types: 'every',
  affectsState: false,
  parameters: [],
  async run(exchange) {
    const { guard, type, id } = exchange;
    const found = id === undefined ? await inUse(exchange) : (await guard.read(type!, id)).resource()['meta'];
    return parametersResponse([{ name: 'return', valueMeta: found }]);
  },
};

/** What the resources carry that the caller may search. */
async function inUse({ guard, services, type, request }: Exchange): Promise<Lists> {
  const params = searchParamsOf('Basic');
  const where = { op: 'any', of: ['_profile', '_security', '_tag'].map((code) => ({ op: 'present', param: params.get(code)! }) as const) } as const;
  const parsed = parseSearch(type, [['_count', String(pageSize)]], { strict: true, maxCount: pageSize, ...services.values });
  const asked = { ...parsed, types: type === undefined ? [] : [type], where, total: 'none' as const };
  let all: Lists = {};
  let examined = 0;
  for (let after: string | undefined; ; ) {
    const page = await guard.search(asked, `GET ${request.path}`, after);
    for (const version of page.matches) all = added(all, version.resource()['meta'] ?? {});
    examined += page.matches.length;
    after = page.next;
    if (after === undefined) return all;
    if (examined >= maxExamined) throw new InterlockError('too-costly', { detail: 'More resources carry labels than this server looks at for one answer.' });
  }
}

/** Adds profiles, tags and security labels (https://hl7.org/fhir/R4/resource-operation-meta-add.html). */
export const metaAdd: Operation = {
  name: 'meta-add',
  definition: 'http://hl7.org/fhir/OperationDefinition/Resource-meta-add',
  summary: 'Adds profiles, tags and security labels to a resource',
  levels: ['instance'],
  types: 'every',
  affectsState: true,
  parameters: [{ name: 'meta', type: 'Meta', isRequired: true, documentation: 'What is added; what is there already stays as it is' }],
  run: async (exchange, input) => changed(exchange, input.object('meta')!, added),
};

/** Removes profiles, tags and security labels (https://hl7.org/fhir/R4/resource-operation-meta-delete.html). */
export const metaDelete: Operation = {
  name: 'meta-delete',
  definition: 'http://hl7.org/fhir/OperationDefinition/Resource-meta-delete',
  summary: 'Removes profiles, tags and security labels from a resource',
  levels: ['instance'],
  types: 'every',
  affectsState: true,
  parameters: [{ name: 'meta', type: 'Meta', isRequired: true, documentation: 'What is removed; what is not there is no error' }],
  run: async (exchange, input) => changed(exchange, input.object('meta')!, removed),
};

/** Changes the labels of a resource by a new version; if there is nothing to change, there is none. */
async function changed({ guard, type, id, services }: Exchange, given: Readonly<Record<string, unknown>>, change: (before: Lists, given: Lists) => Lists): Promise<ReturnType<typeof parametersResponse>> {
  const labels = checked(given, type!);
  const before = (await guard.read(type!, id!)).resource()['meta'] as Lists;
  if (lists.every((name) => sizeOf(change(before, labels), name) === sizeOf(before, name))) return parametersResponse([{ name: 'return', valueMeta: before }]);
  const { version } = await guard.patch(type!, id!, (current) => {
    const tree = parseExact(current.bytes.toString()) as Record<string, unknown>;
    const { profile: _profile, security: _security, tag: _tag, ...rest } = tree['meta'] as Record<string, unknown>;
    const bytes = Buffer.from(writeExact({ ...tree, meta: { ...rest, ...change(tree['meta'] as Lists, labels) } }));
    const resource = parseResource(bytes, { maxBytes: services.limits.maxResourceSizeBytes });
    assertValid(resource);
    return { resource, bytes };
  });
  return parametersResponse([{ name: 'return', valueMeta: version.resource()['meta'] }]);
}

/** A Meta like one that is stored. @throws InterlockError `structure-invalid` … */
function checked(given: Readonly<Record<string, unknown>>, type: string): Lists {
  assertValid({ resourceType: 'Basic', meta: given, code: { text: type } });
  return given;
}

function added(before: Lists, given: Lists): Lists {
  return changedLists((name) => {
    const list = [...(before[name] ?? [])];
    const keys = new Set(list.map(keyOf));
    for (const one of given[name] ?? []) {
      if (keys.has(keyOf(one))) continue;
      keys.add(keyOf(one));
      list.push(one);
    }
    return list;
  });
}

function removed(before: Lists, given: Lists): Lists {
  return changedLists((name) => {
    const keys = new Set((given[name] ?? []).map(keyOf));
    return (before[name] ?? []).filter((one) => !keys.has(keyOf(one)));
  });
}

function changedLists(make: (name: (typeof lists)[number]) => readonly unknown[]): Lists {
  return Object.fromEntries(lists.flatMap((name) => {
    const list = make(name);
    return list.length === 0 ? [] : [[name, list]];
  }));
}

function sizeOf(of: Lists, name: (typeof lists)[number]): number {
  return of[name]?.length ?? 0;
}

/** Tags and labels are the same by system and code. */
function keyOf(label: unknown): string {
  if (typeof label === 'string') return label;
  const { system, code } = label as { readonly system?: string; readonly code?: string };
  return JSON.stringify([system, code]);
}
