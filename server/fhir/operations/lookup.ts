import { InterlockError } from '../../../resources/outcome/error.ts';
import type { CodeSystemIndex } from '../../../resources/terminology/code-system.ts';
import { displayIn } from '../../../resources/terminology/expand.ts';
import { splitCanonical } from '../../../resources/terminology/source.ts';
import { subsumptionOf } from '../../../resources/terminology/subsumes.ts';
import type { CodeSystem, Coding } from '../../../resources/terminology/types.ts';
import type { Exchange } from '../exchange.ts';
import type { Operation } from './operation.ts';
import { asCoding, contentFor, instanceOf, parametersResponse, type OutParameter } from './terminology.ts';

/** What is known of a code (https://hl7.org/fhir/R4/codesystem-operation-lookup.html). */
export const lookup: Operation = {
  name: 'lookup',
  definition: 'http://hl7.org/fhir/OperationDefinition/CodeSystem-lookup',
  summary: 'What is known of a code',
  levels: ['type'],
  types: ['CodeSystem'],
  affectsState: false,
  parameters: [
    { name: 'code', type: 'code', documentation: 'The code' },
    { name: 'system', type: 'uri', documentation: 'Its code system' },
    { name: 'version', type: 'string', documentation: 'Version of the code system' },
    { name: 'coding', type: 'Coding', documentation: 'The code as a coding' },
    { name: 'date', type: 'dateTime', documentation: 'Accepted and not used: definitions are the current ones' },
    { name: 'displayLanguage', type: 'code', documentation: 'Language of the display' },
    { name: 'property', type: 'code', isRepeating: true, documentation: 'Properties to give; without it, all' },
  ],
  async run(exchange, input) {
    const coding = input.object('coding');
    const { system, code, version } = coding === undefined ? { system: input.text('system'), code: input.text('code'), version: input.text('version') } : asCoding(coding);
    if (system === undefined || code === undefined) throw new InterlockError('request-invalid', { detail: 'A code and its system are needed, as code and system or as coding.' });
    const index = await systemOf(exchange, system, version);
    const node = index.find(code);
    if (node === undefined) throw unknownCode(index);
    const { concept, parents, children } = node;
    const asked = new Set(input.all('property'));
    const isAsked = (name: string) => asked.size === 0 || asked.has(name);
    const shown = (name: string, value: OutParameter, description?: string): readonly OutParameter[] =>
      isAsked(name) ? [{ name: 'property', part: [{ name: 'code', valueCode: name }, value, ...(description === undefined ? [] : [{ name: 'description', valueString: description }])] }] : [];
    const related = (name: string, codes: Iterable<string>) => [...codes].flatMap((one) => shown(name, { name: 'value', valueCode: one }, index.find(one)?.concept.display));
    const { resource } = index;
    const display = displayIn({ ...(concept.display === undefined ? {} : { display: concept.display }), designations: concept.designation ?? [] }, input.text('displayLanguage'));
    return parametersResponse([
      { name: 'name', valueString: resource.title ?? resource.name ?? index.url },
      { name: 'version', valueString: resource.version },
      { name: 'display', valueString: display ?? concept.code },
      ...(isAsked('designation') ? (concept.designation ?? []).map(({ language, use, value }) => ({ name: 'designation', part: [...(language === undefined ? [] : [{ name: 'language', valueCode: language }]), ...(use === undefined ? [] : [{ name: 'use', valueCoding: use }]), { name: 'value', valueString: value }] })) : []),
      ...(concept.definition === undefined ? [] : shown('definition', { name: 'value', valueString: concept.definition })),
      ...(index.isInactive(node) ? shown('inactive', { name: 'value', valueBoolean: true }) : []),
      ...related('parent', parents),
      ...related('child', children),
      // Those that say where the concept stands were told above, with what the nesting says.
      ...(concept.property ?? []).filter((one) => one.code !== 'parent' && one.code !== 'child' && one.code !== 'inactive').flatMap(({ code: name, ...value }) => shown(name, { name: 'value', ...value })),
    ]);
  },
};

/** How two codes of a system relate (https://hl7.org/fhir/R4/codesystem-operation-subsumes.html). */
export const subsumes: Operation = {
  name: 'subsumes',
  definition: 'http://hl7.org/fhir/OperationDefinition/CodeSystem-subsumes',
  summary: 'Whether one code of a system is a kind of another',
  levels: ['type', 'instance'],
  types: ['CodeSystem'],
  affectsState: false,
  parameters: [
    { name: 'codeA', type: 'code', documentation: 'One code' },
    { name: 'codeB', type: 'code', documentation: 'The other' },
    { name: 'system', type: 'uri', documentation: 'Their code system' },
    { name: 'version', type: 'string', documentation: 'Version of the code system' },
    { name: 'codingA', type: 'Coding', documentation: 'One code as a coding' },
    { name: 'codingB', type: 'Coding', documentation: 'The other as a coding' },
  ],
  async run(exchange, input) {
    const [a, b] = (['A', 'B'] as const).map((letter): Coding => {
      const coding = input.object(`coding${letter}`);
      const code = input.text(`code${letter}`);
      if ((coding === undefined) === (code === undefined)) throw new InterlockError('request-invalid', { detail: `One of code${letter} and coding${letter} is needed.` });
      return coding === undefined ? { code: code! } : asCoding(coding);
    }) as [Coding, Coding];
    const own = await instanceOf<CodeSystem>(exchange);
    const systems = new Set([a.system, b.system, input.text('system'), own?.url].filter((one) => one !== undefined));
    const [system] = systems;
    if (system === undefined || systems.size > 1 || a.code === undefined || b.code === undefined) throw new InterlockError('request-invalid', { detail: 'Two codes of one code system are needed.' });
    const index = await systemOf(exchange, system, input.text('version') ?? a.version ?? b.version, own);
    const outcome = subsumptionOf(index, a.code, b.code);
    if (outcome === undefined) throw unknownCode(index);
    return parametersResponse([{ name: 'outcome', valueCode: outcome }]);
  },
};

async function systemOf(exchange: Exchange, canonical: string, version: string | undefined, own?: CodeSystem): Promise<CodeSystemIndex> {
  const { url, version: named } = splitCanonical(canonical);
  const content = await contentFor(exchange, [{ type: 'CodeSystem', url }], own === undefined ? [] : [own]);
  const index = content.codeSystem(url, version ?? named);
  if (index?.isHeld !== true) throw new InterlockError('not-found', { detail: 'The code system, or this version of it, is not held here.' });
  return index;
}

function unknownCode(index: CodeSystemIndex): InterlockError {
  return new InterlockError('not-found', { detail: index.isComplete ? 'The code system does not have this code.' : 'The part of the code system that is held here does not have this code.' });
}
