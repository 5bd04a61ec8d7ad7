import { afterAll, beforeAll, describe, expect, test } from '@jest/globals';
import { resourceTypes } from '../../../resources/definitions/index.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import type { AccessContext, Permission, TokenFacts } from '../../../server/access/context.ts';
import { reachOf, reachToWrite } from '../../../server/access/decide.ts';
import { contextFromToken } from '../../../server/access/grants.ts';
import { roleNames } from '../../../server/access/roles.ts';
import type { Interaction } from '../../../server/fhir/exchange.ts';
import { routeTable } from '../../../server/fhir/routes.ts';
import { testFhir, type TestFhir } from '../fhir/support.ts';
import { askAs, personToken } from './support.ts';

/*
 * What each role and each scope is to give, written down here anew from docs/compliance/access.md and SMART App Launch
 * (https://hl7.org/fhir/smart-app-launch/STU2.2/scopes-and-launch-context.html), and compared with what is decided.
 */
const money = 'Account ChargeItem ChargeItemDefinition Claim ClaimResponse Contract Coverage CoverageEligibilityRequest CoverageEligibilityResponse EnrollmentRequest EnrollmentResponse ExplanationOfBenefit InsurancePlan Invoice PaymentNotice PaymentReconciliation'.split(' ');
const drugs = 'Medication MedicationAdministration MedicationDispense MedicationKnowledge MedicationRequest MedicationStatement'.split(' ');
const dispensing = 'AllergyIntolerance Condition Encounter Location Observation Organization Patient Practitioner PractitionerRole RelatedPerson'.split(' ');
const billed = 'Encounter Location Organization Patient Practitioner PractitionerRole RelatedPerson'.split(' ');
const directory = 'ActivityDefinition CapabilityStatement CodeSystem ConceptMap Endpoint HealthcareService Library Location Measure Medication MedicationKnowledge NamingSystem OperationDefinition Organization OrganizationAffiliation PlanDefinition Practitioner PractitionerRole Questionnaire SearchParameter StructureDefinition Substance ValueSet'.split(' ');

const permissions: readonly Permission[] = ['c', 'r', 'u', 'd', 's'];

/** Letters that a role has on a type, and whether only for the own or the launch's patient. */
const table: Readonly<Record<string, (type: string) => string>> = {
  'physician': (type) => (type === 'AuditEvent' ? '' : money.includes(type) ? 'rs' : 'cruds'),
  'nurse': (type) => (type === 'AuditEvent' || money.includes(type) ? '' : 'crus'),
  'pharmacist': (type) => (drugs.includes(type) ? 'cruds' : dispensing.includes(type) ? 'rs' : ''),
  'billing': (type) => (money.includes(type) ? 'cruds' : billed.includes(type) ? 'rs' : ''),
  'patient': (type) => (type === 'AuditEvent' ? '' : type === 'Consent' || type === 'QuestionnaireResponse' ? 'crus' : 'rs'),
  'auditor': (type) => (type === 'AuditEvent' ? 'rs' : ''),
  'integration-admin': () => '',
  'security-admin': () => '',
};

/** `all`, `some` (confined to a patient or by criteria) or `none`. */
type Verdict = 'all' | 'some' | 'none';

function decided(context: AccessContext, type: string, permission: Permission): Verdict {
  try {
    const reach = 'cud'.includes(permission) ? reachToWrite(context, type, [permission]) : reachOf(context, type, [permission]);
    return reach.unlimited ? 'all' : 'some';
  } catch (error) {
    if (error instanceof InterlockError && (error.code === 'forbidden' || error.code === 'interaction-unsupported')) return 'none';
    throw error;
  }
}

interface Form {
  readonly level: 'patient' | 'user' | 'system';
  readonly type: string;
  readonly letters: string;
  readonly granular: boolean;
}

