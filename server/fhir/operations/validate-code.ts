import type { CodeSystem } from '../../../resources/terminology/types.ts';
import { splitCanonical } from '../../../resources/terminology/source.ts';
import { validateInCodeSystem, validateInValueSet, type CodeValidation } from '../../../resources/terminology/validate.ts';
import type { FhirResponse } from '../exchange.ts';
import type { Operation, OperationParameter } from './operation.ts';
import { codingsOf, contentFor, defined, givenResource, instanceOf, parametersResponse, valueSetOf, valueSetParameters } from './terminology.ts';
import type { OperationInput } from './parameters.ts';

const common: readonly OperationParameter[] = [
  { name: 'code', type: 'code', documentation: 'The code' },
  { name: 'display', type: 'string', documentation: 'A display to check with it' },
  { name: 'coding', type: 'Coding', documentation: 'The code as a coding' },
  { name: 'codeableConcept', type: 'CodeableConcept', documentation: 'Codings of which one has to be right' },
  { name: 'date', type: 'dateTime', documentation: 'Accepted and not used: definitions are the current ones' },
  { name: 'abstract', type: 'boolean', documentation: 'False: codes that are for grouping only are not right' },
  { name: 'displayLanguage', type: 'code', documentation: 'Language of the display that is given' },
];

/** Whether a code is in a value set (https://hl7.org/fhir/R4/valueset-operation-validate-code.html). */
export const validateCodeInValueSet: Operation = {
  name: 'validate-code',
  definition: 'http://hl7.org/fhir/OperationDefinition/ValueSet-validate-code',
  summary: 'Whether a code is in a value set',
  levels: ['type', 'instance'],
  types: ['ValueSet'],
  affectsState: false,
  parameters: [
    ...valueSetParameters,
    { name: 'system', type: 'uri', documentation: 'Code system of the code' },
    { name: 'systemVersion', type: 'string', documentation: 'Version of the code system' },
    ...common,
  ],
  async run(exchange, input) {
    const codings = codingsOf(input, 'system', 'systemVersion');
    const { valueSet, content } = await valueSetOf(exchange, input, systemsOf(codings));
    return answer(validateInValueSet(valueSet, content, request(codings, input)));
  },
};

/** Whether a code is one of a code system (https://hl7.org/fhir/R4/codesystem-operation-validate-code.html). */
export const validateCodeInCodeSystem: Operation = {
  name: 'validate-code',
  definition: 'http://hl7.org/fhir/OperationDefinition/CodeSystem-validate-code',
  summary: 'Whether a code is one of a code system',
  levels: ['type', 'instance'],
  types: ['CodeSystem'],
  affectsState: false,
  parameters: [
    { name: 'url', type: 'uri', documentation: 'Canonical URL of the code system, optionally with |version' },
    { name: 'codeSystem', type: 'CodeSystem', documentation: 'The code system itself' },
    { name: 'version', type: 'string', documentation: 'Version of the code system' },
    ...common,
  ],
  async run(exchange, input) {
    const given = (await instanceOf<CodeSystem>(exchange)) ?? givenResource<CodeSystem>(input, 'codeSystem', 'CodeSystem');
    // One without a URL is named by the request alone.
    const own = given === undefined ? undefined : { ...given, url: given.url ?? unnamed };
    const canonical = own?.url ?? input.text('url');
    const codings = codingsOf(input, '');
    const systems = canonical === undefined ? systemsOf(codings) : [{ type: 'CodeSystem' as const, url: splitCanonical(canonical).url }];
    const content = await contentFor(exchange, systems, own === undefined ? [] : [own]);
    return answer(validateInCodeSystem(canonical, content, request(codings, input)));
  },
};

const unnamed = 'urn:uuid:00000000-0000-0000-0000-000000000000';

function systemsOf(codings: ReturnType<typeof codingsOf>) {
  return codings.flatMap(({ system }) => (system === undefined ? [] : [{ type: 'CodeSystem' as const, url: system }]));
}

function request(codings: ReturnType<typeof codingsOf>, input: OperationInput) {
  return { codings, ...defined({ abstract: input.flag('abstract'), displayLanguage: input.text('displayLanguage') }) };
}

function answer({ result, message, display }: CodeValidation): FhirResponse {
  return parametersResponse([{ name: 'result', valueBoolean: result }, { name: 'message', valueString: message }, { name: 'display', valueString: display }]);
}
