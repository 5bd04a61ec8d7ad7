import type { Case, Chapter } from '../case.ts';

/**
 * The searches that US Core 6.1 and 7.0 ask of a server, by resource type (https://hl7.org/fhir/us/core/CapabilityStatement-us-core-server.html):
 * the fixture that has to be found, and the parameters with the values that find it.
 */
const rows: readonly (readonly [line: number, type: string, id: string, searches: readonly string[], more?: { readonly include?: string; readonly included?: string; readonly isAlone?: boolean }])[] = [
  [145, 'AllergyIntolerance', 'c-allergy', ['patient=c-ada', 'patient=c-ada&clinical-status=http://terminology.hl7.org/CodeSystem/allergyintolerance-clinical|active']],
  [146, 'Observation', 'c-glucose-1', ['patient=c-ada&code=2339-0', 'patient=c-ada&category=laboratory', 'patient=c-ada&category=http://terminology.hl7.org/CodeSystem/observation-category|laboratory&date=ge2023-01-10', 'patient=c-ada&code=http://loinc.org|2339-0&date=lt2023-01-11', 'patient=c-ada&category=laboratory&status=final,amended', 'patient=c-ada&_lastUpdated=gt2020-01-01&category=laboratory']],
  [147, 'CarePlan', 'c-plan', ['patient=c-ada&category=assess-plan', 'patient=c-ada&category=assess-plan&status=active,completed', 'patient=c-ada&category=assess-plan&date=ge2023-01-01&status=active', 'patient=c-ada&category=assess-plan&date=gt2023-01-01']],
  [148, 'CareTeam', 'c-team', ['patient=c-ada&status=active', 'role=223366009', 'patient=c-ada&role=http://snomed.info/sct|223366009'], { include: 'CareTeam:participant:Practitioner', included: 'Practitioner/c-doc' }],
  [148, 'CareTeam', 'c-team', ['patient=c-ada&status=active'], { include: 'CareTeam:participant:RelatedPerson', included: 'RelatedPerson/c-kin' }],
  [149, 'Condition', 'c-condition', ['patient=c-ada', 'patient=c-ada&category=encounter-diagnosis', 'patient=c-ada&recorded-date=ge2023-01-10', 'patient=c-ada&asserted-date=le2023-01-09', 'patient=c-ada&category=encounter-diagnosis&clinical-status=resolved', 'patient=c-ada&onset-date=lt2023-01-10', 'patient=c-ada&abatement-date=gt2023-01-14', 'patient=c-ada&category=encounter-diagnosis&encounter=Encounter/c-visit', 'patient=c-ada&code=386661006', 'patient=c-ada&_lastUpdated=ge2020-01-01']],
  [150, 'Coverage', 'c-coverage', ['patient=c-ada']],
  [151, 'Device', 'c-device', ['patient=c-ada', 'patient=c-ada&type=72506001', 'patient=c-ada&status=active,inactive']],
  [152, 'DiagnosticReport', 'c-report', ['patient=c-ada', 'patient=c-ada&category=LAB', 'patient=c-ada&category=http://terminology.hl7.org/CodeSystem/v2-0074|LAB&date=ge2023-01-12', 'patient=c-ada&code=24323-8', 'patient=c-ada&code=24323-8&date=le2023-01-13', 'patient=c-ada&status=final,registered', 'patient=c-ada&_lastUpdated=gt2020-01-01&category=LAB']],
  [153, 'DocumentReference', 'c-note', ['patient=c-ada', '_id=c-note', 'patient=c-ada&type=34117-2', 'patient=c-ada&category=clinical-note&date=ge2023-01-12', 'patient=c-ada&category=clinical-note', 'patient=c-ada&status=current', 'patient=c-ada&period=ge2023-01-12&type=34117-2']],
  [154, 'Encounter', 'c-visit', ['patient=c-ada', '_id=c-visit', 'patient=c-ada&date=ge2023-01-10', 'identifier=urn:example:visit|V-1', 'patient=c-ada&type=32485007', 'patient=c-ada&class=IMP', 'patient=c-ada&status=finished', 'patient=c-ada&location=Location/c-ward', 'patient=c-ada&discharge-disposition=home', 'patient=c-ada&_lastUpdated=gt2020-01-01']],
  [155, 'Goal', 'c-goal', ['patient=c-ada', 'patient=c-ada&target-date=ge2023-06-01', 'patient=c-ada&description=390906007', 'patient=c-ada&lifecycle-status=active']],
  [156, 'Immunization', 'c-shot', ['patient=c-ada', 'patient=c-ada&date=2023-01-11', 'patient=c-ada&status=completed']],
  [157, 'MedicationDispense', 'c-dispense', ['patient=c-ada', 'patient=c-ada&status=completed,cancelled&type=FF', 'patient=c-ada&status=completed'], { include: 'MedicationDispense:medication', included: 'Medication/c-drug' }],
  [158, 'MedicationRequest', 'c-order', ['patient=c-ada&intent=order,plan', 'patient=c-ada&intent=order&status=active,completed', 'patient=c-ada&encounter=Encounter/c-visit&intent=order', 'patient=c-ada&authoredon=ge2023-01-10T00:00:00Z&intent=order'], { include: 'MedicationRequest:medication', included: 'Medication/c-drug' }],
  [159, 'Organization', 'c-hospital', ['name=northfield', 'address=Rivertown'], { isAlone: true }],
  [160, 'Patient', 'c-ada', ['_id=c-ada', 'identifier=urn:example:mrn|C-1', 'name=lovgren&gender=female', 'birthdate=1970-02-14&name=Ada', 'gender=female&name=maria', 'birthdate=1970&family=lövgren', 'family=LOVGREN&gender=female', 'death-date=ge2023-05-01&family=Lovgren']],
  [161, 'Practitioner', 'c-doc', ['name=okafor', 'identifier=http://hl7.org/fhir/sid/us-npi|9999999999', '_id=c-doc'], { isAlone: true }],
  [162, 'PractitionerRole', 'c-role', ['specialty=207R00000X', 'practitioner=Practitioner/c-doc'], { isAlone: true, include: 'PractitionerRole:endpoint', included: 'Endpoint/c-endpoint' }],
  [162, 'PractitionerRole', 'c-role', ['practitioner=c-doc'], { isAlone: true, include: 'PractitionerRole:practitioner', included: 'Practitioner/c-doc' }],
  [163, 'Procedure', 'c-procedure', ['patient=c-ada', 'patient=c-ada&date=ge2023-01-11', 'patient=c-ada&code=80146002&date=lt2023-01-12', 'patient=c-ada&status=completed']],
  [164, 'Provenance', 'c-provenance', ['_id=c-provenance'], { isAlone: true }],
  [165, 'QuestionnaireResponse', 'c-answers', ['patient=c-ada', '_id=c-answers', 'patient=c-ada&questionnaire=http://example.org/Questionnaire/c', 'patient=c-ada&authored=ge2023-01-10', 'patient=c-ada&status=completed,in-progress']],
  [166, 'RelatedPerson', 'c-kin', ['_id=c-kin', 'patient=c-ada', 'name=Carl', 'patient=c-ada&name=lövgren']],
  [167, 'ServiceRequest', 'c-service', ['patient=c-ada', '_id=c-service', 'patient=c-ada&authored=ge2023-01-10&category=108252007', 'patient=c-ada&category=108252007', 'patient=c-ada&code=24323-8', 'patient=c-ada&status=active,completed', 'patient=c-ada&authored=lt2023-02-01&code=24323-8']],
  [168, 'Specimen', 'c-specimen', ['_id=c-specimen', 'patient=c-ada']],
  [169, 'Location', 'c-ward', ['address=Rivertown', 'name=ward', 'address-city=rivertown', 'address-postalcode=44101', 'address-state=OH'], { isAlone: true }],
];

