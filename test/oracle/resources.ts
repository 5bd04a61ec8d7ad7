import type { Random } from './random.ts';

/** Any JSON object. */
export type Json = Record<string, unknown>;

/** A resource with the id that it is stored under. */
export type Resource = Json & { readonly resourceType: string; readonly id: string };

/** Values that resources and queries are both made of, so that queries find something. */
export const pools = {
  family: ['Müller', 'Muller', 'MULLER-Lüdenscheidt', "O'Hara", 'Van der Berg', 'Åberg', 'Ng', 'Nguyen', 'Smith', 'Smithson', 'smith', 'José', 'Œuvre', 'Li'],
  given: ['Ana', 'Anna', 'Anne-Marie', 'Änne', 'Bob', 'bobby', 'Chloé', 'Li', 'X'],
  city: ['Springfield', 'San José', 'Ål', 'Northfield', 'North Bend'],
  loinc: ['2339-0', '718-7', '2160-0', '8480-6', '8462-4', '29463-7'],
  local: ['glu', 'GLU', 'hb', 'bp'],
  text: ['Glucose in blood', 'glucose', 'Hämoglobin', 'Body weight', 'Blood pressure'],
  category: ['laboratory', 'vital-signs', 'survey'],
  obsStatus: ['final', 'amended', 'preliminary'],
  gender: ['male', 'female', 'other', 'unknown'],
  identifierSystem: ['urn:example:mrn', 'urn:example:ssn', 'http://example.org/ids'],
  identifierValue: ['1', '12', '123', 'A-1', 'a-1', '00123'],
  identifierType: ['MR', 'SS', 'DL'],
  year: ['2019', '2020', '2021'],
  tag: ['red', 'green', 'blue'],
  units: ['mg', 'g', 'kg', 'cm', 'm', 'mg/dL', '%'],
  decimals: ['0', '0.5', '1', '1.0', '1.00', '5.4', '5.40', '5.35', '5.449', '54', '99.5', '100', '100.0', '100.4', '5400', '0.0054', '-3', '-3.2', '1000'],
  probability: ['0', '0.1', '0.10', '0.25', '0.5', '0.95', '1'],
  url: ['http://example.org/fhir', 'http://example.org/fhir/CodeSystem', 'http://example.org/fhir/CodeSystem/a', 'http://example.org/fhir/CodeSystem/a/b', 'http://example.org/other', 'urn:oid:1.2.3'],
} as const;

export const loincSystem = 'http://loinc.org';
export const localSystem = 'urn:example:codes';
export const categorySystem = 'http://terminology.hl7.org/CodeSystem/observation-category';
export const identifierTypeSystem = 'http://terminology.hl7.org/CodeSystem/v2-0203';
export const ucum = 'http://unitsofmeasure.org';

const two = (n: number): string => String(n).padStart(2, '0');

/** A date or date-time of any precision, in few years so that they collide. */
export function anyDate(random: Random, withTime: boolean): string {
  const year = random.pick(pools.year);
  const month = two(1 + random.below(12));
  const day = two(1 + random.below(28));
  const precision = random.below(withTime ? 5 : 3);
  if (precision === 0) return year;
  if (precision === 1) return `${year}-${month}`;
  if (precision === 2) return `${year}-${month}-${day}`;
  const seconds = precision === 4 ? `${two(random.below(60))}.${String(random.below(1000)).padStart(3, '0')}` : two(random.below(60));
  return `${year}-${month}-${day}T${two(random.below(24))}:${two(random.below(60))}:${seconds}${random.pick(['Z', '+02:00', '-05:30'])}`;
}

function period(random: Random): Json {
  const [a, b] = [anyDate(random, true), anyDate(random, true)].sort((x, y) => Date.parse(x) - Date.parse(y));
  const shape = random.below(4);
  return { ...(shape === 1 ? {} : { start: a }), ...(shape === 2 ? {} : { end: `${Number(b!.slice(0, 4)) + 1}${b!.slice(4)}` }) };
}

function concept(random: Random): Json {
  const coding = random.some(2, () =>
    random.chance(0.6)
      ? { system: loincSystem, code: random.pick(pools.loinc), ...(random.chance(0.3) ? { display: random.pick(pools.text) } : {}) }
      : { ...(random.chance(0.7) ? { system: localSystem } : {}), code: random.pick(pools.local) },
  );
  return { coding, ...(random.chance(0.4) ? { text: random.pick(pools.text) } : {}) };
}

function quantity(random: Random): Json {
  const unit = random.pick(pools.units);
  const value = Number(random.pick(pools.decimals));
  if (random.chance(0.15)) return { value, unit };
  return { value, unit, system: ucum, code: unit };
}

function identifier(random: Random): Json {
  return {
    ...(random.chance(0.5) ? { type: { coding: [{ system: identifierTypeSystem, code: random.pick(pools.identifierType) }], ...(random.chance(0.3) ? { text: random.pick(pools.text) } : {}) } } : {}),
    ...(random.chance(0.8) ? { system: random.pick(pools.identifierSystem) } : {}),
    value: random.pick(pools.identifierValue),
  };
}

function name(random: Random): Json {
  return { ...(random.chance(0.9) ? { family: random.pick(pools.family) } : {}), given: random.some(2, () => random.pick(pools.given)), ...(random.chance(0.2) ? { text: random.pick(pools.family) } : {}) };
}

function meta(random: Random): Json {
  return random.chance(0.3) ? { meta: { tag: [{ system: 'urn:example:tags', code: random.pick(pools.tag) }] } } : {};
}

type Ids = (type: string) => string | undefined;

