import type { Json } from './resources.ts';

/** What the oracle knows of a search parameter: transcribed from https://hl7.org/fhir/R4/searchparameter-registry.html. */
export interface OracleParam {
  readonly type: 'string' | 'token' | 'date' | 'reference' | 'quantity' | 'number' | 'uri' | 'composite';
  /** Where its values are, as dotted element paths; arrays are walked through. */
  readonly paths: readonly string[];
  /** Types that a reference may lead to. */
  readonly targets?: readonly string[];
  /** Of a composite: the repeat that components are taken from, and the components with paths relative to it. */
  readonly of?: string;
  readonly components?: readonly OracleParam[];
  /** Pools that queries take values from, see queries.ts. */
  readonly pool?: string;
}

const common: Readonly<Record<string, OracleParam>> = {
  _tag: { type: 'token', paths: ['meta.tag'], pool: 'tag' },
};
const person: Readonly<Record<string, OracleParam>> = {
  name: { type: 'string', paths: ['name.family', 'name.given', 'name.text'], pool: 'name' },
  family: { type: 'string', paths: ['name.family'], pool: 'family' },
  given: { type: 'string', paths: ['name.given'], pool: 'given' },
  gender: { type: 'token', paths: ['gender'], pool: 'gender' },
  identifier: { type: 'token', paths: ['identifier'], pool: 'identifier' },
};
const code: OracleParam = { type: 'token', paths: ['code'], pool: 'concept' };
const valueQuantity: OracleParam = { type: 'quantity', paths: ['valueQuantity'] };

export const oracleParams: Readonly<Record<string, Readonly<Record<string, OracleParam>>>> = {
  Organization: {
    ...common,
    active: { type: 'token', paths: ['active'], pool: 'boolean' },
    // R4 names both name and alias.
    name: { type: 'string', paths: ['name'], pool: 'city' },
    identifier: person['identifier']!,
    partof: { type: 'reference', paths: ['partOf'], targets: ['Organization'] },
  },
  Practitioner: { ...common, ...person },
  Location: {
    ...common,
    name: { type: 'string', paths: ['name'], pool: 'city' },
    status: { type: 'token', paths: ['status'], pool: 'locationStatus' },
    partof: { type: 'reference', paths: ['partOf'], targets: ['Location'] },
    organization: { type: 'reference', paths: ['managingOrganization'], targets: ['Organization'] },
  },
  Patient: {
    ...common,
    ...person,
    'active': { type: 'token', paths: ['active'], pool: 'boolean' },
    'birthdate': { type: 'date', paths: ['birthDate'] },
    'address-city': { type: 'string', paths: ['address.city'], pool: 'city' },
    'death-date': { type: 'date', paths: ['deceasedDateTime'] },
    'organization': { type: 'reference', paths: ['managingOrganization'], targets: ['Organization'] },
    'general-practitioner': { type: 'reference', paths: ['generalPractitioner'], targets: ['Practitioner', 'Organization'] },
  },
  Encounter: {
    ...common,
    status: { type: 'token', paths: ['status'], pool: 'encounterStatus' },
    class: { type: 'token', paths: ['class'], pool: 'class' },
    date: { type: 'date', paths: ['period'] },
    subject: { type: 'reference', paths: ['subject'], targets: ['Patient'] },
    patient: { type: 'reference', paths: ['subject'], targets: ['Patient'] },
    location: { type: 'reference', paths: ['location.location'], targets: ['Location'] },
  },
  Observation: {
    ...common,
    'status': { type: 'token', paths: ['status'], pool: 'obsStatus' },
    code,
    'category': { type: 'token', paths: ['category'], pool: 'category' },
    'combo-code': { type: 'token', paths: ['code', 'component.code'], pool: 'concept' },
    'component-code': { type: 'token', paths: ['component.code'], pool: 'concept' },
    'value-concept': { type: 'token', paths: ['valueCodeableConcept'], pool: 'concept' },
    'date': { type: 'date', paths: ['effectiveDateTime', 'effectivePeriod'] },
    'subject': { type: 'reference', paths: ['subject'], targets: ['Patient'] },
    'patient': { type: 'reference', paths: ['subject'], targets: ['Patient'] },
    'encounter': { type: 'reference', paths: ['encounter'], targets: ['Encounter'] },
    'performer': { type: 'reference', paths: ['performer'], targets: ['Practitioner', 'Organization'] },
    'value-quantity': valueQuantity,
    'component-value-quantity': { type: 'quantity', paths: ['component.valueQuantity'] },
    'code-value-quantity': { type: 'composite', paths: [], components: [code, valueQuantity] },
    'component-code-value-quantity': { type: 'composite', paths: [], of: 'component', components: [code, valueQuantity] },
    'code-value-concept': { type: 'composite', paths: [], components: [code, { type: 'token', paths: ['valueCodeableConcept'], pool: 'concept' }] },
  },
  RiskAssessment: { probability: { type: 'number', paths: ['prediction.probabilityDecimal'] }, subject: { type: 'reference', paths: ['subject'], targets: ['Patient'] } },
  CodeSystem: { url: { type: 'uri', paths: ['url'] }, status: { type: 'token', paths: ['status'], pool: 'publicationStatus' } },
};

/** Everything at a dotted path, arrays walked through. */
export function at(value: unknown, path: string): unknown[] {
  let found: unknown[] = [value];
  for (const step of path === '' ? [] : path.split('.')) {
    found = found.flatMap((one) => {
      const next = (one as Json | undefined)?.[step];
      return next === undefined ? [] : Array.isArray(next) ? (next as unknown[]) : [next];
    });
  }
  return found;
}
