import type { Audit, ChannelAuditEvent, Seal } from '../../channels/ports.ts';
import type { AuditRecord, AuditTrail } from '../audit/record.ts';
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
  const { partner } = event;
  return {
    at,
    kind: 'channel',
    interaction: event.interaction,
    action: event.interaction === 'message-received' ? 'C' : 'E',
    outcome: event.outcome,
    requestId: event.messageId,
    actor: partner === undefined ? { kind: 'anonymous', id: 'anonymous' } : { kind: 'partner', id: partner.name, address: partner.address },
    channel: {
      id: event.channelId,
      messageId: event.messageId,
      ...(event.messageType === undefined ? {} : { messageType: event.messageType }),
      ...(event.controlId === undefined ? {} : { controlId: event.controlId }),
    },
    ...(event.rule === undefined ? {} : { rule: event.rule }),
  };
}
