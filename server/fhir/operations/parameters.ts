import { isResourceType } from '../../../resources/definitions/index.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { parseResource } from '../../../resources/validate/index.ts';
import { isObject } from '../../../resources/validate/rules.ts';
import type { ResourceJson } from '../../storage/contract.ts';
import type { Exchange } from '../exchange.ts';
import type { Operation, OperationParameter } from './operation.ts';

/** The input of an operation, by name; URL and body merged. */
export class OperationInput {
  readonly #values: ReadonlyMap<string, readonly unknown[]>;
  /** The resource that was sent as the body itself, unless that is Parameters. */
  readonly body: ResourceJson | undefined;
  /** Parameters that the operation does not list, of one that takes search parameters. */
  readonly search: readonly (readonly [string, string])[];

  constructor(values: ReadonlyMap<string, readonly unknown[]>, body: ResourceJson | undefined, search: readonly (readonly [string, string])[] = []) {
    this.#values = values;
    this.body = body;
    this.search = search;
  }

  /** All values of a parameter: JSON of its FHIR type; of a parameter with parts, the part array. */
  all(name: string): readonly unknown[] {
    return this.#values.get(name) ?? [];
  }

  /** A primitive of JSON type string. @throws InterlockError `request-invalid` if it is of another type */
  text(name: string): string | undefined {
    const [value] = this.all(name);
    if (value === undefined) return undefined;
    if (typeof value !== 'string') throw badParameter(name);
    return value;
  }

  /** A boolean. @throws InterlockError `request-invalid` */
  flag(name: string): boolean | undefined {
    const [value] = this.all(name);
    if (value === undefined || typeof value === 'boolean') return value;
    throw badParameter(name);
  }

  /** A whole number that is not negative. @throws InterlockError `request-invalid` */
  count(name: string): number | undefined {
    const [value] = this.all(name);
    if (value === undefined || (typeof value === 'number' && Number.isInteger(value) && value >= 0)) return value;
    throw badParameter(name);
  }

  /** A resource. @throws InterlockError `request-invalid` */
  resource(name: string): ResourceJson | undefined {
    const [value] = this.all(name);
    if (value === undefined) return undefined;
    if (!isResource(value)) throw badParameter(name);
    return value;
  }

  /** An object of a data type. @throws InterlockError `request-invalid` */
  object(name: string): Readonly<Record<string, unknown>> | undefined {
    const [value] = this.all(name);
    if (value === undefined) return undefined;
    if (!isObject(value)) throw badParameter(name);
    return value;
  }
}

const maxParameters = 1_000;
const numberTypes: ReadonlySet<string> = new Set(['integer', 'positiveInt', 'unsignedInt', 'decimal']);

/**
 * Reads the input of an operation from the URL and the body: Parameters, or one resource for the parameter that takes
 * one (https://hl7.org/fhir/R4/operations.html#request).
 * @throws InterlockError `request-invalid`, `structure-invalid`, `too-large`, `too-costly`
 */
export function readInput(operation: Operation, { request, services }: Pick<Exchange, 'request' | 'services'>): OperationInput {
  const values = new Map<string, unknown[]>();
  const search: [string, string][] = [];
  const declared = new Map(operation.parameters.map((parameter) => [parameter.name, parameter]));
  const add = (name: string, value: unknown): void => {
    const parameter = declared.get(name);
    if (parameter === undefined && operation.takesSearch === true) {
      if (typeof value !== 'string') throw badParameter('for the search');
      search.push([name, value]);
      return;
    }
    if (parameter === undefined) throw new InterlockError('request-invalid', { detail: 'The operation has no such parameter.' });
    const list = values.get(name) ?? [];
    if (list.length > 0 && parameter.isRepeating !== true) throw new InterlockError('request-invalid', { detail: `Parameter ${name} may be given once.` });
    values.set(name, [...list, value]);
  };
  if (request.query.length > maxParameters) throw new InterlockError('too-costly');
  // What a cursor carries was read when the page before was made.
  for (const [name, text] of request.query) if (name !== '_cursor') add(name, fromUrl(declared.get(name), name, text));
  const body = request.resource ?? (request.body === undefined ? undefined : parseResource(request.body, { maxBytes: services.limits.maxBundleSizeBytes }));
  if (body?.resourceType === 'Parameters') {
    for (const { name, value } of entriesOf(body)) add(name, value);
  }
  for (const parameter of operation.parameters) {
    const isBody = parameter.type === 'Resource' || parameter.type === body?.resourceType;
    if (body !== undefined && body.resourceType !== 'Parameters' && isBody && !values.has(parameter.name)) values.set(parameter.name, [body]);
    if (parameter.isRequired === true && !values.has(parameter.name)) throw new InterlockError('request-invalid', { detail: `Parameter ${parameter.name} is required.` });
  }
  return new OperationInput(values, body?.resourceType === 'Parameters' ? undefined : body, search);
}

function fromUrl(parameter: OperationParameter | undefined, name: string, text: string): unknown {
  if (parameter === undefined) return text;
  if (parameter.type === 'boolean') {
    if (text !== 'true' && text !== 'false') throw badParameter(name);
    return text === 'true';
  }
  if (numberTypes.has(parameter.type)) {
    if (!/^-?\d{1,15}(?:\.\d+)?$/.test(text)) throw badParameter(name);
    return Number(text);
  }
  if (/^[A-Z]/.test(parameter.type)) throw new InterlockError('request-invalid', { detail: `Parameter ${name} cannot stand in the URL.` });
  return text;
}

function entriesOf(parameters: ResourceJson): { name: string; value: unknown }[] {
  const given = parameters['parameter'] ?? [];
  if (!Array.isArray(given)) throw new InterlockError('structure-invalid', { expression: 'Parameters.parameter' });
  if (given.length > maxParameters) throw new InterlockError('too-costly');
  return given.map((entry: unknown, index) => {
    const expression = `Parameters.parameter[${index}]`;
    if (!isObject(entry) || typeof entry['name'] !== 'string') throw new InterlockError('structure-invalid', { expression });
    const key = Object.keys(entry).find((one) => one.startsWith('value') || one === 'resource' || one === 'part');
    if (key === undefined) throw new InterlockError('structure-invalid', { expression });
    return { name: entry['name'], value: entry[key] };
  });
}

/** True for JSON that says it is a resource of R4. */
export function isResource(value: unknown): value is ResourceJson {
  return isObject(value) && typeof value['resourceType'] === 'string' && isResourceType(value['resourceType']);
}

function badParameter(name: string): InterlockError {
  return new InterlockError('request-invalid', { detail: `Parameter ${name} has a value of the wrong kind.` });
}
