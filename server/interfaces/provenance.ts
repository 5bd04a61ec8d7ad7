import type { Binary, Provenance } from '@medplum/fhirtypes';
import type { Sink } from '../../channels/ports.ts';
import type { ResourceJson } from '../storage/contract.ts';

type Commit = Parameters<Sink['commit']>[0];

/**
 * Where a message came from and what it changed: its bytes as a Binary, and a Provenance that points to it.
 * @param id of the Binary
 */
export function provenanceOf(request: Commit, id: string, targets: readonly string[]): { binary: ResourceJson; provenance: ResourceJson | undefined } {
  const binary = { resourceType: 'Binary', contentType: request.source.contentType, data: request.source.bytes.toString('base64') } satisfies Binary;
  if (targets.length === 0) return { binary, provenance: undefined };
  const provenance = {
    resourceType: 'Provenance',
    target: [...new Set(targets)].map((reference) => ({ reference })),
    ...(request.plan.eventAtMs === undefined ? {} : { occurredDateTime: new Date(request.plan.eventAtMs).toISOString() }),
    recorded: new Date(request.receivedAtMs).toISOString(),
    activity: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/v3-DataOperation', code: 'UPDATE', display: 'revise' }], text: request.plan.messageType },
    agent: [
      {
        type: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/provenance-participant-type', code: 'transmitter', display: 'Transmitter' }] },
        who: { identifier: { system: 'urn:interlock:partner', value: request.partner.name }, display: request.partner.name },
      },
      {
        type: { coding: [{ system: 'http://terminology.hl7.org/CodeSystem/provenance-participant-type', code: 'assembler', display: 'Assembler' }] },
        who: { display: 'Interlock' },
      },
    ],
    entity: [{ role: 'source', what: { reference: `Binary/${id}`, ...(request.controlId === undefined ? {} : { identifier: { system: `urn:interlock:message:${request.channelId}`, value: request.controlId } }) } }],
  } satisfies Provenance;
  return { binary, provenance };
}
