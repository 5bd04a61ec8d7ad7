import type { ChannelDefinitionInput } from '../../channels/definition.ts';
import type { MessageFormat } from '../../channels/format.ts';
import { faxFormat } from '../../channels/fax/fax-format.ts';
import { v2Format } from '../../channels/mllp/v2-format.ts';
import { scriptFormat } from '../../channels/script/script-format.ts';
import { version } from '../config/version.ts';

/** Settings of the shipped channels. */
export interface ChannelSettings {
  readonly zone: string;
  readonly mllpMaxMessageSizeBytes: number;
  readonly faxMaxSizeBytes: number;
  readonly scriptMaxSizeBytes: number;
}

/** The channels that are shipped, enabled unless the process only runs commands. */
export function channelDefinitions(settings: ChannelSettings, enabled: boolean): ChannelDefinitionInput[] {
  const { zone } = settings;
  return [
    { id: 'hl7v2', door: 'mllp', format: 'hl7v2', zone, enabled, maxMessageBytes: settings.mllpMaxMessageSizeBytes },
    // A prescription that failed holds back what follows about it: a cancel must not overtake it.
    { id: 'script', door: 'http', format: 'script', zone, enabled, maxMessageBytes: settings.scriptMaxSizeBytes, deadLetters: 'holdKey' },
    { id: 'fax', door: 'http', format: 'fax', zone, enabled, maxMessageBytes: settings.faxMaxSizeBytes },
  ];
}

/** Message formats by the name that channel definitions use. */
export function messageFormats(): Readonly<Record<string, MessageFormat>> {
  return { hl7v2: v2Format, script: scriptFormat(version), fax: faxFormat };
}