const encoded = (search: string): string => search.split('&').map((pair) => pair.split('=', 2).map((part, index) => (index === 0 ? part : encodeURIComponent(part))).join('=')).join('&');

const cases = rows.flatMap(([line, type, id, searches, more = {}], row): Case[] => {
  const each = searches.map((search, index): Case => {
    const found = [`type = 'searchset'`, `entry.where(search.mode = 'outcome').empty()`, `entry.where(search.mode = 'match').exists() and entry.where(search.mode = 'match').resource.all(resourceType = '${type}')`, `entry.where(search.mode = 'match').resource.where(id = '${id}').count() = 1`, `entry.resource.where(subject.reference = 'Patient/c-ben').empty()`];
    return {
      id: `uscore-${line}${String.fromCharCode(97 + row % 3)}${index + 1}`,
      title: `${type}: ${search.split('&').map((pair) => pair.split('=')[0]).join(' + ')}`,
      steps: [
        { send: `GET ${type}?${encoded(search)}`, status: 200, expect: found, keep: { count: "entry.where(search.mode = 'match').count()" } },
        { send: `POST ${type}/_search`, headers: { 'Content-Type': 'application/x-www-form-urlencoded' }, body: encoded(search), status: 200, expect: [...found, `entry.where(search.mode = 'match').count() = {count}`] },
        ...(search.includes('patient=c-ada') ? [{ send: `GET ${type}?${encoded(search.replace('patient=c-ada', 'patient=Patient/c-ada'))}`, status: 200, expect: [`entry.where(search.mode = 'match').count() = {count}`] }] : []),
      ],
    };
  });
  const first = encoded(searches[0]!);
  const include: Case[] = more.include === undefined ? [] : [{ id: `uscore-${line}i${row}`, title: `${type}: _include=${more.include}`, steps: [{ send: `GET ${type}?${first}&_include=${more.include}`, status: 200, expect: [`entry.where(search.mode = 'include').resource.select(id).combine('${more.included!.split('/')[1]!}').isDistinct().not()`, `entry.where(search.mode = 'include').count() >= 1`] }] }];
  const provenance: Case[] = more.isAlone === true ? [] : [{ id: `uscore-137-${type}${row}`, title: `${type}: _revinclude=Provenance:target`, steps: [{ send: `GET ${type}?${first}&_revinclude=Provenance:target`, status: 200, expect: [`entry.where(search.mode = 'include').resource.all(resourceType = 'Provenance')`] }] }];
  return [...each, ...include, ...provenance, { id: `uscore-138-${type}${row}`, title: `${type}: read`, steps: [{ send: `GET ${type}/${id}`, status: 200, expect: [`id = '${id}'`, `resourceType = '${type}'`] }] }];
});

