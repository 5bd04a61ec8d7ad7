import { InterlockError } from '../../../resources/outcome/error.ts';
import { shipped } from '../../../resources/terminology/shipped.ts';
import { splitCanonical } from '../../../resources/terminology/source.ts';
import { translate as translated } from '../../../resources/terminology/translate.ts';
import type { Coding, ConceptMap, MapDependency } from '../../../resources/terminology/types.ts';
import type { Exchange } from '../exchange.ts';
import type { Operation } from './operation.ts';
import type { OperationInput } from './parameters.ts';
import { asCoding, codingsOf, contentFor, defined, escaped, findBy, givenResource, instanceOf, parametersResponse } from './terminology.ts';

/** Codes of another system for a code (https://hl7.org/fhir/R4/conceptmap-operation-translate.html). */
export const translate: Operation = {
  name: 'translate',
  definition: 'http://hl7.org/fhir/OperationDefinition/ConceptMap-translate',
  summary: 'Codes of another system for a code',
  levels: ['type', 'instance'],
  types: ['ConceptMap'],
  affectsState: false,
  parameters: [
    { name: 'url', type: 'uri', documentation: 'Canonical URL of the concept map, optionally with |version; without one, all that fit are used' },
    { name: 'conceptMap', type: 'ConceptMap', documentation: 'The concept map itself' },
    { name: 'conceptMapVersion', type: 'string', documentation: 'Its version' },
    { name: 'code', type: 'code', documentation: 'The code' },
    { name: 'system', type: 'uri', documentation: 'Its code system' },
    { name: 'version', type: 'string', documentation: 'Version of the code system' },
    { name: 'source', type: 'uri', documentation: 'Value set that the code is of' },
    { name: 'coding', type: 'Coding', documentation: 'The code as a coding' },
    { name: 'codeableConcept', type: 'CodeableConcept', documentation: 'Codings, each of which is translated' },
    { name: 'target', type: 'uri', documentation: 'Value set that is wanted' },
    { name: 'targetsystem', type: 'uri', documentation: 'Code system that is wanted' },
    { name: 'dependency', type: 'BackboneElement', isRepeating: true, documentation: 'Further values that a translation may depend on: element and concept' },
    { name: 'reverse', type: 'boolean', documentation: 'True: from the target to the source of the map' },
  ],
  async run(exchange, input) {
    const codings = codingsOf(input);
    const reverse = input.flag('reverse') === true;
    const { maps, content } = await mapsOf(exchange, input, codings, reverse);
    const { result, matches } = translated(maps, { codings, reverse, dependencies: dependenciesOf(input), ...defined({ source: input.text('source'), target: input.text('target'), targetSystem: input.text('targetsystem') }) }, content);
    return parametersResponse([
      { name: 'result', valueBoolean: result },
      { name: 'message', valueString: result ? undefined : matches.length > 0 ? 'The code is known to have no match.' : maps.length > 0 ? 'No map that was used has this code.' : 'No map for this code is known here.' },
      ...matches.map(({ equivalence, concept, product, source }) => ({
        name: 'match',
        part: [
          { name: 'equivalence', valueCode: equivalence },
          ...(concept === undefined ? [] : [{ name: 'concept', valueCoding: concept }]),
          ...(product ?? []).map(({ property, system, value, display }) => ({ name: 'product', part: [{ name: 'element', valueUri: property }, { name: 'concept', valueCoding: defined({ system, code: value, display }) }] })),
          ...(source === undefined ? [] : [{ name: 'source', valueUri: source }]),
        ],
      })),
    ]);
  },
};

type Content = Awaited<ReturnType<typeof contentFor>>;

async function mapsOf(exchange: Exchange, input: OperationInput, codings: readonly Coding[], reverse: boolean): Promise<{ readonly maps: readonly ConceptMap[]; readonly content: Content }> {
  const own = (await instanceOf<ConceptMap>(exchange)) ?? givenResource<ConceptMap>(input, 'conceptMap', 'ConceptMap');
  if (own !== undefined) return { maps: [own], content: await contentFor(exchange, [], [own]) };
  const canonical = input.text('url');
  if (canonical !== undefined) {
    const { url, version = input.text('conceptMapVersion') } = splitCanonical(canonical);
    const content = await contentFor(exchange, [{ type: 'ConceptMap', url }]);
    const map = content.conceptMap(url, version);
    if (map === undefined) throw new InterlockError('not-found', { detail: 'The concept map is not known here.' });
    return { maps: [map], content };
  }
  const systems = codings.flatMap(({ system }) => (system === undefined ? [] : [system]));
  if (systems.length === 0) throw new InterlockError('request-invalid', { detail: 'The code system of the code, or a concept map, is needed.' });
  const found = await findBy(exchange, 'ConceptMap', [[reverse ? 'target-system' : 'source-system', systems.map(escaped).join(',')]]);
  const posted = found.map((version) => version.resource() as unknown as ConceptMap);
  const urls = new Set([...posted, ...shipped.conceptMaps()].flatMap(({ url }) => (url === undefined ? [] : [url])));
  const content = await contentFor(exchange, [...urls].map((url) => ({ type: 'ConceptMap', url })));
  return { maps: [...[...urls].map((url) => content.conceptMap(url)!), ...posted.filter(({ url }) => url === undefined)], content };
}

function dependenciesOf(input: OperationInput): readonly MapDependency[] {
  return input.all('dependency').map((parts) => {
    const part = (name: string): Record<string, unknown> | undefined => (Array.isArray(parts) ? (parts as Record<string, unknown>[]).find((one) => one['name'] === name) : undefined);
    const property = part('element')?.['valueUri'];
    const concept = part('concept');
    const given = (concept?.['valueCodeableConcept'] as { coding?: unknown[] } | undefined)?.coding?.[0] ?? concept?.['valueCoding'];
    const { system, code } = asCoding(given);
    if (typeof property !== 'string' || code === undefined) throw new InterlockError('request-invalid', { detail: 'A dependency has an element and a concept.' });
    return { property, value: code, ...(system === undefined ? {} : { system }) };
  });
}