function reference(random: Random, ids: Ids, type: string, presence = 0.8): Json | undefined {
  const id = random.chance(presence) ? ids(type) : undefined;
  if (id === undefined) return undefined;
  return random.chance(0.15) ? { reference: `${type}/${id}`, identifier: { system: random.pick(pools.identifierSystem), value: random.pick(pools.identifierValue) } } : { reference: `${type}/${id}` };
}

const optional = (key: string, value: unknown): Json => (value === undefined ? {} : { [key]: value });

/** How a resource of each type is made; `ids` gives the id of some resource of a type that exists already. */
export const makers: Readonly<Record<string, (random: Random, ids: Ids) => Json>> = {
  Organization: (random, ids) => ({
    active: random.chance(0.8), name: random.pick(pools.city), ...optional('partOf', reference(random, ids, 'Organization', 0.4)),
    ...(random.chance(0.5) ? { identifier: [identifier(random)] } : {}),
  }),
  Practitioner: (random) => ({ ...(random.chance(0.9) ? { name: [name(random)] } : {}), gender: random.pick(pools.gender), ...(random.chance(0.5) ? { identifier: [identifier(random)] } : {}) }),
  Location: (random, ids) => ({ name: random.pick(pools.city), status: random.pick(['active', 'suspended', 'inactive']), ...optional('partOf', reference(random, ids, 'Location', 0.5)), ...optional('managingOrganization', reference(random, ids, 'Organization', 0.5)) }),
  Patient: (random, ids) => ({
    ...meta(random),
    ...(random.chance(0.7) ? { active: random.chance(0.5) } : {}),
    ...(random.chance(0.8) ? { identifier: random.some(2, () => identifier(random)) } : {}),
    ...(random.chance(0.9) ? { name: random.some(2, () => name(random)) } : {}),
    ...(random.chance(0.8) ? { gender: random.pick(pools.gender) } : {}),
    ...(random.chance(0.8) ? { birthDate: anyDate(random, false) } : {}),
    ...(random.chance(0.5) ? { address: random.some(2, () => ({ city: random.pick(pools.city) })) } : {}),
    ...(random.chance(0.2) ? { deceasedBoolean: random.chance(0.5) } : random.chance(0.2) ? { deceasedDateTime: anyDate(random, true) } : {}),
    ...optional('managingOrganization', reference(random, ids, 'Organization', 0.5)),
    ...(random.chance(0.5) ? optional('generalPractitioner', [reference(random, ids, random.pick(['Practitioner', 'Organization']), 1)].filter((one) => one !== undefined)) : {}),
  }),
  Encounter: (random, ids) => ({
    ...meta(random),
    status: random.pick(['finished', 'in-progress', 'planned']), class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: random.pick(['AMB', 'IMP', 'EMER']) },
    ...optional('subject', reference(random, ids, 'Patient')), ...(random.chance(0.8) ? { period: period(random) } : {}),
    ...(random.chance(0.5) ? optional('location', locations(reference(random, ids, 'Location', 1))) : {}),
  }),
  Observation: (random, ids) => ({
    ...meta(random),
    status: random.pick(pools.obsStatus), code: concept(random),
    ...(random.chance(0.8) ? { category: random.some(2, () => ({ coding: [{ system: categorySystem, code: random.pick(pools.category) }] })) } : {}),
    ...optional('subject', reference(random, ids, 'Patient', 0.9)), ...optional('encounter', reference(random, ids, 'Encounter', 0.4)),
    ...(random.chance(0.5) ? { effectiveDateTime: anyDate(random, true) } : random.chance(0.6) ? { effectivePeriod: period(random) } : {}),
    ...(random.chance(0.6) ? { valueQuantity: quantity(random) } : random.chance(0.4) ? { valueCodeableConcept: concept(random) } : random.chance(0.3) ? { valueString: random.pick(pools.text) } : {}),
    ...(random.chance(0.4) ? { component: random.some(3, () => ({ code: concept(random), ...(random.chance(0.8) ? { valueQuantity: quantity(random) } : {}) })) } : {}),
    ...(random.chance(0.3) ? optional('performer', [reference(random, ids, random.pick(['Practitioner', 'Organization']), 1)].filter((one) => one !== undefined)) : {}),
  }),
  RiskAssessment: (random, ids) => ({
    status: 'final', subject: reference(random, ids, 'Patient', 1) ?? { display: 'nobody' },
    ...(random.chance(0.9) ? { prediction: random.some(2, () => ({ probabilityDecimal: Number(random.pick(pools.probability)) })) } : {}),
  }),
  CodeSystem: (random) => ({ status: random.pick(['active', 'draft']), content: 'complete', ...(random.chance(0.9) ? { url: random.pick(pools.url) } : {}) }),
};

function locations(location: Json | undefined): Json[] | undefined {
  return location === undefined ? undefined : [{ location }];
}

/** The order in which types are made: what is referred to comes first. */
const shares: readonly (readonly [string, number])[] = [['Organization', 12], ['Practitioner', 12], ['Location', 10], ['Patient', 50], ['Encounter', 50], ['Observation', 120], ['RiskAssessment', 20], ['CodeSystem', 15]];

/** Resources in the order in which they are to be stored. */
export function makeResources(random: Random, scale = 1): Resource[] {
  const made = new Map<string, string[]>();
  const ids: Ids = (type) => {
    const known = made.get(type) ?? [];
    return known.length === 0 ? undefined : random.pick(known);
  };
  return shares.flatMap(([type, count]) =>
    Array.from({ length: Math.ceil(count * scale) }, (_, index) => {
      const id = `${type.toLowerCase().slice(0, 3)}-${index}`;
      const resource = { resourceType: type, id, ...makers[type]!(random, ids) };
      made.set(type, [...(made.get(type) ?? []), id]);
      return resource;
    }),
  );
}
