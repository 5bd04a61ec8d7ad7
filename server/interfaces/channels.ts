import type { ChannelDefinitionInput } from '../../channels/definition.ts';
import type { MessageFormat } from '../../channels/format.ts';

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
  ];
}

/** Message formats by the name that channel definitions use. */
export function messageFormats(): Readonly<Record<string, MessageFormat>> {
  return {};
}
