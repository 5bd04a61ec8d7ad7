import { jsonResponse } from '../responses.ts';
import type { Operation } from './operation.ts';

/** Profiles, tags and security labels of a resource (https://hl7.org/fhir/R4/resource-operation-meta.html). */
export const meta: Operation = {
  name: 'meta',
  definition: 'http://hl7.org/fhir/OperationDefinition/Resource-meta',
  summary: 'Profiles, tags and security labels of a resource',
  levels: ['instance'],
  types: 'every',
  affectsState: false,
  parameters: [],
  async run({ guard, type, id }) {
    const version = await guard.read(type!, id!);
    return jsonResponse(200, { resourceType: 'Parameters', parameter: [{ name: 'return', valueMeta: version.resource()['meta'] }] });
  },
};
