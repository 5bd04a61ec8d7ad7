import { Ajv, type AnySchemaObject, type ErrorObject, type ValidateFunction } from 'ajv';
import { isResourceType, requiredCodes } from '../definitions/index.ts';
import { isFhirJson } from './json.ts';
import { nodeOf, type Node, type Property } from './nodes.ts';
import { primitiveFormats, primitiveSchema } from './primitives.ts';
import { Report } from './report.ts';
import { checkConceptBinding, checkContained, checkReference, isObject, rulesByNode, type JsonObject, type Rule } from './rules.ts';

/*
 * One small JSON Schema per node (resource, data type or element with children), compiled when data first needs it: HL7's whole
 * schema takes seconds. Within a schema, the keyword `fhir` leads to the next node, so that schemas never include each other.
 * The Report travels as ajv's context (`this`); all errors end up there, bounded, instead of in ajv's unbounded list.
 */
const ajv = new Ajv({ allErrors: true, passContext: true, strict: true, meta: false, validateSchema: false, logger: false, messages: false });
for (const [name, check] of primitiveFormats) ajv.addFormat(name, check);
ajv.addKeyword({
  keyword: 'fhir',
  errors: false,
  compile(property: Property) {
    const check = checkOf(property);
    return function (this: unknown, data: unknown, at?: DataValidationCxt) {
      if (this instanceof Report && at !== undefined) check(this, data, at);
      return true;
    };
  },
});

/** Where ajv is: what it hands to a keyword, and takes to start further down. */
type DataValidationCxt = NonNullable<Parameters<ValidateFunction>[1]>;

/** `partner`: of a companion, the primitive value beside it. */
type Check = (report: Report, data: unknown, at: DataValidationCxt, partner?: unknown) => void;

interface CompiledNode {
  readonly node: Node;
  readonly validate: ValidateFunction;
  readonly rule: Rule | undefined;
}

const compiled = new Map<string, CompiledNode>();

/** Compiles what a node needs itself; nodes below it follow on first use. */
export function compileNode(name: string): CompiledNode {
  let entry = compiled.get(name);
  if (entry === undefined) {
    const node = nodeOf(name);
    entry = { node, validate: ajv.compile(schemaOf(node)), rule: rulesByNode.get(name) };
    compiled.set(name, entry);
  }
  return entry;
}

function schemaOf({ isResource, properties }: Node): AnySchemaObject {
  const schemas: Record<string, AnySchemaObject> = isResource ? { resourceType: {} } : {};
  for (const [name, property] of properties) {
    const primitive = property.repeats ? undefined : primitiveSchema(property.type);
    schemas[name] = primitive === undefined || needsCheck(property) ? { ...primitive, fhir: property } : primitive;
  }
  return { type: 'object', additionalProperties: false, properties: schemas };
}

/** Checks a resource and all below it. */
export function checkResource(report: Report, data: unknown, pointer: string): void {
  const outer = report.localReferences;
  report.localReferences = [];
  if (readResource(report, data, { instancePath: pointer, parentData: {}, parentDataProperty: '', rootData: {}, dynamicAnchors: {} })) checkContained(report, data, pointer);
  report.localReferences = outer;
}

function readResource(report: Report, data: unknown, at: DataValidationCxt): data is JsonObject {
  if (!isFhirJson(data) || !isResourceType(data.resourceType)) {
    report.add(at.instancePath, 'structure-invalid', 'It is not a resource of a type that FHIR R4 has.');
    return false;
  }
  checkNode(report, compileNode(data.resourceType), data, at);
  return true;
}

function checkNode(report: Report, { node, validate, rule }: CompiledNode, data: unknown, at: DataValidationCxt): void {
  if (report.full) return;
  const pointer = at.instancePath;
  if (!validate.call(report, data, at)) collect(report, validate.errors ?? []);
  if (!isObject(data)) return;
  if (!node.isResource && node.name !== 'Element' && !hasContent(data)) report.add(pointer, 'structure-invalid', 'It is an empty object (ele-1).');
  if (node.groups.length > 0) checkGroups(report, node, data, pointer);
  rule?.(report, data, pointer);
}

/** Required elements and choices. A primitive counts as present when only its companion, with an extension, is. */
function checkGroups(report: Report, { groups, groupOf }: Node, data: JsonObject, pointer: string): void {
  const present: (string | undefined)[] = [];
  for (const property in data) {
    const name = property.startsWith('_') ? property.slice(1) : property;
    const index = groupOf.get(name);
    if (index === undefined) continue;
    if (present[index] !== undefined && present[index] !== name) report.add(pointer, 'structure-invalid', `It has more than one ${groups[index]!.label}.`);
    present[index] = name;
  }
  for (let index = 0; index < groups.length; index += 1) {
    if (groups[index]!.required && present[index] === undefined) report.add(pointer, 'required-missing', `It lacks ${groups[index]!.label}.`);
  }
}

