import type { Audit, ChannelAuditEvent, Seal } from '../../channels/ports.ts';
import type { AuditActor, AuditRecord, AuditTrail } from '../audit/record.ts';
import type { Keyring } from '../kms/keyring.ts';

/** Sealing for the inbox, with the keys of its own purposes. */
export function sealPort(keyring: Keyring): Seal {
  return {
    seal: (plaintext, aad) => keyring.sealBlob('inbox', plaintext, aad),
    open: async (sealed, aad) => keyring.openBlob('inbox', sealed, aad),
    token: (parts) => keyring.mac('inbox-token', parts),
  };
}

/** The channels' events as entries of the audit trail. */
export function auditPort(audit: AuditTrail, nowMs: () => number): Audit {
  return { record: async (event) => audit.record(recordOf(event, nowMs())) };
}

function recordOf(event: ChannelAuditEvent, at: number): AuditRecord {
  return {
    at,
    kind: 'channel',
    interaction: event.interaction,
    action: event.interaction === 'message-received' ? 'C' : 'E',
    outcome: event.outcome,
    requestId: event.messageId,
    actor: actorOf(event),
    channel: {
      id: event.channelId,
      messageId: event.messageId,
      ...(event.messageType === undefined ? {} : { messageType: event.messageType }),
      ...(event.controlId === undefined ? {} : { controlId: event.controlId }),
    },
    ...(event.rule === undefined ? {} : { rule: event.rule }),
    ...(event.count === undefined ? {} : { count: event.count }),
  };
}

/** Whoever acted: an operator who handles a partner's message, the partner, or somebody who could not be told. */
function actorOf({ actor, partner, address }: ChannelAuditEvent): AuditActor {
  if (actor !== undefined) return { kind: 'operator', id: actor, ...(partner === undefined ? {} : { onBehalfOf: partner.name }) };
  if (partner !== undefined) return { kind: 'partner', id: partner.name, address: partner.address };
  return { kind: 'anonymous', id: 'anonymous', ...(address === undefined ? {} : { address }) };
}
