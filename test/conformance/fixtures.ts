import type { FhirCaller, Json } from '../support/fhir.ts';

/** The patient whom most cases are about. */
export const patientId = 'c-ada';

const patient = { reference: `Patient/${patientId}` };
const coded = (system: string, code: string): Json['x'] => ({ coding: [{ system, code }] });
const loinc = 'http://loinc.org';
const observationCategory = 'http://terminology.hl7.org/CodeSystem/observation-category';

function lab(id: string, code: string, value: number, unit: string, date: string): Record<string, unknown> {
  return {
    resourceType: 'Observation', id, status: 'final', category: [coded(observationCategory, 'laboratory')], code: coded(loinc, code), subject: patient, encounter: { reference: 'Encounter/c-visit' },
    effectiveDateTime: date, valueQuantity: { value, unit, system: 'http://unitsofmeasure.org', code: unit },
  };
}

/** What cases search in; what refers comes after what it refers to. */
export const fixtures: readonly Record<string, unknown>[] = [
  { resourceType: 'Organization', id: 'c-hospital', active: true, name: 'Northfield General', address: [{ line: ['1 Mill Lane'], city: 'Rivertown', state: 'OH', postalCode: '44101' }], identifier: [{ system: 'urn:example:org', value: 'NG' }] },
  { resourceType: 'Practitioner', id: 'c-doc', name: [{ family: 'Okafor', given: ['Ngozi'] }], identifier: [{ system: 'http://hl7.org/fhir/sid/us-npi', value: '9999999999' }] },
  { resourceType: 'Location', id: 'c-ward', status: 'active', name: 'Ward Three', address: { city: 'Rivertown', state: 'OH', postalCode: '44101', line: ['1 Mill Lane'] }, position: { longitude: -81.69, latitude: 41.5 } },
  { resourceType: 'Endpoint', id: 'c-endpoint', status: 'active', connectionType: { system: 'http://terminology.hl7.org/CodeSystem/endpoint-connection-type', code: 'hl7-fhir-rest' }, payloadType: [{ text: 'any' }], address: 'https://example.org/fhir' },
  { resourceType: 'PractitionerRole', id: 'c-role', active: true, practitioner: { reference: 'Practitioner/c-doc' }, organization: { reference: 'Organization/c-hospital' }, specialty: [coded('http://nucc.org/provider-taxonomy', '207R00000X')], endpoint: [{ reference: 'Endpoint/c-endpoint' }] },
  {
    resourceType: 'Patient', id: patientId, active: true, identifier: [{ type: coded('http://terminology.hl7.org/CodeSystem/v2-0203', 'MR'), system: 'urn:example:mrn', value: 'C-1' }],
    name: [{ use: 'official', family: 'Lövgren', given: ['Ada', 'Maria'], prefix: ['Dr.'] }], gender: 'female', birthDate: '1970-02-14', deceasedDateTime: '2023-05-01', telecom: [{ system: 'phone', value: '555-0101' }],
    address: [{ line: ['12 Mill Lane'], city: 'Rivertown', state: 'OH', postalCode: '44101' }], generalPractitioner: [{ reference: 'Practitioner/c-doc' }], managingOrganization: { reference: 'Organization/c-hospital' },
  },
  { resourceType: 'Patient', id: 'c-ben', identifier: [{ system: 'urn:example:mrn', value: 'C-2' }], name: [{ family: 'Lovgren', given: ['Ben'] }], gender: 'male', birthDate: '1971' },
  { resourceType: 'Patient', id: 'c-nameless', identifier: [{ system: 'urn:example:mrn', value: 'C-3' }] },
  { resourceType: 'RelatedPerson', id: 'c-kin', patient, name: [{ family: 'Lövgren', given: ['Carl'] }] },
  {
    resourceType: 'Encounter', id: 'c-visit', status: 'finished', class: { system: 'http://terminology.hl7.org/CodeSystem/v3-ActCode', code: 'IMP' }, type: [coded('http://snomed.info/sct', '32485007')], subject: patient, identifier: [{ system: 'urn:example:visit', value: 'V-1' }],
    period: { start: '2023-01-10T08:00:00Z', end: '2023-01-14T12:00:00Z' }, location: [{ location: { reference: 'Location/c-ward' } }], hospitalization: { dischargeDisposition: coded('http://terminology.hl7.org/CodeSystem/discharge-disposition', 'home') }, participant: [{ individual: { reference: 'Practitioner/c-doc' } }],
  },
  lab('c-glucose-1', '2339-0', 5.4, 'mmol/L', '2023-01-10T09:00:00Z'),
  lab('c-glucose-2', '2339-0', 6.1, 'mmol/L', '2023-01-11T09:00:00Z'),
  lab('c-creatinine', '2160-0', 0.9, 'mg/dL', '2023-01-12'),
  {
    resourceType: 'Observation', id: 'c-pressure', status: 'amended', category: [coded(observationCategory, 'vital-signs')], code: coded(loinc, '85354-9'), subject: patient, effectiveDateTime: '2023-01-10T10:00:00Z',
    component: [['8480-6', 120], ['8462-4', 80]].map(([code, value]) => ({ code: coded(loinc, code as string), valueQuantity: { value, unit: 'mmHg', system: 'http://unitsofmeasure.org', code: 'mm[Hg]' } })),
  },
  { resourceType: 'Observation', id: 'c-other', status: 'final', category: [coded(observationCategory, 'laboratory')], code: coded(loinc, '2339-0'), subject: { reference: 'Patient/c-ben' }, effectiveDateTime: '2023-02-01' },
  { resourceType: 'AllergyIntolerance', id: 'c-allergy', clinicalStatus: coded('http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical', 'active'), verificationStatus: coded('http://terminology.hl7.org/CodeSystem/allergyintolerance-verification', 'confirmed'), code: { text: 'Peanut' }, patient },
  { resourceType: 'CarePlan', id: 'c-plan', status: 'active', intent: 'plan', category: [coded('http://hl7.org/fhir/us/core/CodeSystem/careplan-category', 'assess-plan')], subject: patient, period: { start: '2023-01-10' } },
  { resourceType: 'CareTeam', id: 'c-team', status: 'active', subject: patient, participant: [{ role: [coded('http://snomed.info/sct', '223366009')], member: { reference: 'Practitioner/c-doc' } }, { member: { reference: 'RelatedPerson/c-kin' } }] },
  {
    resourceType: 'Condition', id: 'c-condition', clinicalStatus: coded('http://terminology.hl7.org/CodeSystem/condition-clinical', 'resolved'), verificationStatus: coded('http://terminology.hl7.org/CodeSystem/condition-ver-status', 'confirmed'), category: [coded('http://terminology.hl7.org/CodeSystem/condition-category', 'encounter-diagnosis')],
    code: coded('http://snomed.info/sct', '386661006'), subject: patient, encounter: { reference: 'Encounter/c-visit' }, onsetDateTime: '2023-01-09', abatementDateTime: '2023-01-15', recordedDate: '2023-01-10', extension: [{ url: 'http://hl7.org/fhir/StructureDefinition/condition-assertedDate', valueDateTime: '2023-01-09' }],
  },
  { resourceType: 'Coverage', id: 'c-coverage', status: 'active', beneficiary: patient, payor: [{ reference: 'Organization/c-hospital' }] },
  { resourceType: 'Device', id: 'c-device', status: 'active', type: coded('http://snomed.info/sct', '72506001'), patient },
  { resourceType: 'DiagnosticReport', id: 'c-report', status: 'final', category: [coded('http://terminology.hl7.org/CodeSystem/v2-0074', 'LAB')], code: coded(loinc, '24323-8'), subject: patient, effectiveDateTime: '2023-01-12T08:00:00Z', result: [{ reference: 'Observation/c-creatinine' }] },
  {
    resourceType: 'DocumentReference', id: 'c-note', status: 'current', type: coded(loinc, '34117-2'), category: [coded('http://hl7.org/fhir/us/core/CodeSystem/us-core-documentreference-category', 'clinical-note')], subject: patient, date: '2023-01-12T08:00:00Z', context: { period: { start: '2023-01-12' } },
    content: [{ attachment: { contentType: 'text/plain', data: 'bm90ZQ==' } }],
  },
  { resourceType: 'Goal', id: 'c-goal', lifecycleStatus: 'active', description: { ...coded('http://snomed.info/sct', '390906007') as object, text: 'Walk daily' }, subject: patient, target: [{ dueDate: '2023-06-01' }] },
  { resourceType: 'Immunization', id: 'c-shot', status: 'completed', vaccineCode: coded('http://hl7.org/fhir/sid/cvx', '140'), patient, occurrenceDateTime: '2023-01-11' },
  { resourceType: 'Medication', id: 'c-drug', code: coded('http://www.nlm.nih.gov/research/umls/rxnorm', '860975') },
  { resourceType: 'MedicationRequest', id: 'c-order', status: 'active', intent: 'order', medicationReference: { reference: 'Medication/c-drug' }, subject: patient, encounter: { reference: 'Encounter/c-visit' }, authoredOn: '2023-01-10T11:00:00Z' },
  { resourceType: 'MedicationDispense', id: 'c-dispense', status: 'completed', type: coded('http://terminology.hl7.org/CodeSystem/v3-ActCode', 'FF'), medicationReference: { reference: 'Medication/c-drug' }, subject: patient },
  { resourceType: 'Procedure', id: 'c-procedure', status: 'completed', code: coded('http://snomed.info/sct', '80146002'), subject: patient, performedPeriod: { start: '2023-01-11T08:00:00Z', end: '2023-01-11T09:00:00Z' } },
  { resourceType: 'Questionnaire', id: 'c-questions', url: 'http://example.org/Questionnaire/c', status: 'active' },
  { resourceType: 'QuestionnaireResponse', id: 'c-answers', status: 'completed', questionnaire: 'http://example.org/Questionnaire/c', subject: patient, authored: '2023-01-10T08:30:00Z' },
  { resourceType: 'ServiceRequest', id: 'c-service', status: 'active', intent: 'order', category: [coded('http://snomed.info/sct', '108252007')], code: coded(loinc, '24323-8'), subject: patient, authoredOn: '2023-01-10T08:10:00Z' },
  { resourceType: 'Specimen', id: 'c-specimen', status: 'available', type: coded('http://snomed.info/sct', '119297000'), subject: patient },
  { resourceType: 'ValueSet', id: 'c-sugars', url: 'http://example.org/ValueSet/c-sugars', status: 'active', compose: { include: [{ system: loinc, concept: [{ code: '2339-0' }] }] } },
  { resourceType: 'Provenance', id: 'c-provenance', target: [{ reference: 'Encounter/c-visit' }, { reference: 'Observation/c-glucose-1' }, { reference: 'Condition/c-condition' }], recorded: '2023-01-14T12:00:00Z', agent: [{ who: { reference: 'Practitioner/c-doc' }, onBehalfOf: { reference: 'Organization/c-hospital' } }] },
];

/** Stores the fixtures under their ids. */
export async function loadFixtures(caller: FhirCaller): Promise<void> {
  for (const fixture of fixtures) {
    const answer = await caller.send('PUT', `${String(fixture['resourceType'])}/${String(fixture['id'])}`, fixture);
    if (answer.status !== 201) throw new Error(`PUT of a fixture was answered by ${answer.status}: ${answer.body.toString()}`);
  }
}
