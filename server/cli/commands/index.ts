import type { Command } from '../command.ts';
import { alertCommands } from './alerts.ts';
import { accountingCommands } from './accounting.ts';
import { appCommands } from './apps.ts';
import { atnaCommands } from './atna.ts';
import { auditCommands } from './audit.ts';
import { auditArchiveCommands } from './audit-archive.ts';
import { auditProofCommands } from './audit-proof.ts';
import { breakGlassCommands } from './break-glass.ts';
import { breachCommands } from './breach.ts';
import { channelCommands } from './channels.ts';
import { clientCommands } from './clients.ts';
import { clientReviewCommands } from './client-review.ts';
import { indexCommands } from './indexes.ts';
import { integrityCommands } from './integrity.ts';
import { partnerCommands } from './partners.ts';
import { roleCommands } from './roles.ts';
import { userCommands } from './users.ts';

/** Every command of the command line, in the order in which help lists them. */
export const commands: readonly Command[] = [...clientCommands, ...appCommands, ...clientReviewCommands, ...userCommands, ...partnerCommands, ...channelCommands, ...indexCommands, ...roleCommands, ...breakGlassCommands, ...alertCommands, ...atnaCommands, ...auditCommands, ...accountingCommands, ...auditProofCommands, ...integrityCommands, ...auditArchiveCommands, ...breachCommands];
