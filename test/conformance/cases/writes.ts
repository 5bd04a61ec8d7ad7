import type { Chapter, Step } from '../case.ts';

const created: Step = { send: 'POST Patient', body: { resourceType: 'Patient', active: true, name: [{ family: 'Rowan' }] }, status: 201, keep: { id: 'id', etag: 'header:ETag' } };
const identified: Step = { send: 'POST Patient', body: { resourceType: 'Patient', identifier: [{ system: 'urn:example:run', value: '{run}' }] }, status: 201, keep: { id: 'id' } };
const byIdentifier = 'identifier=urn:example:run|{run}';
const jsonPatch = { 'Content-Type': 'application/json-patch+json' };
const patient = (more: object): object => ({ resourceType: 'Patient', ...more });
const fhirPatch = (parts: readonly object[]): object => ({ resourceType: 'Parameters', parameter: [{ name: 'operation', part: parts }] });

/** Lines 26 to 44 and 94 of the REST checklist: create, update, delete, conditional interactions, patch, reference integrity. */
export const writes: Chapter = {
  name: 'Create, update, delete, patch',
  cases: [
    { id: 'rest-26', title: 'create', steps: [{ send: 'POST Patient', body: patient({ id: 'mine', meta: { versionId: '7', lastUpdated: '2001-01-01T00:00:00Z' } }), status: 201, expectHeaders: { 'Location': '^{base}/Patient/[A-Za-z0-9.-]+/_history/1$', 'ETag': '^W/"1"$', 'Last-Modified': 'GMT$' }, expect: ["id != 'mine'", "meta.versionId = '1'", "meta.lastUpdated.toString().startsWith('2001').not()"] }] },
    { id: 'rest-27', title: 'a type that is not that of the URL', steps: [{ send: 'POST Patient', body: { resourceType: 'Basic', code: { text: 'x' } }, status: 400 }] },
    { id: 'rest-28a', title: 'update', steps: [created, { send: 'PUT Patient/{id}', body: patient({ id: '{id}' }), status: 200, expectHeaders: { ETag: 'W/"2"' }, expect: ["meta.versionId = '2'"] }] },
    { id: 'rest-28b', title: 'update as create', steps: [{ send: 'PUT Patient/{run}', body: patient({ id: '{run}' }), status: 201, expectHeaders: { Location: 'Patient/{run}/_history/1' } }] },
    { id: 'rest-28c', title: 'an id in the body that is missing or another', steps: [created, { send: 'PUT Patient/{id}', body: patient({}), status: 400 }, { send: 'PUT Patient/{id}', body: patient({ id: 'another' }), status: 400 }] },
    { id: 'rest-29', title: 'an update that changes nothing', steps: [created, { send: 'PUT Patient/{id}', body: patient({ id: '{id}', active: true, name: [{ family: 'Rowan' }] }), status: 200 }] },
    { id: 'rest-30', title: 'If-Match', steps: [created, { send: 'PUT Patient/{id}', headers: { 'If-Match': 'W/"9"' }, body: patient({ id: '{id}' }), status: 412 }, { send: 'PUT Patient/{id}', headers: { 'If-Match': 'nonsense' }, body: patient({ id: '{id}' }), status: 400 }, { send: 'GET Patient/{id}', status: 200, expect: ["meta.versionId = '1'"] }, { send: 'PUT Patient/{id}', headers: { 'If-Match': '{etag}' }, body: patient({ id: '{id}' }), status: 200 }] },
    { id: 'rest-32', title: 'delete, and delete again', steps: [created, { send: 'DELETE Patient/{id}', status: [200, 204] }, { send: 'DELETE Patient/{id}', status: [200, 204] }, { send: 'DELETE Patient/c-nobody', status: [200, 204] }] },
    { id: 'rest-33', title: 'an update revives; a search never finds what was deleted', steps: [identified, { send: 'DELETE Patient/{id}', status: 204 }, { send: `GET Patient?${byIdentifier}`, status: 200, expect: ['entry.empty()'] }, { send: 'PUT Patient/{id}', body: patient({ id: '{id}' }), status: [200, 201], expect: ["meta.versionId = '3'"] }] },
    { id: 'rest-34', title: 'ids', steps: [{ send: 'PUT Patient/a_b', body: patient({ id: 'a_b' }), status: [400, 404] }, { send: `PUT Patient/${'x'.repeat(65)}`, body: patient({ id: 'x'.repeat(65) }), status: [400, 404] }] },
    { id: 'rest-35', title: 'conditional create', steps: [
      { send: 'POST Patient', headers: { 'If-None-Exist': byIdentifier }, body: patient({ identifier: [{ system: 'urn:example:run', value: '{run}' }] }), status: 201, keep: { id: 'id' } },
      { send: 'POST Patient', headers: { 'If-None-Exist': byIdentifier }, body: patient({ active: false }), status: 200, expectHeaders: { Location: 'Patient/{id}/_history/1' } },
      identified,
      { send: 'POST Patient', headers: { 'If-None-Exist': byIdentifier }, body: patient({}), status: 412, expect: ["issue.code = 'multiple-matches'"] },
    ] },
    { id: 'rest-37', title: 'conditional update', steps: [
      { send: `PUT Patient?${byIdentifier}`, body: patient({ identifier: [{ system: 'urn:example:run', value: '{run}' }] }), status: 201, keep: { id: 'id' } },
      { send: `PUT Patient?${byIdentifier}`, body: patient({ identifier: [{ system: 'urn:example:run', value: '{run}' }], active: true }), status: 200, expect: ["id = '{id}'", "meta.versionId = '2'"] },
      { send: `PUT Patient?${byIdentifier}`, body: patient({ id: 'another' }), status: 400 },
      identified,
      { send: `PUT Patient?${byIdentifier}`, body: patient({}), status: 412 },
    ] },
    { id: 'rest-38', title: 'conditional patch', steps: [
      { send: `PATCH Patient?${byIdentifier}`, headers: jsonPatch, body: [{ op: 'add', path: '/active', value: true }], status: 404 },
      identified,
      { send: `PATCH Patient?${byIdentifier}`, headers: jsonPatch, body: [{ op: 'add', path: '/active', value: true }], status: 200, expect: ['active = true', "id = '{id}'"] },
      identified,
      { send: `PATCH Patient?${byIdentifier}`, headers: jsonPatch, body: [{ op: 'add', path: '/active', value: true }], status: 412 },
    ] },
    { id: 'rest-39', title: 'conditional delete', steps: [{ send: `DELETE Patient?${byIdentifier}`, status: [200, 204, 404] }, identified, { send: `DELETE Patient?${byIdentifier}`, status: [200, 204] }, { send: 'GET Patient/{id}', status: 410 }, identified, identified, { send: `DELETE Patient?${byIdentifier}`, status: 412 }] },
    { id: 'rest-40', title: 'a condition that is empty or unknown never means everything', steps: [{ send: 'DELETE Patient', status: [400, 412] }, { send: 'DELETE Patient?shoe-size=43', status: [400, 412] }, { send: 'DELETE Patient?identifier=', status: [400, 412] }, { send: 'PUT Patient?', body: patient({}), status: [400, 412] }, { send: 'POST Patient', headers: { 'If-None-Exist': 'identifier=' }, body: patient({}), status: [400, 412] }] },
    { id: 'rest-42a', title: 'JSON Patch', steps: [created, { send: 'PATCH Patient/{id}', headers: jsonPatch, body: [{ op: 'test', path: '/active', value: true }, { op: 'replace', path: '/active', value: false }, { op: 'add', path: '/name/0/given', value: ['Ina'] }, { op: 'remove', path: '/name/0/family' }], status: 200, expectHeaders: { ETag: 'W/"2"' }, expect: ['active = false', "name.given = 'Ina'", 'name.family.empty()'] }] },
    { id: 'rest-42b', title: 'FHIRPath Patch', steps: [
      created,
      { send: 'PATCH Patient/{id}', body: fhirPatch([{ name: 'type', valueCode: 'replace' }, { name: 'path', valueString: 'Patient.active' }, { name: 'value', valueBoolean: false }]), status: 200, expect: ['active = false'] },
      { send: 'PATCH Patient/{id}', body: fhirPatch([{ name: 'type', valueCode: 'add' }, { name: 'path', valueString: 'Patient' }, { name: 'name', valueString: 'birthDate' }, { name: 'value', valueDate: '1980-01-01' }]), status: 200, expect: ["birthDate = '1980-01-01'"] },
      { send: 'PATCH Patient/{id}', body: fhirPatch([{ name: 'type', valueCode: 'delete' }, { name: 'path', valueString: 'Patient.birthDate' }]), status: 200, expect: ['birthDate.empty()'] },
    ] },
    { id: 'rest-43', title: 'a patch that fails changes nothing', steps: [
      created,
      { send: 'PATCH Patient/{id}', headers: jsonPatch, body: [{ op: 'replace', path: '/active', value: false }, { op: 'test', path: '/active', value: true }], status: [400, 409, 422] },
      { send: 'PATCH Patient/{id}', headers: jsonPatch, body: [{ op: 'remove', path: '/photo/0' }], status: [400, 422] },
      { send: 'PATCH Patient/{id}', headers: jsonPatch, body: [{ op: 'replace', path: '/gender', value: 'neither' }], status: [400, 422] },
      { send: 'PATCH Patient/{id}', headers: jsonPatch, body: [{ op: 'replace', path: '/id', value: 'another' }], status: [400, 422] },
      { send: 'PATCH Patient/{id}', headers: jsonPatch, body: '{"op":', status: 400 },
      { send: 'GET Patient/{id}', status: 200, expect: ["meta.versionId = '1'", 'active = true'] },
    ] },
    { id: 'rest-44', title: 'If-Match on a patch', steps: [created, { send: 'PATCH Patient/{id}', headers: { ...jsonPatch, 'If-Match': 'W/"9"' }, body: [{ op: 'remove', path: '/active' }], status: 412 }, { send: 'PATCH Patient/{id}', headers: { ...jsonPatch, 'If-Match': 'W/"1"' }, body: [{ op: 'remove', path: '/active' }], status: 200 }] },
    { id: 'rest-94a', title: 'a reference to what does not exist', steps: [{ send: 'POST Observation', body: { resourceType: 'Observation', status: 'final', code: { text: 'x' }, subject: { reference: 'Patient/c-nobody' } }, status: [400, 409, 422] }] },
    { id: 'rest-94b', title: 'deleting what is referred to', steps: [created, { send: 'POST Observation', body: { resourceType: 'Observation', status: 'final', code: { text: 'x' }, subject: { reference: 'Patient/{id}' } }, status: 201, keep: { observation: 'id' } }, { send: 'DELETE Patient/{id}', status: 409, expect: ["issue.code = 'conflict'"], text: '^(?![^]*{observation})[^]*Observation' }, { send: 'DELETE Observation/{observation}', status: 204 }, { send: 'DELETE Patient/{id}', status: 204 }] },
  ],
};
