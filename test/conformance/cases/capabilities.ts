import type { Chapter } from '../case.ts';

/** Section B of the SMART checklist, and lines of the REST checklist about /metadata. */
export const capabilities: Chapter = {
  name: 'CapabilityStatement',
  cases: [
    { id: 'smart-18', title: 'is public', steps: [{ send: 'GET metadata', as: 'stranger', status: 200, expect: ["resourceType = 'CapabilityStatement'", "status = 'active'", 'date.exists()', "kind = 'instance'"] }] },
    { id: 'smart-19', title: 'is of R4', steps: [{ send: 'GET metadata', status: 200, expect: ["fhirVersion = '4.0.1'"] }] },
    { id: 'smart-20', title: 'names the formats', steps: [{ send: 'GET metadata', status: 200, expect: ["format contains 'application/fhir+json'", "format contains 'application/fhir+xml'", "patchFormat contains 'application/json-patch+json'"] }] },
    { id: 'smart-21', title: 'instantiates US Core', steps: [{ send: 'GET metadata', status: 200, expect: ["instantiates.where(startsWith('http://hl7.org/fhir/us/core/CapabilityStatement/us-core-server')).exists()"] }] },
    { id: 'smart-22', title: 'names US Core profiles', steps: [{ send: 'GET metadata', status: 200, expect: ["rest.resource.supportedProfile.where(startsWith('http://hl7.org/fhir/us/core/StructureDefinition/us-core-patient')).exists()", "rest.resource.supportedProfile.where(startsWith('http://hl7.org/fhir/us/core/StructureDefinition/')).count() > 20"] }] },
    { id: 'smart-23', title: 'tells of SMART', steps: [{ send: 'GET metadata', status: 200, expect: ["rest.security.service.coding.where(code = 'SMART-on-FHIR').exists()", "rest.security.extension.where(url = 'http://fhir-registry.smarthealthit.org/StructureDefinition/oauth-uris').extension.where(url = 'authorize' or url = 'token').valueUri.count() = 2"] }] },
    { id: 'smart-24', title: 'names the endpoints of smart-configuration', steps: [{ send: 'GET .well-known/smart-configuration', as: 'stranger', status: 200, keep: { authorize: 'authorization_endpoint', token: 'token_endpoint' } }, { send: 'GET metadata', status: 200, expect: ["rest.security.extension.extension.where(url = 'authorize').valueUri = '{authorize}'", "rest.security.extension.extension.where(url = 'token').valueUri = '{token}'"] }] },
    { id: 'smart-26', title: 'says which changes _lastUpdated detects', steps: [{ send: 'GET metadata', status: 200, expect: ["rest.resource.where(type = 'Observation').searchParam.where(name = '_lastUpdated').documentation.exists()"] }] },
    { id: 'rest-98a', title: 'has an ETag that a conditional request can use', steps: [{ send: 'GET metadata', status: 200, keep: { etag: 'header:ETag' } }, { send: 'GET metadata', headers: { 'If-None-Match': '{etag}' }, status: 304, isEmpty: true }] },
    { id: 'rest-98b', title: 'tells of terminology by ?mode=terminology', steps: [{ send: 'GET metadata?mode=terminology', status: 200, expect: ["resourceType = 'TerminologyCapabilities'"] }] },
    { id: 'rest-98c', title: 'OPTIONS serves CORS', steps: [{ send: 'OPTIONS metadata', as: 'stranger', headers: { 'Origin': 'https://app.example.org', 'Access-Control-Request-Method': 'GET' }, status: 204, expectHeaders: { 'Access-Control-Allow-Origin': String.raw`^(\*|https://app\.example\.org)$`, 'Access-Control-Allow-Methods': 'PATCH' } }] },
    { id: 'rest-78', title: 'declares conditional interactions, operations and includes', steps: [{ send: 'GET metadata', status: 200, expect: ["rest.resource.where(type = 'Patient').conditionalCreate = true", "rest.resource.where(type = 'Patient').interaction.where(code = 'patch').exists()", "rest.resource.where(type = 'Patient').operation.where(name = 'everything').exists()", "rest.resource.where(type = 'MedicationRequest').searchInclude contains 'MedicationRequest:medication'", "rest.resource.where(type = 'Patient').searchRevInclude contains 'Provenance:target'"] }] },
  ],
};