/** What one scope is to give. `patient`: whom the launch or the person itself is about. */
function expected({ level, type: scoped, letters, granular }: Form, role: string | undefined, hasPatient: boolean, type: string, permission: Permission): Verdict {
  if ((scoped !== '*' && scoped !== type) || !letters.includes(permission)) return 'none';
  if (type === 'AuditEvent' && 'cud'.includes(permission)) return 'none';
  const whole: Verdict = granular ? 'some' : 'all';
  if (role === undefined) return level === 'system' ? whole : 'none';
  if (level === 'system' || !table[role]!(type).includes(permission)) return 'none';
  if (level === 'user' && role !== 'patient') return whole;
  if (!hasPatient) return 'none';
  if (directory.includes(type)) return 'rs'.includes(permission) ? whole : 'none';
  return 'some';
}

const subsets = Array.from({ length: 31 }, (_, n) => ['c', 'r', 'u', 'd', 's'].filter((_letter, bit) => (((n + 1) >> bit) & 1) === 1).join(''));
const accesses: readonly (readonly [written: string, letters: string])[] = [...subsets.map((letters) => [letters, letters] as const), ['read', 'rs'], ['write', 'cud'], ['*', 'cruds']];

function compare(role: string | undefined, form: Form, written: string, hasPatient: boolean, types: readonly string[]): string[] {
  const scope = `${form.level}/${form.type}.${written}${form.granular ? '?_tag=urn:x|y' : ''}`;
  const patient = hasPatient ? { patient: 'p1' } : {};
  const token: TokenFacts = role === undefined ? { clientId: 'app', scope, expiresAtMs: 0, ...(hasPatient ? { launch: patient } : {}) } : personToken(role, scope, { ...patient, ...(role === 'patient' && hasPatient ? { fhirUser: 'Patient/p1' } : {}) });
  const context = contextFromToken(token, { requestId: 'r' });
  return types.flatMap((type) => permissions.flatMap((permission) => {
    const [want, have] = [expected(form, role, hasPatient, type, permission), decided(context, type, permission)];
    return want === have ? [] : [`${role ?? 'client'} ${scope} ${type}.${permission}${hasPatient ? ' with patient' : ''}: ${want} expected, ${have} given`];
  }));
}

test('every role on every type and interaction: no over-grant, no under-grant', () => {
  expect(resourceTypes()).toHaveLength(146);
  expect(Object.keys(table).sort()).toEqual([...roleNames()].sort());
  const wrong = Object.keys(table).flatMap((role) => (['user', 'patient', 'system'] as const).flatMap((level) => [true, false].flatMap((hasPatient) => compare(role, { level, type: '*', letters: 'cruds', granular: false }, 'cruds', hasPatient, resourceTypes()))));
  expect(wrong).toEqual([]);
});

test('every form of scope on every type and interaction, for clients and people', () => {
  const wrong: string[] = [];
  for (const role of [undefined, 'physician', 'patient']) {
    for (const level of ['patient', 'user', 'system'] as const) {
      for (const [written, letters] of accesses) {
        for (const hasPatient of [true, false]) {
          wrong.push(...compare(role, { level, type: '*', letters, granular: false }, written, hasPatient, resourceTypes()));
          for (const type of ['Observation', 'Patient', 'Practitioner', 'Claim', 'AuditEvent', 'Binary']) wrong.push(...compare(role, { level, type, letters, granular: false }, written, hasPatient, ['Observation', 'Patient', 'Practitioner', 'Claim', 'AuditEvent', 'Binary', 'Consent']));
          // Of SMART's forms, v1 has no criteria.
          if (!['read', 'write', '*'].includes(written)) for (const type of ['Observation', 'Practitioner', '*']) wrong.push(...compare(role, { level, type, letters, granular: true }, written, hasPatient, ['Observation', 'Practitioner', 'Consent', 'AuditEvent']));
        }
      }
    }
  }
  expect(wrong).toEqual([]);
});

test('scopes that are none give nothing', () => {
  for (const scope of ['user/*', 'user/*.', 'user/*.sr', 'user/*.cc', 'user/Nothing.rs', 'User/*.rs', 'user/*.reads', 'user/*.rs?', 'users/*.rs', 'user/*.rs?code=x']) for (const type of ['Patient', 'Observation']) for (const permission of permissions) expect([scope, decided(contextFromToken(personToken('physician', scope), { requestId: 'r' }), type, permission)]).toEqual([scope, 'none']);
});

