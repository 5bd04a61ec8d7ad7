import type { FhirCaller } from '../support/fhir.ts';

export const categories = {
  laboratory: 'http://terminology.hl7.org/CodeSystem/observation-category|laboratory',
  vitalSigns: 'http://terminology.hl7.org/CodeSystem/observation-category|vital-signs',
  problemList: 'http://terminology.hl7.org/CodeSystem/condition-category|problem-list-item',
  diagnosis: 'http://terminology.hl7.org/CodeSystem/condition-category|encounter-diagnosis',
} as const;

/** Two patients with a visit, observations and conditions of two categories each, and provenance. */
export async function loadSmartFixtures(everyone: FhirCaller): Promise<void> {
  const category = (token: string) => {
    const [system, code] = token.split('|');
    return [{ coding: [{ system, code }] }];
  };
  const put = async (resource: Record<string, unknown>): Promise<void> => {
    const answer = await everyone.send('PUT', `${String(resource['resourceType'])}/${String(resource['id'])}`, resource);
    if (answer.status > 201) throw new Error(`a fixture was answered by ${answer.status}: ${answer.body.toString()}`);
  };
  await put({ resourceType: 'Practitioner', id: 's-doctor', name: [{ family: 'Quill' }] });
  for (const [who, family] of [['s-ada', 'Sample'], ['s-ben', 'Otherman']] as const) {
    const subject = { reference: `Patient/${who}` };
    await put({ resourceType: 'Patient', id: who, name: [{ family, given: [who.slice(2)] }], birthDate: '1970-02-14', gender: 'female', identifier: [{ system: 'urn:example:mrn', value: `MRN-${who}` }] });
    await put({ resourceType: 'Encounter', id: `${who}-visit`, status: 'finished', class: { code: 'AMB' }, subject, period: { start: '2024-05-10', end: '2024-05-10' } });
    for (const [name, token] of [['lab', categories.laboratory], ['vital', categories.vitalSigns]] as const) await put({ resourceType: 'Observation', id: `${who}-${name}`, status: 'final', category: category(token), code: { text: name }, subject });
    for (const [name, token] of [['problem', categories.problemList], ['diagnosis', categories.diagnosis]] as const) {
      await put({ resourceType: 'Condition', id: `${who}-${name}`, clinicalStatus: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/condition-clinical', code: 'active' }] }, category: category(token), code: { text: name }, subject });
    }
    await put({ resourceType: 'Provenance', id: `${who}-provenance`, target: [subject, { reference: `Observation/${who}-lab` }, { reference: `Observation/${who}-vital` }], recorded: '2024-05-10T08:00:00Z', agent: [{ who: { reference: 'Practitioner/s-doctor' } }] });
    await put({ resourceType: 'Provenance', id: `${who}-lab-provenance`, target: [{ reference: `Observation/${who}-lab` }], recorded: '2024-05-10T08:00:00Z', agent: [{ who: { reference: 'Practitioner/s-doctor' } }] });
  }
}
