import type { ChannelDefinitionInput } from '../../channels/definition.ts';
import type { MessageFormat } from '../../channels/format.ts';
import { v2Format } from '../../channels/mllp/v2-format.ts';

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
  ];
}

/** Message formats by the name that channel definitions use. */
export function messageFormats(): Readonly<Record<string, MessageFormat>> {
  return { hl7v2: v2Format };
}
