import { InterlockError } from '../../../resources/outcome/error.ts';
import { assertValid } from '../../../resources/validate/index.ts';
import { parseSearch } from '../../search/parse.ts';
import type { ResourceJson, StoredVersion } from '../../storage/contract.ts';
import { bundleBytes, matchEntry, outcomeEntry } from '../bundles.ts';
import type { Exchange, FhirResponse } from '../exchange.ts';
import { blocksOf, type Block } from '../matching/candidates.ts';
import { scoreOf } from '../matching/compare.ts';
import { personOf } from '../matching/person.ts';
import type { PatientLink } from '../merge.ts';
import { fhirJson } from '../responses.ts';
import type { Operation } from './operation.ts';
import type { OperationInput } from './parameters.ts';

/** Records that one call compares. */
const maxCandidates = 500;
const defaultCount = 20;

/** Finds the records of a person by probability (https://hl7.org/fhir/R4/patient-operation-match.html). */
export const match: Operation = {
  name: 'match',
  definition: 'http://hl7.org/fhir/OperationDefinition/Patient-match',
  summary: 'Finds the records of a person by probability',
  levels: ['type'],
  types: ['Patient'],
  affectsState: false,
  parameters: [
    { name: 'resource', type: 'Resource', isRequired: true, documentation: 'What is known of the person, as a Patient' },
    { name: 'onlyCertainMatches', type: 'boolean', documentation: 'True: one record that certainly matches, or none' },
    { name: 'count', type: 'integer', documentation: 'How many are given at most, the best first' },
  ],
  run,
};

/** Looks for records that have something in common with the person, as the caller, and compares them with what is known. */
async function run(exchange: Exchange, input: OperationInput): Promise<FhirResponse> {
  const { services } = exchange;
  const given = input.resource('resource')!;
  if (given.resourceType !== 'Patient') throw new InterlockError('request-invalid', { detail: 'Parameter resource takes a Patient.' });
  assertValid(given);
  const count = input.count('count') ?? defaultCount;
  if (count === 0) throw new InterlockError('request-invalid', { detail: 'Parameter count is at least 1.' });
  const blocks = blocksOf(given);
  if (blocks.length === 0) throw new InterlockError('business-rule', { detail: 'Too little is known of the person: an identifier, a telecom, a name with a date of birth, or family and given name are needed.' });

  const { candidates, isCut } = await candidatesOf(exchange, blocks);
  const person = personOf(given);
  const scored = candidates.map((version) => ({ version, ...scoreOf(person, personOf(version.resource())) })).filter(({ grade }) => grade !== 'certainly-not');
  const found = withoutReplaced(scored).sort((a, b) => b.score - a.score || (a.version.id < b.version.id ? -1 : 1));
  const certain = found.filter(({ grade }) => grade === 'certain');
  // Of two that are certain, neither is.
  const wanted = input.flag('onlyCertainMatches') === true ? (certain.length === 1 && !isCut ? certain : []) : found.slice(0, Math.min(count, services.limits.maxPageCount));
  const entries = wanted.map((one) => matchEntry(services.baseUrl, one.version, one));
  if (isCut) entries.push(outcomeEntry('Too many records are similar; not all of them were compared. Give more of what is known.'));
  return { status: 200, headers: { 'Content-Type': fhirJson }, body: bundleBytes({ type: 'searchset', total: wanted.length, links: [{ relation: 'self', url: `${services.baseUrl}/Patient/$match` }], entries }) };
}

/** Records that meet one of the blocks; where too many do, those that meet a narrow one are among them. */
async function candidatesOf({ guard, services }: Exchange, blocks: readonly Block[]): Promise<{ readonly candidates: readonly StoredVersion[]; readonly isCut: boolean }> {
  const search = async (some: readonly Block[]): Promise<{ matches: readonly StoredVersion[]; next?: string }> => {
    const parsed = parseSearch('Patient', [], { strict: true, ...services.values });
    const where = { op: 'any', of: some.map(({ pairs }) => parseSearch('Patient', pairs, { strict: true, ...services.values }).where) } as const;
    const query = some.map(({ pairs }) => pairs.map(([name, value]) => `${name}=${value}`).join('&')).join(' or ');
    return guard.search({ ...parsed, where, count: maxCandidates, total: 'none' }, `POST Patient/$match: ${query}`);
  };
  const all = await search(blocks);
  if (all.next === undefined) return { candidates: all.matches, isCut: false };
  const narrow = blocks.filter(({ isNarrow }) => isNarrow);
  const first = narrow.length === 0 ? [] : (await search(narrow)).matches;
  const byId = new Map([...first, ...all.matches].map((version) => [version.id, version]));
  return { candidates: [...byId.values()], isCut: true };
}

/** A record that was merged into another one counts only where that one does not. */
function withoutReplaced<T extends { readonly version: StoredVersion }>(found: readonly T[]): T[] {
  const ids = new Set(found.map(({ version }) => version.id));
  const isReplaced = (patient: ResourceJson): boolean => ((patient['link'] ?? []) as readonly PatientLink[]).some(({ type, other }) => type === 'replaced-by' && ids.has(other.reference?.split('/').at(-1) ?? ''));
  return found.filter(({ version }) => !isReplaced(version.resource()));
}
