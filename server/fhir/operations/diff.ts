import { isResourceType } from '../../../resources/definitions/index.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import type { StoredVersion } from '../../storage/contract.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { diffOf } from '../patch/diff.ts';
import { parseExact, writeExact } from '../patch/exact-json.ts';
import { fhirJson } from '../responses.ts';
import { idPattern } from '../routes.ts';
import type { Operation } from './operation.ts';

/**
 * What differs between two versions of a resource, or between two resources of a type, as a FHIRPath Patch that makes the
 * one of the other: the operation of HAPI FHIR (https://hapifhir.io/hapi-fhir/docs/server_jpa/diff.html). R4 has none.
 */
export const diff: Operation = {
  name: 'diff',
  definition: 'http://hapifhir.io/fhir/OperationDefinition/diff',
  summary: 'What differs between two versions of a resource, or two resources',
  levels: ['system', 'instance'],
  types: 'every',
  affectsState: false,
  parameters: [
    { name: 'from', type: 'string', documentation: 'At system level: Type/id or Type/id/_history/version' },
    { name: 'to', type: 'string', documentation: 'At system level: another of the same type' },
    { name: 'fromVersion', type: 'string', documentation: 'On an instance: the version to compare the current one with; without it, the one before' },
    { name: 'includeMeta', type: 'boolean', documentation: 'True: meta is compared too' },
  ],
  async run(exchange, input) {
    const [from, to] = exchange.id === undefined ? await both(exchange, input.text('from'), input.text('to')) : await versions(exchange, input.text('fromVersion'));
    const type = to.type;
    const ignored = new Set(input.flag('includeMeta') === true ? [] : ['meta']);
    const tree = (version: StoredVersion) => parseExact(version.bytes.toString());
    if (from === undefined) return answer([{ name: 'operation', part: [{ name: 'type', valueCode: 'insert' }, { name: 'path', valueString: type }, { name: 'value', resource: tree(to) }] }]);
    // Two resources are told apart by their ids; that they have others is no difference.
    if (from.id !== to.id) ignored.add('id');
    return answer(diffOf(tree(from), tree(to), ignored));
  },
};

/** The current version of the instance and an earlier one; of the first version, none. */
async function versions({ guard, type, id }: Exchange, named: string | undefined): Promise<readonly [StoredVersion | undefined, StoredVersion]> {
  if (named !== undefined && !/^[1-9][0-9]{0,8}$/.test(named)) throw new InterlockError('request-invalid', { detail: 'Parameter fromVersion is a version id.' });
  const to = await guard.read(type!, id!);
  if (named !== undefined) return [await guard.vread(type!, id!, Number(named)), to];
  // A deletion has no content to compare with, so that what follows it is as new as a first version.
  const { versions: past } = await guard.history({ type: type!, id: id! }, { count: 2 });
  const before = past.find(({ versionId }) => versionId === to.versionId - 1);
  return [before?.deleted === false ? before : undefined, to];
}

async function both(exchange: Exchange, from: string | undefined, to: string | undefined): Promise<readonly [StoredVersion, StoredVersion]> {
  const [one, other] = [placeOf(from, 'from'), placeOf(to, 'to')];
  if (one.type !== other.type) throw new InterlockError('request-invalid', { detail: 'Two resources of one type can be compared.' });
  return [await readAt(exchange, one), await readAt(exchange, other)];
}

interface Place {
  readonly type: string;
  readonly id: string;
  readonly versionId?: number;
}

function placeOf(reference: string | undefined, name: string): Place {
  const [, type = '', id = '', version] = /^([A-Za-z]+)\/([^/]+)(?:\/_history\/([1-9][0-9]{0,8}))?$/.exec(reference ?? '') ?? [];
  if (!isResourceType(type) || !idPattern.test(id)) throw new InterlockError('request-invalid', { detail: `Parameter ${name} is Type/id, perhaps with /_history/version.` });
  return { type, id, ...(version === undefined ? {} : { versionId: Number(version) }) };
}

async function readAt({ guard }: Exchange, { type, id, versionId }: Place): Promise<StoredVersion> {
  return versionId === undefined ? guard.read(type, id) : guard.vread(type, id, versionId);
}

function answer(parameter: readonly unknown[]): FhirResponse {
  const body = writeExact({ resourceType: 'Parameters', ...(parameter.length === 0 ? {} : { parameter }) });
  return { status: 200, headers: { 'Content-Type': fhirJson }, body: Buffer.from(body) };
}
