import { InterlockError, type ErrorIssue } from '../outcome/error.ts';
import { isFhirJson } from './json.ts';
import { nodeOf, type Node } from './nodes.ts';
import { Report, type Fault } from './report.ts';
import { isObject } from './rules.ts';
import { checkResource, compileNode } from './structure.ts';

export { defaultMaxDepth, isFhirJson, parseJson, parseResource, type FhirJson, type JsonLimits } from './json.ts';
export { entryResourceBytes, rewriteStrings, withMeta, type VersionMeta } from './splice.ts';
export { maxIssues } from './report.ts';

export interface ValidateOptions {
  /** False: resources in a Bundle's entries are left out, to be validated one by one. */
  readonly entryResources?: boolean;
  /** Where the resource stands, to start expressions with, such as `Bundle.entry[3].resource`. Default: its type. */
  readonly root?: string;
}

/**
 * Checks a resource against FHIR R4 (https://hl7.org/fhir/R4/validation.html): structure, cardinality, primitive formats,
 * required bindings, types of literal references, narrative, and the rules on extensions, periods, contained resources and Bundles.
 *
 * @returns all issues, at most {@link maxIssues}: `structure-invalid`, `required-missing`, `code-invalid` or `business-rule`. Their
 *   expressions and details are made of names that FHIR defines and of indexes; nothing of the content is repeated.
 */
export function validateResource(json: unknown, options: ValidateOptions = {}): ErrorIssue[] {
  const report = new Report(options.entryResources ?? true);
  checkResource(report, json, '');
  return report.faults.map((fault) => toIssue(fault, json, options.root));
}

/**
 * Refuses a resource that has issues.
 *
 * @throws InterlockError with all issues; its own code is `structure-invalid` if one of them is, else the first one's
 */
export function assertValid(json: unknown, options: ValidateOptions = {}): void {
  const issues = validateResource(json, options);
  const first = issues.find(({ code }) => code === 'structure-invalid') ?? issues[0];
  if (first !== undefined) throw new InterlockError(first.code, { issues });
}

/** Compiles a type's own schema ahead of its first use; a few milliseconds. */
export function precompile(type: string): void {
  compileNode(type);
}

function toIssue({ pointer, code, detail }: Fault, json: unknown, root: string | undefined): ErrorIssue {
  const expression = expressionOf(pointer, json, root);
  return { code, detail, ...(expression !== undefined && { expression }) };
}

/** `/name/0/given/1` of a Patient -> `Patient.name[0].given[1]`. Choices get their FHIRPath name: `valueQuantity` -> `value`. */
function expressionOf(pointer: string, json: unknown, root: string | undefined): string | undefined {
  let node = resourceNode(json);
  let expression = root ?? node?.name;
  if (expression === undefined) return undefined;
  let data: unknown = json;
  for (const step of pointer.split('/').slice(1)) {
    data = isObject(data) || Array.isArray(data) ? (data as Readonly<Record<string, unknown>>)[step] : undefined;
    if (/^\d+$/.test(step)) {
      expression += `[${step}]`;
      node ??= resourceNode(data);
      continue;
    }
    const property = node?.properties.get(step);
    if (property === undefined) return expression;
    expression += `.${property.element}`;
    node = property.kind === 'node' ? nodeOf(property.type) : property.kind === 'resource' && !property.repeats ? resourceNode(data) : undefined;
  }
  return expression;
}

function resourceNode(json: unknown): Node | undefined {
  if (!isFhirJson(json)) return undefined;
  try {
    return nodeOf(json.resourceType);
  } catch {
    return undefined;
  }
}
