import type { Chapter, Step } from '../case.ts';

const created: Step = { send: 'POST Patient', body: { resourceType: 'Patient', active: true, text: { status: 'generated', div: '<div xmlns="http://www.w3.org/1999/xhtml">x</div>' }, birthDate: '1990' }, status: 201, keep: { id: 'id', etag: 'header:ETag', modified: 'header:Last-Modified' } };
const updated: Step = { send: 'PUT Patient/{id}', body: { resourceType: 'Patient', id: '{id}', active: false }, status: 200 };
const deleted: Step = { send: 'DELETE Patient/{id}', status: [200, 204] };

/** Lines 12 and 19 to 25 of the REST checklist, and lines 92 to 95: read, vread, history, what survives a round trip. */
export const reads: Chapter = {
  name: 'Read, vread, history',
  cases: [
    { id: 'rest-12', title: 'what was deleted is gone', steps: [created, deleted, { send: 'GET Patient/{id}', status: 410, expect: ["issue.code = 'deleted'"] }, { send: 'GET Patient/{id}/_history/2', status: 410 }] },
    { id: 'rest-19', title: 'read has an ETag and Last-Modified that agree with meta', steps: [created, { send: 'GET Patient/{id}', status: 200, expectHeaders: { 'ETag': '^W/"1"$', 'Last-Modified': 'GMT$' }, expect: ["meta.versionId = '1'", 'meta.lastUpdated.exists()', "id = '{id}'"] }] },
    { id: 'rest-20a', title: 'If-None-Match', steps: [created, { send: 'GET Patient/{id}', headers: { 'If-None-Match': '{etag}' }, status: 304, isEmpty: true }, { send: 'GET Patient/{id}', headers: { 'If-None-Match': 'W/"9"' }, status: 200 }] },
    { id: 'rest-20b', title: 'If-Modified-Since', steps: [created, { send: 'GET Patient/{id}', headers: { 'If-Modified-Since': '{modified}' }, status: 304, isEmpty: true }, { send: 'GET Patient/{id}', headers: { 'If-Modified-Since': 'Mon, 01 Jan 2001 00:00:00 GMT' }, status: 200 }] },
    { id: 'rest-21', title: 'HEAD is GET without the body', steps: ['Patient/c-ada', 'Patient?_id=c-ada', 'Patient/c-ada/_history', 'Patient/c-ada/_history/1', 'metadata'].map((path) => ({ send: `HEAD ${path}`, status: 200, isEmpty: true, expectHeaders: { 'Content-Type': 'application/fhir\\+json' } })) },
    { id: 'rest-22', title: 'vread', steps: [created, updated, { send: 'GET Patient/{id}/_history/1', status: 200, expect: ['active = true', "meta.versionId = '1'"] }, { send: 'GET Patient/{id}/_history/99', status: 404 }, { send: 'GET Patient/{id}/_history/x', status: 404 }] },
    { id: 'rest-23a', title: 'history of an instance: newest first, deletions without a resource', steps: [created, updated, deleted, { send: 'GET Patient/{id}/_history', status: 200, expect: ["type = 'history'", 'entry.count() = 3', 'total = 3 or total.empty()', "entry[0].request.method = 'DELETE'", 'entry[0].resource.empty()', "entry[1].request.method = 'PUT'", "entry[2].request.method = 'POST'", 'entry.all(response.status.exists() and response.lastModified.exists())', "entry[2].resource.meta.versionId = '1'"] }] },
    { id: 'rest-23b', title: 'history by _count, with pages', steps: [created, updated, updated, { send: 'GET Patient/{id}/_history?_count=2', status: 200, expect: ['entry.count() = 2'], keep: { next: "link.where(relation = 'next').url" } }, { send: 'GET {next}', status: 200, expect: ['entry.count() = 1', "entry.resource.meta.versionId = '1'"] }] },
    { id: 'rest-23c', title: 'history _since', steps: [created, { send: 'GET Patient/{id}/_history?_since=2001-01-01T00:00:00Z', status: 200, expect: ['entry.count() = 1'] }, { send: 'GET Patient/{id}/_history?_since=2101-01-01T00:00:00Z', status: 200, expect: ['entry.empty()'] }, { send: 'GET Patient/{id}/_history?_since=yesterday', status: 400 }] },
    { id: 'rest-23d', title: 'history _at: what was current then', steps: [created, updated, { send: 'GET Patient/{id}/_history?_at=2001', status: 200, expect: ['entry.empty()'] }, { send: 'GET Patient/{id}/_history?_at=2101-01-01T00:00:00Z', status: 200, expect: ['entry.count() = 1', "entry.resource.meta.versionId = '2'"] }] },
    { id: 'rest-23e', title: 'history of a type and of everything', steps: [created, { send: 'GET Patient/_history?_count=1', status: 200, expect: ["entry.resource.id = '{id}'", "type = 'history'"] }, { send: 'GET _history?_count=1', status: 200, expect: ["entry.resource.id = '{id}'"] }] },
    { id: 'rest-24', title: 'history of what never was', steps: [{ send: 'GET Patient/c-nobody/_history', status: 404 }, created, deleted, { send: 'GET Patient/{id}/_history', status: 200 }] },
    { id: 'rest-25a', title: '_elements: the rest is left out, and the resource says so', steps: [{ send: 'GET Patient/c-ada?_elements=birthDate', status: 200, expect: ["birthDate = '1970-02-14'", 'name.empty()', "id = 'c-ada'", "meta.tag.where(code = 'SUBSETTED').exists()"] }] },
    { id: 'rest-25b', title: '_summary=true', steps: [{ send: 'GET Patient/c-ada?_summary=true', status: 200, expect: ['name.exists()', 'text.empty()', "meta.tag.where(code = 'SUBSETTED').exists()"] }] },
    { id: 'rest-25c', title: '_summary=text and data', steps: [created, { send: 'GET Patient/{id}?_summary=text', status: 200, expect: ['text.exists()', 'birthDate.empty()'] }, { send: 'GET Patient/{id}?_summary=data', status: 200, expect: ['text.empty()', "birthDate = '1990'"] }, { send: 'GET Patient/{id}?_summary=false', status: 200, expect: ['text.exists()', 'birthDate.exists()', 'meta.tag.empty()'] }] },
    { id: 'rest-25d', title: 'what was cut short is not taken back', steps: [{ send: 'PUT Patient/c-nameless', body: { resourceType: 'Patient', id: 'c-nameless', meta: { tag: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-ObservationValue', code: 'SUBSETTED' }] } }, status: [400, 422] }] },
    { id: 'rest-92', title: 'Binary: the resource as FHIR, its bytes natively', steps: [
      { send: 'POST Binary', headers: { 'Content-Type': 'text/plain' }, body: 'plain words', status: 201, expectHeaders: { Location: '/Binary/' }, keep: { location: 'header:Location' } },
      { send: 'GET {location}', headers: { Accept: 'text/plain' }, status: 200, text: '^plain words$', expectHeaders: { 'Content-Type': '^text/plain' } },
      { send: 'GET {location}', headers: { Accept: 'application/fhir+json' }, status: 200, expect: ["contentType = 'text/plain'", "data = 'cGxhaW4gd29yZHM='"] },
    ] },
    { id: 'rest-95', title: 'decimals, Unicode and extensions of primitives survive', steps: [
      { send: 'POST Observation', body: '{"resourceType":"Observation","status":"final","code":{"text":"Ω ≥ 3 – 汉字 🙂"},"_issued":{"extension":[{"url":"http://example.org/x","valueCode":"unknown"}]},"valueQuantity":{"value":1.00}}', status: 201, keep: { id: 'id' } },
      { send: 'GET Observation/{id}', status: 200, text: '"value":1\\.00', expect: ["code.text = 'Ω ≥ 3 – 汉字 🙂'"] },
      { send: 'GET Observation/{id}', status: 200, text: '"_issued"' },
    ] },
    { id: 'rest-93', title: 'contained resources are not found on their own; their references are kept', steps: [
      { send: 'POST Observation', body: { resourceType: 'Observation', status: 'final', code: { text: 'x' }, contained: [{ resourceType: 'Patient', id: 'inside', identifier: [{ system: 'urn:example:contained', value: '{run}' }] }], subject: { reference: '#inside' } }, status: 201, expect: ["subject.reference = '#inside'"] },
      { send: 'GET Patient?identifier=urn:example:contained|{run}', status: 200, expect: ['entry.empty()', 'total = 0'] },
    ] },
  ],
};
