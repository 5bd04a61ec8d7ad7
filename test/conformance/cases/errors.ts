import type { Chapter } from '../case.ts';

const json = 'application/fhir\\+json';
const deep = `{"resourceType":"Patient","extension":${'[{"url":"http://example.org","extension":'.repeat(300)}[]${'}]'.repeat(300)}}`;

/** Lines 1 to 18 and 54 to 61 of the REST checklist: status codes, OperationOutcomes, headers, formats. */
export const errors: Chapter = {
  name: 'Status codes, formats and headers',
  cases: [
    { id: 'rest-1', title: 'every refusal is an OperationOutcome in the format asked for', steps: [{ send: 'GET Patient/c-nobody', status: 404, expectHeaders: { 'Content-Type': json } }, { send: 'GET Patient/c-nobody', headers: { Accept: 'application/fhir+xml' }, status: 404, expectHeaders: { 'Content-Type': 'application/fhir\\+xml' }, text: '<OperationOutcome' }] },
    { id: 'rest-2a', title: 'malformed JSON', steps: [{ send: 'POST Patient', body: '{"resourceType":"Patient",', status: 400, expect: ["issue.code = 'structure'"] }] },
    { id: 'rest-2b', title: 'duplicate keys', steps: [{ send: 'POST Patient', body: '{"resourceType":"Patient","gender":"male","gender":"female"}', status: 400 }] },
    { id: 'rest-2c', title: 'a JSON value of the wrong type', steps: [{ send: 'POST Patient', body: { resourceType: 'Patient', active: 'yes' }, status: 400 }] },
    { id: 'rest-2d', title: 'an unknown element', steps: [{ send: 'POST Patient', body: { resourceType: 'Patient', surname: 'x' }, status: 400 }] },
    { id: 'rest-2e', title: 'malformed XML', steps: [{ send: 'POST Patient', headers: { 'Content-Type': 'application/fhir+xml' }, body: '<Patient xmlns="http://hl7.org/fhir"><active', status: 400 }] },
    { id: 'rest-2f', title: 'an XML entity', steps: [{ send: 'POST Patient', headers: { 'Content-Type': 'application/fhir+xml' }, body: '<!DOCTYPE x [<!ENTITY e SYSTEM "file:///etc/hostname">]><Patient xmlns="http://hl7.org/fhir"><name><family value="&e;"/></name></Patient>', status: 400 }] },
    { id: 'rest-2g', title: 'JSON too deep', steps: [{ send: 'POST Patient', body: deep, status: [400, 413] }] },
    { id: 'rest-3a', title: 'a bad date', steps: [{ send: 'GET Observation?date=abc', status: 400 }] },
    { id: 'rest-3b', title: 'a bad _count', steps: [{ send: 'GET Patient?_count=x', status: 400 }, { send: 'GET Patient?_count=-1', status: 400 }] },
    { id: 'rest-3c', title: 'a bad modifier', steps: [{ send: 'GET Patient?name:wrong=x', status: 400 }] },
    { id: 'rest-3d', title: 'a bad chain', steps: [{ send: 'GET Observation?subject:Patient.nothing=x', status: 400 }, { send: 'GET Patient?gender.name=x', status: 400 }] },
    { id: 'rest-4', title: 'an unknown search parameter, handled strictly', steps: [{ send: 'GET Patient?shoe-size=43', headers: { Prefer: 'handling=strict' }, status: 400 }] },
    { id: 'rest-6a', title: 'no token', steps: [{ send: 'GET Patient/c-ada', as: 'stranger', status: 401, expectHeaders: { 'WWW-Authenticate': '^Bearer' }, expect: ["issue.code = 'login'"] }] },
    { id: 'rest-6b', title: 'a bad token', steps: [{ send: 'GET Patient/c-ada', as: 'stranger', headers: { Authorization: 'Bearer not-a-token' }, status: 401, expectHeaders: { 'WWW-Authenticate': 'error="invalid_token"' } }] },
    { id: 'rest-7', title: 'a scope too small', steps: [{ send: 'GET Observation/c-glucose-1', as: 'reader', status: 403, expectHeaders: { 'WWW-Authenticate': 'error="insufficient_scope"' }, expect: ["issue.code = 'forbidden'"] }] },
    { id: 'rest-8a', title: 'an unknown type', steps: [{ send: 'GET Nonsense/1', status: 404 }] },
    { id: 'rest-8b', title: 'an unknown operation', steps: [{ send: 'GET Patient/$nonsense', status: 404 }, { send: 'POST $nonsense', body: { resourceType: 'Parameters' }, status: 404 }] },
    { id: 'rest-9', title: 'an interaction that a type does not have', steps: [{ send: 'DELETE AuditEvent/1', status: 405, expectHeaders: { Allow: 'GET' } }, { send: 'PUT AuditEvent/1', body: { resourceType: 'AuditEvent', id: '1' }, status: 405 }] },
    { id: 'rest-10', title: 'a format that is not offered', steps: [{ send: 'GET Patient/c-ada', headers: { Accept: 'text/turtle' }, status: 406 }, { send: 'GET Patient/c-ada?_format=ttl', status: 406 }] },
    { id: 'rest-15', title: 'content of another type', steps: [{ send: 'POST Patient', headers: { 'Content-Type': 'text/plain' }, body: 'x', status: 415 }, { send: 'PATCH Patient/c-ada', headers: { 'Content-Type': 'application/xml-patch+xml' }, body: '<diff/>', status: 415 }] },
    { id: 'rest-16', title: 'content that breaks a rule', steps: [{ send: 'POST Observation', body: { resourceType: 'Observation', status: 'final' }, status: 422, expect: ["issue.code contains 'required'"] }, { send: 'POST Patient', body: { resourceType: 'Patient', gender: 'neither' }, status: 422, expect: ["issue.code contains 'code-invalid'"] }] },
    { id: 'rest-17', title: 'a refusal repeats nothing that came with the request', steps: [{ send: 'GET Patient?birthdate=Zebra', status: 400, text: '^(?![^]*Zebra)' }, { send: 'POST Patient', body: { resourceType: 'Patient', gender: 'Zebra' }, status: 422, text: '^(?![^]*Zebra)' }] },
    { id: 'rest-18', title: 'an unknown path below the base', steps: [{ send: 'GET Patient/1/2/3/4', status: 404, expectHeaders: { 'Content-Type': json } }] },
    { id: 'rest-54', title: 'Prefer: return', steps: [
      { send: 'POST Patient', headers: { Prefer: 'return=minimal' }, body: { resourceType: 'Patient' }, status: 201, isEmpty: true, expectHeaders: { Location: '/Patient/[^/]+/_history/1$' } },
      { send: 'POST Patient', headers: { Prefer: 'return=representation' }, body: { resourceType: 'Patient' }, status: 201, expect: ["resourceType = 'Patient'"] },
      { send: 'POST Patient', headers: { Prefer: 'return=OperationOutcome' }, body: { resourceType: 'Patient' }, status: 201, expect: ["resourceType = 'OperationOutcome'"] },
    ] },
    { id: 'rest-55', title: 'several preferences in one header', steps: [{ send: 'GET Patient?shoe-size=43', headers: { Prefer: 'return=minimal; handling=strict' }, status: 400 }, { send: 'GET Patient?shoe-size=43', headers: { Prefer: 'return=minimal, handling=strict' }, status: 400 }] },
    { id: 'rest-57a', title: '_format overrides Accept', steps: [{ send: 'GET Patient/c-ada?_format=xml', headers: { Accept: 'application/fhir+json' }, status: 200, expectHeaders: { 'Content-Type': 'application/fhir\\+xml' }, text: '<Patient xmlns="http://hl7.org/fhir">' }, { send: 'GET Patient/c-ada?_format=json', headers: { Accept: 'application/fhir+xml' }, status: 200, expectHeaders: { 'Content-Type': json } }] },
    { id: 'rest-57b', title: 'every name of the formats is known', steps: ['json', 'application/json', 'application/fhir%2Bjson', 'text/json', 'xml', 'text/xml', 'application/xml', 'application/fhir%2Bxml'].map((format) => ({ send: `GET Patient/c-ada?_format=${format}`, status: 200 })) },
    { id: 'rest-57c', title: 'Accept with q-values', steps: [{ send: 'GET Patient/c-ada', headers: { Accept: 'application/fhir+json;q=0.1, application/fhir+xml;q=0.9' }, status: 200, expectHeaders: { 'Content-Type': 'application/fhir\\+xml' } }, { send: 'GET Patient/c-ada', headers: { Accept: 'application/fhir+xml;q=0, */*' }, status: 200, expectHeaders: { 'Content-Type': json } }] },
    { id: 'rest-57d', title: 'XML comes in as JSON goes out', steps: [{ send: 'POST Patient', headers: { 'Content-Type': 'application/fhir+xml' }, body: '<Patient xmlns="http://hl7.org/fhir"><active value="true"/><name><family value="Rowan"/><given value="Ina"/><given value="Bo"/></name><birthDate value="1980-01"/></Patient>', status: 201, expect: ['active = true', "name.given.count() = 2", "birthDate = '1980-01'"] }] },
    { id: 'rest-58', title: 'content is UTF-8', steps: [{ send: 'GET Patient/c-ada', status: 200, expectHeaders: { 'Content-Type': 'charset=utf-8' }, expect: ["name.family = 'Lövgren'"] }] },
    { id: 'rest-59a', title: '_pretty', steps: [{ send: 'GET Patient/c-ada?_pretty=true', status: 200, text: '\\n\\s+"' }] },
    { id: 'rest-59b', title: 'fhirVersion of the media type', steps: [{ send: 'GET Patient/c-ada', headers: { Accept: 'application/fhir+json; fhirVersion=4.0' }, status: 200 }, { send: 'GET Patient/c-ada', headers: { Accept: 'application/fhir+json; fhirVersion=3.0' }, status: 406 }] },
    { id: 'rest-60', title: 'CORS exposes the headers that apps need', steps: [{ send: 'GET Patient/c-ada', headers: { Origin: 'https://app.example.org' }, status: 200, expectHeaders: { 'Access-Control-Allow-Origin': '.', 'Access-Control-Expose-Headers': 'ETag.*Location.*Content-Location.*Last-Modified.*WWW-Authenticate.*X-Progress.*Retry-After' } }] },
    { id: 'rest-61', title: 'the request id comes back', steps: [{ send: 'GET Patient/c-ada', headers: { 'X-Request-Id': 'conformance-61' }, status: 200, expectHeaders: { 'X-Request-Id': '^conformance-61$' } }] },
  ],
};
