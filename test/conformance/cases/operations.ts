import type { Chapter } from '../case.ts';

const issueOf = (severity: string): string => `issue.where(severity = '${severity}')`;

/** Lines 90, 91 and 97 of the REST checklist, and the operations that the server declares. */
export const operations: Chapter = {
  name: 'Operations',
  cases: [
    { id: 'rest-90a', title: '$validate answers 200 whatever it finds', steps: [
      { send: 'POST Patient/$validate', body: { resourceType: 'Patient', gender: 'male' }, status: 200, expect: ["resourceType = 'OperationOutcome'", `${issueOf('error')}.empty()`] },
      { send: 'POST Patient/$validate', body: { resourceType: 'Patient', gender: 'neither' }, status: 200, expect: [`${issueOf('error')}.exists()`] },
      { send: 'POST Observation/$validate', body: { resourceType: 'Parameters', parameter: [{ name: 'resource', resource: { resourceType: 'Observation', status: 'final' } }, { name: 'mode', valueCode: 'create' }] }, status: 200, expect: [`${issueOf('error')}.exists()`] },
      { send: 'POST Patient/$validate?profile=http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient', body: { resourceType: 'Patient' }, status: 200, expect: [`${issueOf('error')}.exists()`] },
      { send: 'GET Patient/c-ada/$validate', status: 200, expect: ["resourceType = 'OperationOutcome'"] },
    ] },
    { id: 'rest-90b', title: 'a wrong method', steps: [{ send: 'DELETE Patient/$validate', status: 405 }] },
    { id: 'rest-91a', title: 'Patient/$everything', steps: [{ send: 'GET Patient/c-ada/$everything?_count=200', status: 200, expect: ["type = 'searchset'", "entry.resource.where(id = 'c-ada').exists()", "entry.resource.where(id = 'c-visit').exists()", "entry.resource.where(id = 'c-doc').exists()", "entry.resource.where(id = 'c-other' or id = 'c-ben').empty()"] }, { send: 'GET Patient/c-ada/$everything?_type=Encounter,Observation&_count=200', status: 200, expect: ["entry.resource.all(resourceType = 'Encounter' or resourceType = 'Observation')", 'entry.count() = 5'] }, { send: 'GET Patient/c-ada/$everything?_since=2101-01-01T00:00:00Z', status: 200, expect: ['entry.empty()'] }] },
    { id: 'rest-91b', title: '$everything in pages, and within scopes', steps: [{ send: 'GET Patient/c-ada/$everything?_count=3', status: 200, expect: ["entry.where(search.mode = 'match').count() = 3"], keep: { next: "link.where(relation = 'next').url", first: 'entry[0].resource.id' } }, { send: 'GET {next}', status: 200, expect: ["entry.resource.where(id = '{first}').empty()", 'entry.exists()'] }, { send: 'GET Patient/c-ada/$everything', as: 'reader', status: 200, expect: ["entry.resource.all(resourceType = 'Patient' or resourceType = 'Encounter')"] }] },
    { id: 'rest-91c', title: 'Encounter/$everything', steps: [{ send: 'GET Encounter/c-visit/$everything', status: 200, expect: ["entry.resource.where(id = 'c-glucose-1').exists()", "entry.resource.where(id = 'c-pressure').empty()"] }] },
    { id: 'rest-91d', title: '$lastn', steps: [{ send: 'GET Observation/$lastn?patient=c-ada&category=laboratory', status: 200, expect: ["entry.resource.where(id = 'c-glucose-2').exists()", "entry.resource.where(id = 'c-glucose-1').empty()"] }, { send: 'GET Observation/$lastn?patient=c-ada&category=laboratory&max=2', status: 200, expect: ["entry.resource.where(id = 'c-glucose-1').exists()"] }] },
    { id: 'rest-91e', title: '$match', steps: [{ send: 'POST Patient/$match', body: { resourceType: 'Parameters', parameter: [{ name: 'resource', resource: { resourceType: 'Patient', name: [{ family: 'Lovgren', given: ['Ada'] }], birthDate: '1970-02-14', gender: 'female' } }] }, status: 200, expect: ["entry[0].resource.id = 'c-ada'", 'entry[0].search.score > 0.7', "entry[0].search.extension.where(url = 'http://hl7.org/fhir/StructureDefinition/match-grade').valueCode.exists()"] }] },
    { id: 'op-meta', title: '$meta, $meta-add, $meta-delete', steps: [
      { send: 'POST Patient', body: { resourceType: 'Patient' }, status: 201, keep: { id: 'id' } },
      { send: 'POST Patient/{id}/$meta-add', body: { resourceType: 'Parameters', parameter: [{ name: 'meta', valueMeta: { tag: [{ system: 'urn:example:t', code: 'a' }] } }] }, status: 200, expect: ["parameter.value.tag.code = 'a' or parameter.valueMeta.tag.code = 'a'"] },
      { send: 'GET Patient/{id}/$meta', status: 200, expect: ["parameter.valueMeta.tag.code = 'a'"] },
      { send: 'POST Patient/{id}/$meta-delete', body: { resourceType: 'Parameters', parameter: [{ name: 'meta', valueMeta: { tag: [{ system: 'urn:example:t', code: 'a' }] } }] }, status: 200, expect: ['parameter.valueMeta.tag.empty()'] },
    ] },
    { id: 'op-diff', title: '$diff', steps: [{ send: 'POST Patient', body: { resourceType: 'Patient', active: true }, status: 201, keep: { id: 'id' } }, { send: 'PUT Patient/{id}', body: { resourceType: 'Patient', id: '{id}', active: false }, status: 200 }, { send: 'GET Patient/{id}/$diff', status: 200, expect: ["resourceType = 'Parameters'", 'parameter.exists()'] }] },
    { id: 'op-merge', title: '$merge and $unmerge', steps: [
      { send: 'POST Patient', body: { resourceType: 'Patient' }, status: 201, keep: { source: 'id' } },
      { send: 'POST Patient', body: { resourceType: 'Patient' }, status: 201, keep: { target: 'id' } },
      { send: 'POST Observation', body: { resourceType: 'Observation', status: 'final', code: { text: 'x' }, subject: { reference: 'Patient/{source}' } }, status: 201, keep: { observation: 'id' } },
      { send: 'POST Patient/$merge', body: { resourceType: 'Parameters', parameter: [{ name: 'source-patient', valueReference: { reference: 'Patient/{source}' } }, { name: 'target-patient', valueReference: { reference: 'Patient/{target}' } }] }, status: 200 },
      { send: 'GET Observation/{observation}', status: 200, expect: ["subject.reference = 'Patient/{target}'"] },
      { send: 'GET Patient/{source}', status: 200, expect: ['active = false', "link.where(type = 'replaced-by').other.reference = 'Patient/{target}'"] },
    ] },
    { id: 'op-terminology', title: 'terminology', steps: [
      { send: 'GET ValueSet/$expand?url=http://hl7.org/fhir/ValueSet/administrative-gender', status: 200, expect: ['expansion.contains.count() = 4'] },
      { send: 'GET ValueSet/c-sugars/$expand', status: 200, expect: ["expansion.contains.code = '2339-0'"] },
      { send: 'GET CodeSystem/$lookup?system=http://hl7.org/fhir/administrative-gender&code=male', status: 200, expect: ["parameter.where(name = 'display').valueString = 'Male'"] },
      { send: 'GET ValueSet/$validate-code?url=http://hl7.org/fhir/ValueSet/administrative-gender&system=http://hl7.org/fhir/administrative-gender&code=male', status: 200, expect: ["parameter.where(name = 'result').valueBoolean = true"] },
      { send: 'GET CodeSystem/$validate-code?url=http://hl7.org/fhir/administrative-gender&code=neither', status: 200, expect: ["parameter.where(name = 'result').valueBoolean = false"] },
      { send: 'GET CodeSystem/$subsumes?system=http://terminology.hl7.org/CodeSystem/v3-ActCode&codeA=ACUTE&codeB=ACUTE', status: 200, expect: ["parameter.where(name = 'outcome').valueCode = 'equivalent'"] },
    ] },
    { id: 'op-translate', title: '$translate', steps: [
      { send: 'PUT ConceptMap/c-map', body: { resourceType: 'ConceptMap', id: 'c-map', url: 'http://example.org/ConceptMap/c-map', status: 'active', sourceUri: 'http://example.org/a', targetUri: 'http://example.org/b', group: [{ source: 'http://example.org/a', target: 'http://example.org/b', element: [{ code: '1', target: [{ code: 'one', equivalence: 'equivalent' }] }] }] }, status: [200, 201] },
      { send: 'GET ConceptMap/$translate?url=http://example.org/ConceptMap/c-map&system=http://example.org/a&code=1', status: 200, expect: ["parameter.where(name = 'result').valueBoolean = true", "parameter.where(name = 'match').part.where(name = 'concept').valueCoding.code = 'one'"] },
    ] },
    { id: 'rest-97', title: 'each interaction is in the trail', steps: [{ send: 'GET Patient/c-ben', headers: { 'X-Request-Id': '{run}' }, status: 200 }, { send: 'GET AuditEvent?patient=Patient/c-ben&_sort=-date&_count=1', status: 200, expect: ["entry.resource.where(resourceType = 'AuditEvent').count() = 1", "entry.resource.action = 'R'"] }] },
  ],
};
