import { randomUUID } from 'node:crypto';
import { expand as expansionOf } from '../../../resources/terminology/expand.ts';
import type { ResourceJson } from '../../storage/contract.ts';
import { jsonResponse } from '../responses.ts';
import type { Operation } from './operation.ts';
import { defined, valueSetOf, valueSetParameters } from './terminology.ts';

/** The parameters that change an expansion and are told with it. */
const told = ['filter', 'offset', 'count', 'activeOnly', 'includeDesignations', 'designation', 'excludeNotForUI', 'exclude-system', 'displayLanguage'] as const;
const valueTypes: Readonly<Record<string, string>> = { string: 'valueString', number: 'valueInteger', boolean: 'valueBoolean' };

/** The codes of a value set (https://hl7.org/fhir/R4/valueset-operation-expand.html). */
export const expand: Operation = {
  name: 'expand',
  definition: 'http://hl7.org/fhir/OperationDefinition/ValueSet-expand',
  summary: 'The codes of a value set',
  levels: ['type', 'instance'],
  types: ['ValueSet'],
  affectsState: false,
  parameters: [
    ...valueSetParameters,
    { name: 'filter', type: 'string', documentation: 'Words that code, display or a designation contain' },
    { name: 'date', type: 'dateTime', documentation: 'Accepted and not used: definitions are the current ones' },
    { name: 'offset', type: 'integer', documentation: 'Codes to leave out from the start' },
    { name: 'count', type: 'integer', documentation: 'Codes to give; 0 gives the total alone' },
    { name: 'includeDesignations', type: 'boolean', documentation: 'Give designations' },
    { name: 'designation', type: 'string', isRepeating: true, documentation: 'Languages or uses (system|code) of the designations to give' },
    { name: 'includeDefinition', type: 'boolean', documentation: 'Give the definition of the value set too' },
    { name: 'activeOnly', type: 'boolean', documentation: 'Leave out codes that are no longer for use' },
    { name: 'excludeNested', type: 'boolean', documentation: 'Expansions are never nested here' },
    { name: 'excludeNotForUI', type: 'boolean', documentation: 'Leave out codes that are for grouping only' },
    { name: 'excludePostCoordinated', type: 'boolean', documentation: 'Expansions have no postcoordinated codes here' },
    { name: 'displayLanguage', type: 'code', documentation: 'Language of the displays' },
    { name: 'exclude-system', type: 'canonical', isRepeating: true, documentation: 'Code systems to leave out' },
  ],
  async run(exchange, input) {
    const { valueSet, content } = await valueSetOf(exchange, input);
    const offset = input.count('offset');
    const count = input.count('count');
    const texts = (name: string) => input.all(name).filter((value) => typeof value === 'string');
    const { total, contains } = expansionOf(valueSet, content, defined({
      filter: input.text('filter'),
      offset,
      count,
      activeOnly: input.flag('activeOnly'),
      excludeNotForUi: input.flag('excludeNotForUI'),
      includeDesignations: input.flag('includeDesignations'),
      designations: texts('designation'),
      displayLanguage: input.text('displayLanguage'),
      excludeSystems: texts('exclude-system').map((canonical) => canonical.replace(/\|.*$/, '')),
    }));
    const { compose, text: _text, meta: _meta, expansion: _expansion, ...head } = valueSet as typeof valueSet & Partial<ResourceJson>;
    const parameter = told.flatMap((name) => input.all(name).map((value) => ({ name, [valueTypes[typeof value] ?? 'valueString']: value })));
    return jsonResponse(200, {
      ...head,
      ...(input.flag('includeDefinition') === true ? { compose } : {}),
      expansion: {
        identifier: `urn:uuid:${randomUUID()}`,
        timestamp: new Date(exchange.services.nowMs()).toISOString(),
        total,
        ...(offset === undefined && count === undefined ? {} : { offset: offset ?? 0 }),
        ...(parameter.length === 0 ? {} : { parameter }),
        ...(contains.length === 0 ? {} : { contains }),
      },
    });
  },
};
