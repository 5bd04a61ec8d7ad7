import type { Chapter } from '../case.ts';

const transaction = (entry: readonly object[]): object => ({ resourceType: 'Bundle', type: 'transaction', entry });
const batch = (entry: readonly object[]): object => ({ resourceType: 'Bundle', type: 'batch', entry });
const post = (resource: object, more: object = {}, fullUrl?: string): object => ({ ...(fullUrl === undefined ? {} : { fullUrl }), resource, request: { method: 'POST', url: (resource as { resourceType: string }).resourceType, ...more } });
const get = (url: string): object => ({ request: { method: 'GET', url } });
const patient = { resourceType: 'Patient', identifier: [{ system: 'urn:example:run', value: '{run}' }] };
const urn = 'urn:uuid:3f1f7a4e-7a7f-4b42-9f0a-0d8b1f1c2a01';
const about = (reference: string): object => ({ resourceType: 'Observation', status: 'final', code: { text: 'x' }, subject: { reference } });
const byIdentifier = 'identifier=urn:example:run|{run}';

/** Lines 45 to 53 of the REST checklist. */
export const bundles: Chapter = {
  name: 'Batch and transaction',
  cases: [
    { id: 'rest-45', title: 'a transaction that fails stores nothing and names the entry', steps: [{ send: 'POST ', body: transaction([post(patient), post({ resourceType: 'Observation', status: 'final' })]), status: [400, 422], expect: ["issue.expression.where(startsWith('Bundle.entry[1]')).exists()"] }, { send: `GET Patient?${byIdentifier}`, status: 200, expect: ['total = 0'] }] },
    { id: 'rest-46a', title: 'deletes first, reads last, whatever the order', steps: [
      { send: 'POST Patient', body: patient, status: 201, keep: { id: 'id' } },
      { send: 'POST ', body: transaction([get(`Patient?${byIdentifier}`), post({ ...patient, active: true }), { request: { method: 'DELETE', url: 'Patient/{id}' } }]), status: 200, expect: ["entry[1].response.status.startsWith('201')", 'entry[0].resource.total = 1', 'entry[0].resource.entry.resource.active = true', "entry[2].response.status.startsWith('204')"] },
    ] },
    { id: 'rest-46b', title: 'the same resource twice', steps: [{ send: 'POST ', body: transaction([1, 2].map(() => ({ resource: { resourceType: 'Patient', id: '{run}' }, request: { method: 'PUT', url: 'Patient/{run}' } }))), status: 400 }] },
    { id: 'rest-47a', title: 'references by fullUrl are rewritten, in text too', steps: [
      { send: 'POST ', body: transaction([post({ ...about(urn), text: { status: 'generated', div: `<div xmlns="http://www.w3.org/1999/xhtml"><a href="${urn}">p</a></div>` } }), post(patient, {}, urn)]), status: 200, expect: ["type = 'transaction-response'"], keep: { observation: 'entry[0].response.location', patient: "entry[1].response.location.replaceMatches('^.*(Patient/[^/]+)/.*$', '$1')" } },
      { send: 'GET {observation}', status: 200, expect: ["subject.reference = '{patient}'"], text: '^(?![^]*urn:uuid)' },
    ] },
    { id: 'rest-47b', title: 'also to a conditional create that matched', steps: [
      { send: 'POST Patient', body: patient, status: 201, keep: { id: 'id' } },
      { send: 'POST ', headers: { Prefer: 'return=representation' }, body: transaction([post(about(urn)), post(patient, { ifNoneExist: byIdentifier }, urn)]), status: 200, expect: ["entry[1].response.status.startsWith('200')", "entry[0].resource.subject.reference = 'Patient/{id}'"] },
    ] },
    { id: 'rest-47c', title: 'and to a conditional update', steps: [{ send: 'POST Patient', body: patient, status: 201, keep: { id: 'id' } }, { send: 'POST ', headers: { Prefer: 'return=representation' }, body: transaction([{ fullUrl: urn, resource: { ...patient, active: true }, request: { method: 'PUT', url: `Patient?${byIdentifier}` } }, post(about(urn))]), status: 200, expect: ["entry[1].resource.subject.reference = 'Patient/{id}'", 'entry[0].resource.active = true'] }] },
    { id: 'rest-48', title: 'conditional references', steps: [
      { send: 'POST ', body: transaction([post(about(`Patient?${byIdentifier}`))]), status: [400, 412, 422] },
      { send: 'POST Patient', body: patient, status: 201, keep: { id: 'id' } },
      { send: 'POST ', headers: { Prefer: 'return=representation' }, body: transaction([post(about(`Patient?${byIdentifier}`))]), status: 200, expect: ["entry.resource.subject.reference = 'Patient/{id}'"] },
      { send: 'POST Patient', body: patient, status: 201 },
      { send: 'POST ', body: transaction([post(about(`Patient?${byIdentifier}`))]), status: [400, 412, 422] },
    ] },
    { id: 'rest-49', title: 'ifMatch, ifNoneMatch and ifNoneExist of entries', steps: [
      { send: 'POST Patient', body: patient, status: 201, keep: { id: 'id' } },
      { send: 'POST ', body: transaction([{ resource: { ...patient, id: '{id}' }, request: { method: 'PUT', url: 'Patient/{id}', ifMatch: 'W/"9"' } }]), status: 412 },
      { send: 'POST ', body: batch([{ request: { method: 'GET', url: 'Patient/{id}', ifNoneMatch: 'W/"1"' } }]), status: 200, expect: ["entry.response.status.startsWith('304')"] },
    ] },
    { id: 'rest-50', title: 'a batch: each entry for itself', steps: [{ send: 'POST ', body: batch([get('Patient/c-nobody'), post({ resourceType: 'Patient' }), get('Patient/c-ada'), { request: { method: 'GET', url: 'Observation?date=abc' } }]), status: 200, expect: ["type = 'batch-response'", 'entry.count() = 4', "entry[0].response.status.startsWith('404') and entry[0].response.outcome.issue.exists()", "entry[1].response.status.startsWith('201')", "entry[2].resource.id = 'c-ada'", "entry[3].response.status.startsWith('400')"] }] },
    { id: 'rest-51', title: 'what a response entry has', steps: [{ send: 'POST ', body: transaction([post({ resourceType: 'Patient' })]), status: 200, expect: ["entry.response.location.contains('Patient/')", "entry.response.etag = 'W/\"1\"'", 'entry.response.lastModified.exists()'] }] },
    { id: 'rest-52a', title: 'in a batch one forbidden entry fails alone', steps: [{ send: 'POST ', as: 'reader', body: batch([get('Patient/c-ada'), get('Observation/c-glucose-1')]), status: 200, expect: ["entry[0].response.status.startsWith('200')", "entry[1].response.status.startsWith('403')"] }] },
    { id: 'rest-52b', title: 'in a transaction it fails all', steps: [{ send: 'POST ', as: 'reader', body: transaction([get('Patient/c-ada'), post(patient)]), status: 403 }] },
    { id: 'rest-53', title: 'Bundles that cannot be processed', steps: [{ send: 'POST ', body: transaction([{ resource: patient }]), status: 400 }, { send: 'POST ', body: { resourceType: 'Bundle', type: 'searchset' }, status: 400 }, { send: 'POST ', body: patient, status: 400 }, { send: 'POST ', body: { resourceType: 'Bundle', type: 'transaction' }, status: 200 }] },
    { id: 'rest-45p', title: 'a patch in a transaction', steps: [
      { send: 'POST Patient', body: patient, status: 201, keep: { id: 'id' } },
      { send: 'POST ', body: transaction([{ resource: { resourceType: 'Binary', contentType: 'application/json-patch+json', data: Buffer.from('[{"op":"add","path":"/active","value":true}]').toString('base64') }, request: { method: 'PATCH', url: 'Patient/{id}' } }]), status: 200, expect: ["entry.response.status.startsWith('200')"] },
      { send: 'GET Patient/{id}', status: 200, expect: ['active = true', "meta.versionId = '2'"] },
    ] },
  ],
};