function hasContent(data: JsonObject): boolean {
  for (const name in data) if (name !== 'id') return true;
  return false;
}

/** What ajv alone cannot see in a property's value. */
function checkOf(property: Property): Check {
  const check = itemCheckOf(property);
  if (property.repeats) return arrayCheck(property, check);
  return property.companion ? (report, data, at) => check(report, data, at, (at.parentData as JsonObject)[String(at.parentDataProperty).slice(1)]) : check;
}

function itemCheckOf(property: Property): Check {
  const { type, kind, companion, targets, valueSet } = property;
  if (kind === 'resource') return resourceCheck;
  if (kind === 'primitive') return primitiveCheck(property);
  let next: CompiledNode | undefined;
  if (companion) {
    return (report, data, at, partner) => {
      next ??= compileNode(type);
      checkNode(report, next, data, at);
      // Beside a value an id is enough; alone, only an extension says anything.
      const isBare = isObject(data) && data['extension'] === undefined && (data['id'] === undefined || partner === undefined || partner === null);
      if (isBare) report.add(at.instancePath, 'structure-invalid', 'It is an empty object (ele-1).');
    };
  }
  return (report, data, at) => {
    next ??= compileNode(type);
    checkNode(report, next, data, at);
    if (!isObject(data)) return;
    if (type === 'Reference') checkReference(report, data, at.instancePath, targets);
    if (valueSet !== undefined) checkConceptBinding(report, data, at.instancePath, valueSet);
  };
}

const resourceCheck: Check = (report, data, at) => {
  // A contained resource shares the ids of its container; one in an entry or parameter has its own.
  if (/\/contained\/\d+$/.test(at.instancePath)) readResource(report, data, at);
  else if (report.entryResources || !/^\/entry\/\d+\/resource$/.test(at.instancePath)) checkResource(report, data, at.instancePath);
};

const linkTypes = new Set(['canonical', 'uri', 'url']);

function needsCheck({ kind, type, valueSet }: Property): boolean {
  return kind !== 'primitive' || valueSet !== undefined || linkTypes.has(type);
}

function primitiveCheck({ type, repeats, valueSet }: Property): Check {
  const validateItem = repeats ? ajv.compile(primitiveSchema(type)!) : undefined;
  const codes = valueSet === undefined ? undefined : requiredCodes(valueSet);
  return (report, data, at) => {
    if (validateItem?.call(report, data, at) === false) collect(report, validateItem.errors ?? []);
    if (typeof data !== 'string') return;
    if (codes?.has(data) === false) report.add(at.instancePath, 'code-invalid', 'The code is not in the required value set.');
    if (data.startsWith('#') && linkTypes.has(type)) report.localReferences.push({ pointer: at.instancePath, id: data.slice(1), mustResolve: false });
  };
}

/** Arrays have items; `null` only fills the place of a primitive whose companion is there, or of a companion. */
function arrayCheck({ kind, companion }: Property, check: Check): Check {
  return (report, data, at) => {
    if (!Array.isArray(data) || data.length === 0) {
      report.add(at.instancePath, 'structure-invalid', Array.isArray(data) ? 'It is an empty array.' : 'It must be an array.');
      return;
    }
    const parent = at.parentData as JsonObject;
    const name = String(at.parentDataProperty);
    const partners = kind === 'primitive' ? parent[`_${name}`] : companion ? parent[name.slice(1)] : undefined;
    const item: DataValidationCxt = { ...at, parentData: data };
    for (let index = 0; index < data.length && !report.full; index += 1) {
      item.instancePath = `${at.instancePath}/${index}`;
      item.parentDataProperty = index;
      const partner: unknown = Array.isArray(partners) ? partners[index] : undefined;
      // Where both are null, the primitive's side reports it.
      if (data[index] === null && (companion ? partner !== undefined : isObject(partner))) continue;
      check(report, data[index], item, partner);
    }
  };
}

/** Turns ajv's errors into faults that say which type was expected, never what was found. */
function collect(report: Report, errors: readonly ErrorObject[]): void {
  for (const { keyword, instancePath, params } of errors) {
    if (report.full) return;
    report.add(instancePath, 'structure-invalid', describe(keyword, params));
  }
}

function describe(keyword: string, params: Readonly<Record<string, unknown>>): string {
  switch (keyword) {
    case 'additionalProperties':
      return 'It has an element that is not defined here.';
    case 'type':
      return `The JSON type is wrong; expected ${String(params['type'])}.`;
    case 'format':
      return `It is not a valid ${String(params['format'])}.`;
    default:
      return 'The number is out of range.';
  }
}
