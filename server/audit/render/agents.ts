import { isIP } from 'node:net';
import type { AuditActor, AuditRecord } from '../record.ts';
import { interlockActor, interlockRole, networkType, purposeOfUse, type Coding } from './codes.ts';
import type { Pattern } from './patterns.ts';

/** Where this server is known: what AuditEvents say of the one that recorded them. */
export interface AuditSite {
  /** FHIR base URL. */
  readonly baseUrl: string;
  /** Name of the installation. */
  readonly site: string;
}

/** The agents of an AuditEvent: the application (or partner, or job), this server, and the person if there is one. Exactly one of them is the requestor. */
export function agentsOf(record: AuditRecord, pattern: Pattern, site: AuditSite): object[] {
  const { actor } = record;
  const person = actor.kind === 'user' || actor.kind === 'operator';
  const codes = record.purposeOfUse ?? [];
  const why = codes.length === 0 ? undefined : codes.map((code) => ({ coding: [{ system: purposeOfUse, code }] }));
  const agents: object[] = [clientAgent(actor, record, pattern.client, !person, person ? undefined : why), serverAgent(pattern.server, site)];
  if (person) agents.push(userAgent(actor, pattern.user, why));
  if (actor.onBehalfOf !== undefined) {
    agents.push({ type: concept({ system: 'http://terminology.hl7.org/CodeSystem/v3-ParticipationType', code: 'RESP', display: 'responsible party' }), who: whoOf(actor.onBehalfOf), requestor: false });
  }
  return agents;
}

/** A CodeableConcept with one coding. */
export function concept(coding: Coding): { readonly coding: readonly Coding[] } {
  return { coding: [coding] };
}

function clientAgent(actor: AuditActor, record: AuditRecord, type: Coding, requestor: boolean, why: readonly object[] | undefined): object {
  const person = actor.kind === 'user' || actor.kind === 'operator';
  const id = person ? (actor.clientId ?? record.client?.id) : actor.kind === 'anonymous' ? undefined : actor.id;
  const name = person ? actor.clientName : actor.display;
  const fallback = actor.kind === 'operator' ? 'Command line' : actor.kind === 'anonymous' ? 'Unauthenticated' : 'Browser';
  return {
    type: concept(type),
    ...(person || actor.role === undefined ? {} : { role: [concept({ system: interlockRole, code: actor.role })] }),
    who: { ...(id === undefined ? {} : { identifier: { system: `${interlockActor}:${person ? 'client' : actor.kind}`, value: id } }), display: name ?? id ?? fallback },
    ...(id === undefined ? {} : { altId: id }),
    ...(name === undefined ? {} : { name }),
    requestor,
    network: networkOf(actor.address),
    ...(why === undefined ? {} : { purposeOfUse: why }),
  };
}

function serverAgent(type: Coding, site: AuditSite): object {
  return { type: concept(type), who: { display: 'Interlock' }, requestor: false, network: { address: site.baseUrl, type: networkType.uri } };
}

function userAgent(actor: AuditActor, type: Coding, why: readonly object[] | undefined): object {
  return {
    type: concept(type),
    ...(actor.role === undefined ? {} : { role: [concept({ system: interlockRole, code: actor.role })] }),
    who: {
      ...(actor.fhirUser === undefined ? {} : { reference: actor.fhirUser }),
      identifier: { system: `${interlockActor}:${actor.kind}`, value: actor.id },
      ...(actor.display === undefined ? {} : { display: actor.display }),
    },
    altId: actor.id,
    name: actor.display ?? actor.id,
    requestor: true,
    ...(why === undefined ? {} : { purposeOfUse: why }),
  };
}

/** A person or organisation given as a FHIR reference or as a name. */
function whoOf(id: string): object {
  return /^[A-Z][A-Za-z]+\/[A-Za-z0-9.-]{1,64}$/.test(id) ? { reference: id } : { display: id };
}

function networkOf(address: string | undefined): object {
  if (address === undefined) return { address: 'localhost', type: networkType.machineName };
  return { address, type: isIP(address) === 0 ? networkType.machineName : networkType.ipAddress };
}