describe('through the guarded repository', () => {
  const types = ['Patient', 'Observation', 'Condition', 'Encounter', 'MedicationRequest', 'DocumentReference', 'Composition', 'Coverage', 'Invoice', 'Organization', 'Basic', 'AuditEvent'];
  const subject = { reference: 'Patient/p1' };
  const bodies: Readonly<Record<string, Record<string, unknown>>> = {
    Patient: {}, Observation: { status: 'final', code: { text: 'x' }, subject }, Condition: { subject }, Encounter: { status: 'finished', class: { code: 'AMB' }, subject }, MedicationRequest: { status: 'active', intent: 'order', medicationCodeableConcept: { text: 'x' }, subject },
    DocumentReference: { status: 'current', subject, content: [{ attachment: { title: 'x' } }] }, Composition: { status: 'final', type: { text: 'x' }, subject, date: '2024', title: 'x', author: [{ display: 'x' }] }, Coverage: { status: 'active', beneficiary: subject, payor: [{ display: 'x' }] }, Invoice: { status: 'draft', subject }, Organization: { name: 'x' }, Basic: { code: { text: 'x' } },
    AuditEvent: { type: { code: 'rest' }, recorded: '2024-01-01T00:00:00Z', agent: [{ requestor: true }], source: { observer: { display: 'x' } } },
  };
  let fhir: TestFhir;

  beforeAll(async () => {
    fhir = await testFhir();
    const admin: TokenFacts = { clientId: 'loader', scope: 'system/*.cruds', expiresAtMs: 0 };
    for (const type of types.filter((one) => one !== 'AuditEvent')) {
      const id = type === 'Patient' ? 'p1' : 'one';
      expect((await askAs(fhir, admin, 'PUT', `${type}/${id}`, { body: { resourceType: type, id, ...bodies[type] } })).status).toBe(201);
    }
  });

  afterAll(async () => fhir.close());

  test('each role is answered or refused as the table says, by every interaction', async () => {
    const wrong: string[] = [];
    const seen = new Set<Interaction>();
    let asked = 0;
    for (const [role, lettersOn] of Object.entries(table)) {
      // A patient has the own record; what is no patient's is closed.
      const token = personToken(role, 'user/*.cruds', role === 'patient' ? { fhirUser: 'Patient/p1', patient: 'p1' } : {});
      for (const type of types) {
        const id = type === 'Patient' ? 'p1' : 'one';
        const [letters, at] = [lettersOn(type), `${type}/${id}`];
        const body = { resourceType: type, id, ...bodies[type] };
        const inBatch = { resourceType: 'Bundle', type: 'batch', entry: [{ request: { method: 'GET', url: at } }] };
        const isHidden = role === 'patient' && (type === 'Basic' || type === 'Organization');
        const attempts: readonly (readonly [name: string, interaction: Interaction, letters: string, () => Promise<number>])[] = [
          ['read', 'read', 'r', async () => (await askAs(fhir, token, 'GET', at)).status],
          ['vread', 'vread', 'r', async () => (await askAs(fhir, token, 'GET', `${at}/_history/1`)).status],
          ['history', 'history', 'r', async () => (await askAs(fhir, token, 'GET', `${type}/_history`)).status],
          ['search', 'search', 's', async () => (await askAs(fhir, token, 'GET', `${type}?_count=1`)).status],
          ['count', 'search', 's', async () => (await askAs(fhir, token, 'GET', `${type}?_summary=count`)).status],
          ['batch', 'bundle', 'r', async () => Number((((await askAs(fhir, token, 'POST', '', { body: inBatch })).json['entry'] as { response: { status: string } }[])[0]!).response.status)],
          ['$validate', 'operation', 'r', async () => (await askAs(fhir, token, 'GET', `${at}/$validate`)).status],
          ['patch', 'patch', 'u', async () => (await askAs(fhir, token, 'PATCH', at, { body: [{ op: 'add', path: '/language', value: 'en' }], contentType: 'application/json-patch+json' })).status],
          ['update', 'update', 'u', async () => (await askAs(fhir, token, 'PUT', at, { body })).status],
          ['create', 'create', 'c', async () => (await askAs(fhir, token, 'POST', type, { body: bodies[type] === undefined ? {} : { resourceType: type, ...bodies[type] } })).status],
          ['conditional create', 'create', 'cs', async () => (await askAs(fhir, token, 'POST', type, { body: { resourceType: type, ...bodies[type] }, headers: { ifNoneExist: '_id=nothing' } })).status],
          ['conditional update', 'conditional-update', 'us', async () => (await askAs(fhir, token, 'PUT', `${type}?_id=${id}`, { body })).status],
          ['conditional patch', 'conditional-patch', 'us', async () => (await askAs(fhir, token, 'PATCH', `${type}?_id=${id}`, { body: [{ op: 'add', path: '/language', value: 'en' }], contentType: 'application/json-patch+json' })).status],
          ['conditional delete', 'conditional-delete', 'ds', async () => (await askAs(fhir, token, 'DELETE', `${type}?_id=${letters.includes('d') ? 'nothing' : id}`)).status],
          ['delete', 'delete', 'd', async () => (await askAs(fhir, token, 'DELETE', `${type}/another`)).status],
        ];
        for (const [name, interaction, needed, attempt] of attempts) {
          const status = await attempt();
          seen.add(interaction);
          const [letter] = needed;
          asked += 1;
          // What is hidden is not there to be deleted. Nobody writes the trail; it has no versions and no past; its entries are found by their own ids.
          const isPermitted = needed.split('').every((one) => letters.includes(one));
          const fits = !isPermitted || (type === 'AuditEvent' && letter === 'r') ? [403, 404, 405].includes(status) || (type === 'AuditEvent' && isPermitted && status === 200) || (isHidden && interaction === 'conditional-delete' && status === 204) : isHidden && letter === 'r' ? [200, 404].includes(status) : [200, 201, 204].includes(status) || (role === 'patient' && [404, 403].includes(status) && letter !== 'r' && letter !== 's');
          if (!fits) wrong.push(`${role} ${name} of ${type}: ${status}`);
        }
      }
    }
    expect(wrong).toEqual([]);
    expect(asked).toBeGreaterThan(1_000);
    // Whoever adds an interaction adds it here; capabilities are everybody's.
    expect([...seen].sort()).toEqual([...new Set(['operation', ...routeTable.map(({ interaction }) => interaction)])].filter((one) => one !== 'capabilities').sort());
  });

  test('a refused search, chain, include, compartment or operation is refused or silent too', async () => {
    const clerk = personToken('billing', 'user/*.cruds');
    const nurse = personToken('nurse', 'user/*.cruds');
    for (const url of ['Observation?code=x', 'Patient?_has:Observation:patient:code=x', 'Encounter?_has:Condition:encounter:code=x', 'Composition?title=x', 'Observation/$lastn?patient=p1&category=laboratory', 'Patient/p1/Observation', 'DocumentReference/one/$meta', 'Binary?_id=x', '_history?_type=x', 'Patient/p1/$everything', 'Patient/p1/*', 'Patient?_id=p1&_revinclude=*', 'Claim?_include=*', '?_type=Patient,Observation']) {
      const { status, text } = await askAs(fhir, clerk, 'GET', url);
      expect([url, [200, 403, 404].includes(status), /"resourceType":"(?:Observation|Condition|DocumentReference|Composition|MedicationRequest|Binary)"/.test(text)]).toEqual([url, true, false]);
    }
    for (const url of ['Coverage?_summary=count', 'Patient?_has:Coverage:beneficiary:status=active', 'Patient/p1/Coverage', 'Patient/p1/$everything', 'Patient/p1/*', 'Patient?_id=p1&_revinclude=*', '_history', 'Coverage/one/$diff', 'Invoice/_history', 'Encounter?account.name=x']) {
      const { status, text } = await askAs(fhir, nurse, 'GET', url);
      expect([url, [200, 403, 404].includes(status), /"resourceType":"(?:Coverage|Invoice)"/.test(text)]).toEqual([url, true, false]);
    }
  });
});
