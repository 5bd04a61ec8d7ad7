import { z } from 'zod';

const retryPolicySchema = z.strictObject({
  /** First pause after a failure that can pass. */
  initialMs: z.int().min(10).default(200),
  /** Longest pause. */
  maxMs: z.int().min(10).default(60_000),
  /** Counted from the first failure; then the message becomes a dead letter. */
  giveUpAfterMs: z.int().min(0).default(24 * 3600_000),
});
export type RetryPolicy = z.infer<typeof retryPolicySchema>;

/** A channel as data. Zones are IANA names; sizes are bytes. */
export const channelDefinitionSchema = z.strictObject({
  id: z.string().regex(/^[a-z0-9][a-z0-9-]{0,30}$/),
  /** How messages arrive: `mllp` has a listener of its own; `http` messages are handed in by the web server. */
  door: z.enum(['mllp', 'http']),
  /** Name of the message format, as the composition root registers it. */
  format: z.string().min(1),
  enabled: z.boolean().default(true),
  /** `any`: every partner whose registration permits this channel; else also named here. */
  partners: z.union([z.literal('any'), z.array(z.string().min(1)).min(1)]).default('any'),
  /** Where times without an offset are from. Required: a wrong default moves times by hours. */
  zone: z.string().refine(isZone, 'not a known time zone'),
  /** `message`: of the kind that the message asks for (HL7v2 MSH-15 and MSH-16), and always; `asked`: only when it asks; `original` or `enhanced`: always so. */
  ackMode: z.enum(['message', 'asked', 'original', 'enhanced']).default('message'),
  retry: retryPolicySchema.prefault({}),
  /** What a dead letter means for later messages of its ordering keys: they `continue`, or wait (`holdKey`). */
  deadLetters: z.enum(['continue', 'holdKey']).default('continue'),
  /** Messages of this channel that one process works on at a time. */
  concurrency: z.int().min(1).max(256).default(16),
  maxMessageBytes: z.int().min(1024).max(12 * 2 ** 20).default(10 * 2 ** 20),
});

/** A validated channel definition. */
export type ChannelDefinition = z.infer<typeof channelDefinitionSchema>;
/** A channel definition as it is written: what has a default may be left out. */
export type ChannelDefinitionInput = z.input<typeof channelDefinitionSchema>;

function isZone(zone: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: zone });
    return true;
  } catch {
    return false;
  }
}