const dateCases = ([['gt', '2023-01-10', 'c-glucose-2', 'c-glucose-1'], ['ge', '2023-01-11T09:00:00Z', 'c-glucose-2', 'c-glucose-1'], ['lt', '2023-01-11', 'c-glucose-1', 'c-glucose-2'], ['le', '2023-01-10T09:00:00+00:00', 'c-glucose-1', 'c-glucose-2']] as const).map(([prefix, date, found, missed]): Case => ({
  id: `uscore-132${prefix}`, title: `dates compare by ${prefix}`,
  steps: [{ send: `GET Observation?patient=c-ada&code=2339-0&date=${prefix}${encodeURIComponent(date)}`, status: 200, expect: [`entry.resource.where(id = '${found}').exists()`, `entry.resource.where(id = '${missed}').empty()`] }],
}));

export const usCore: Chapter = {
  name: 'US Core searches',
  cases: [
    ...cases,
    ...dateCases,
    { id: 'uscore-137', title: 'Provenance comes with what it is about', steps: [{ send: 'GET Encounter?patient=c-ada&_revinclude=Provenance:target', status: 200, expect: ["entry.where(search.mode = 'include').resource.where(id = 'c-provenance').exists()"] }] },
    { id: 'uscore-134', title: 'a search without status is answered, with all statuses', steps: [{ send: 'GET Observation?patient=c-ada', status: 200, expect: ["entry.resource.select(status).distinct().count() = 2"] }] },
    { id: 'uscore-135', title: 'pages are followed by next', steps: [{ send: 'GET Observation?patient=c-ada&_count=2', status: 200, expect: ['entry.count() = 2'], keep: { next: "link.where(relation = 'next').url" } }, { send: 'GET {next}', status: 200, expect: ['entry.count() = 2'] }] },
    { id: 'uscore-144a', title: 'an invalid parameter value is a 400', steps: [{ send: 'GET Observation?patient=c-ada&date=abc', status: 400 }] },
    { id: 'uscore-144b', title: 'no token is a 401, scope too small a 403, an unknown id a 404', steps: [{ send: 'GET Patient/c-ada', as: 'stranger', status: 401 }, { send: 'GET Condition?patient=c-ada', as: 'reader', status: 403 }, { send: 'GET Patient/c-nobody', status: 404 }] },
  ],
};
