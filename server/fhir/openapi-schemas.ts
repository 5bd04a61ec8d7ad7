import { requiredCodes, resourceTypes, structureOf } from '../../resources/definitions/index.ts';
import { nodeOf, type Node, type Property } from '../../resources/validate/nodes.ts';
import { primitiveSchema } from '../../resources/validate/primitives.ts';

type Json = Readonly<Record<string, unknown>>;

/** Types that the server itself answers with, and those that most apps begin with. All others are described by `Resource`. */
const described = ['Bundle', 'CapabilityStatement', 'OperationOutcome', 'Parameters', 'Patient', 'Observation', 'Encounter', 'Condition', 'Practitioner', 'Organization'];

/** An extension's value may be of any data type, each of which may have extensions: described in full, tools expand it without end. */
const extension = { type: 'object', description: 'https://hl7.org/fhir/R4/extensibility.html', required: ['url'], properties: { url: { type: 'string' } } } as const;

/** Schemas of the OpenAPI document, from the definitions: described resources down to their data types; resources within them by `Resource`. */
export function schemas(): Json {
  const made = new Map<string, Json>([['Extension', extension]]);
  const queue = [...described];
  for (let name = queue.shift(); name !== undefined; name = queue.shift()) {
    if (made.has(name)) continue;
    const node = nodeOf(name);
    made.set(name, objectSchema(node));
    for (const { kind, type } of node.properties.values()) if (kind === 'node' && !made.has(type)) queue.push(type);
  }
  return {
    ResourceType: { type: 'string', enum: resourceTypes() },
    Resource: {
      type: 'object',
      description: 'A resource of any type (https://hl7.org/fhir/R4/resourcelist.html)',
      required: ['resourceType'],
      properties: { resourceType: { $ref: '#/components/schemas/ResourceType' }, id: primitiveOf('id'), meta: { type: 'object', description: 'https://hl7.org/fhir/R4/resource.html#Meta', properties: { profile: { type: 'array', items: { type: 'string' } }, versionId: { type: 'string' } } } },
    },
    BundleToProcess: {
      type: 'object',
      description: 'A batch or transaction (https://hl7.org/fhir/R4/http.html#transaction)',
      required: ['resourceType', 'type'],
      properties: {
        resourceType: { const: 'Bundle' },
        type: { enum: ['batch', 'transaction'] },
        entry: {
          type: 'array',
          items: {
            type: 'object',
            required: ['request'],
            properties: {
              fullUrl: { type: 'string' },
              resource: { $ref: '#/components/schemas/Resource' },
              request: { type: 'object', required: ['method', 'url'], properties: { method: { enum: ['GET', 'POST', 'PUT', 'PATCH', 'DELETE'] }, url: { type: 'string' }, ifMatch: { type: 'string' }, ifNoneExist: { type: 'string' } } },
            },
          },
        },
      },
    },
    JsonPatch: {
      type: 'array',
      description: 'RFC 6902',
      items: { type: 'object', required: ['op', 'path'], properties: { op: { enum: ['add', 'remove', 'replace', 'move', 'copy', 'test'] }, path: { type: 'string' }, from: { type: 'string' }, value: {} } },
    },
    ...Object.fromEntries([...made].sort(([a], [b]) => (a < b ? -1 : 1))),
  };
}

function objectSchema({ name, isResource, properties, groups, groupOf }: Node): Json {
  const listed = [...properties].filter(([, { companion }]) => !companion);
  const required = listed.filter(([property]) => groups[groupOf.get(property) ?? -1]?.label === property && groups[groupOf.get(property)!]!.required).map(([property]) => property);
  return {
    type: 'object',
    ...(isResource ? { description: `https://hl7.org/fhir/R4/${name.toLowerCase()}.html` } : {}),
    ...(isResource || required.length > 0 ? { required: [...(isResource ? ['resourceType'] : []), ...required] } : {}),
    properties: { ...(isResource ? { resourceType: { const: name } } : {}), ...Object.fromEntries(listed.map(([property, rule]) => [property, propertySchema(rule)])) },
  };
}

function propertySchema(property: Property): Json {
  const { kind, type, repeats, valueSet } = property;
  const codes = valueSet === undefined || type !== 'code' ? undefined : requiredCodes(valueSet);
  const one = kind === 'resource' ? { $ref: '#/components/schemas/Resource' } : kind === 'node' ? { $ref: `#/components/schemas/${type}` } : codes === undefined ? primitiveOf(type) : { type: 'string', enum: [...codes] };
  return repeats ? { type: 'array', items: kind === 'primitive' ? { anyOf: [one, { type: 'null' }] } : one } : one;
}

/** A primitive as JSON Schema has it: the published expression where there is one. */
function primitiveOf(type: string): Json {
  const schema = primitiveSchema(type);
  if (schema === undefined || schema.type !== 'string') return { ...schema };
  const pattern = structureOf(type)?.elements.find(({ path }) => path === `${type}.value`)?.types[0]?.regex;
  return { type: 'string', ...(pattern === undefined || type === 'base64Binary' ? {} : { pattern: `^(?:${pattern})$` }) };
}
