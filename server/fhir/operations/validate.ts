import { InterlockError } from '../../../resources/outcome/error.ts';
import { bindingFinding, claimsOf, maxFindings, type BindingQuestion, type Finding } from '../../../resources/profiles/index.ts';
import { membersOf } from '../../../resources/terminology/expand.ts';
import type { TerminologyCollection } from '../../../resources/terminology/collection.ts';
import { validateInValueSet } from '../../../resources/terminology/validate.ts';
import { reachToWrite } from '../../access/decide.ts';
import type { Permission } from '../../access/context.ts';
import type { Exchange } from '../exchange.ts';
import { issueOf } from '../findings.ts';
import { jsonResponse } from '../responses.ts';
import { ProfileValidator } from '../validation.ts';
import { contentFor } from './terminology.ts';
import type { Operation } from './operation.ts';
import type { OperationInput } from './parameters.ts';
import { postedProfiles } from './posted-profiles.ts';

const validator = new ProfileValidator();

/** What a mode asks whether the caller may do. */
const permissionOf: Readonly<Record<string, Permission | undefined>> = { create: 'c', update: 'u', delete: 'd', profile: undefined };

/** Codes of a value set that are looked through for one validation. */
const maxCodes = 10_000;

/**
 * Whether a resource is valid, would be accepted, or conforms to a profile (https://hl7.org/fhir/R4/resource-operation-validate.html).
 * Nothing is written. The answer is 200 and an OperationOutcome, also for what is not valid.
 */
export const validate: Operation = {
  name: 'validate',
  definition: 'http://hl7.org/fhir/OperationDefinition/Resource-validate',
  summary: 'Whether a resource is valid, would be accepted, or conforms to a profile',
  levels: ['type', 'instance'],
  types: 'every',
  affectsState: false,
  parameters: [
    { name: 'resource', type: 'Resource', documentation: 'The resource; on an instance without it, that instance as stored' },
    { name: 'mode', type: 'code', documentation: 'create, update, delete or profile' },
    { name: 'profile', type: 'uri', documentation: 'Canonical URL of a profile, optionally with |version' },
  ],
  async run(exchange, input) {
    const mode = input.text('mode');
    if (mode !== undefined && !Object.hasOwn(permissionOf, mode)) throw new InterlockError('request-invalid', { detail: 'Parameter mode is create, update, delete or profile.' });
    const profile = input.text('profile');
    if (mode === 'profile' && profile === undefined) throw new InterlockError('request-invalid', { detail: 'Mode profile needs the parameter profile.' });
    if (mode === 'delete') return outcome(await deletion(exchange));
    const resource = await subject(exchange, input);
    const profiles = profile === undefined ? [] : [profile];
    const posted = await postedProfiles(exchange, [...profiles, ...claimsOf({ value: resource })]);
    const { findings, questions } = await validator.validate({ resource, profiles, posted: [...posted] });
    return outcome([...place(exchange, resource, mode), ...findings, ...(await answers(exchange, questions))]);
  },
};

/** What is to be validated: from the body, or the instance as stored. @throws InterlockError `request-invalid`, `too-large`, `not-found` … */
async function subject({ guard, services, request, type, id }: Exchange, input: OperationInput): Promise<unknown> {
  const [given] = input.all('resource');
  if (given === undefined) {
    if (id === undefined) throw new InterlockError('request-invalid', { detail: 'Parameter resource is required.' });
    return (await guard.read(type!, id)).resource();
  }
  // Bundles have a limit of their own, which held when the body was read.
  if (typeOf(given) !== 'Bundle' && (request.body?.length ?? 0) > services.limits.maxResourceSizeBytes) throw new InterlockError('too-large');
  return given;
}

/** Whether a resource may stand where the URL says, and whether the caller may do what the mode asks. */
function place(exchange: Exchange, resource: unknown, mode: string | undefined): Finding[] {
  const { type, id } = exchange;
  const findings: Finding[] = [];
  if (typeOf(resource) !== type) findings.push({ severity: 'error', code: 'structure', detail: 'The resource is not of the type in the URL.' });
  const sentId = typeof resource === 'object' && resource !== null && 'id' in resource ? resource.id : undefined;
  if (mode === 'update' && id !== undefined && sentId !== id) findings.push({ severity: 'error', code: 'value', expression: `${type!}.id`, detail: 'The id in the resource is not that in the URL.' });
  const permission = mode === undefined ? undefined : permissionOf[mode];
  return permission === undefined || mayDo(exchange, permission) ? findings : [...findings, forbidden];
}

/** Whether the instance could be deleted now. */
async function deletion(exchange: Exchange): Promise<Finding[]> {
  const { guard, type, id } = exchange;
  if (id === undefined) throw new InterlockError('request-invalid', { detail: 'Mode delete is for an instance.' });
  await guard.read(type!, id);
  return mayDo(exchange, 'd') ? [] : [forbidden];
}

const forbidden: Finding = { severity: 'error', code: 'forbidden', detail: 'The caller is not permitted to do this.' };

function mayDo({ context, type }: Exchange, permission: Permission): boolean {
  try {
    reachToWrite(context, type!, [permission]);
    return true;
  } catch (error) {
    if (error instanceof InterlockError) return false;
    throw error;
  }
}

/** Has terminology say what of the value sets that the engine does not hold. What it cannot tell is no fault. */
async function answers(exchange: Exchange, questions: readonly BindingQuestion[]): Promise<Finding[]> {
  if (questions.length === 0) return [];
  const content = await contentFor(exchange, [...new Set(questions.map(({ valueSet }) => valueSet))].map((url) => ({ type: 'ValueSet', url })));
  return questions.flatMap(({ valueSet, strength, codings, expression }): Finding[] => {
    const isIn = isMember(content, valueSet, codings);
    if (isIn === true) return [];
    if (isIn === false) return [bindingFinding(strength, expression)];
    return [{ severity: 'information', code: 'not-supported', expression, detail: 'The codes of the value set that binds it are not known here, so that its code was not checked.' }];
  });
}

/** Undefined if the value set, or a code system that it draws on, is not held here. */
function isMember(content: TerminologyCollection, url: string, codings: BindingQuestion['codings']): boolean | undefined {
  const valueSet = content.valueSet(url);
  if (valueSet === undefined) return undefined;
  try {
    if (validateInValueSet(valueSet, content, { codings, maxCodes }).result) return true;
    membersOf(valueSet, content, { maxCodes });
    return false;
  } catch (error) {
    if (error instanceof InterlockError) return undefined;
    throw error;
  }
}

function typeOf(resource: unknown): unknown {
  return typeof resource === 'object' && resource !== null && 'resourceType' in resource ? resource.resourceType : undefined;
}

const order: readonly Finding['severity'][] = ['error', 'warning', 'information'];

function outcome(findings: readonly Finding[]) {
  const sorted = order.flatMap((severity) => findings.filter((finding) => finding.severity === severity)).slice(0, maxFindings);
  if (sorted[0]?.severity !== 'error') sorted.unshift({ severity: 'information', code: 'informational', detail: 'No errors were found.' });
  return jsonResponse(200, { resourceType: 'OperationOutcome', issue: sorted.map(issueOf) });
}
