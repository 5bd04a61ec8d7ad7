import { createHmac, randomBytes } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { InterlockError } from '../../resources/outcome/error.ts';
import { writeFileAtomic } from '../pki/files.ts';
import { postHttps } from './https.ts';
import type { OutboundTls } from './outbound-tls.ts';
import type { Target } from './queue.ts';

/** File of the keys directory with the secret that webhooks are signed with; read at each posting, so that it may be replaced. */
export const webhookSecretFile = 'webhook.secret';

export interface WebhookOptions {
  readonly url: string;
  readonly keysDir: string;
  readonly tls: OutboundTls;
  readonly nowMs: () => number;
}

/**
 * Posts notices as JSON to the configured address and nowhere else. `Interlock-Signature: t=<seconds since 1970>,v1=<hex>`
 * holds HMAC-SHA-256 over the time, a full stop and the body; `Interlock-Delivery` is the same when a notice comes again.
 */
export function webhookTarget({ url, keysDir, tls, nowMs }: WebhookOptions): Target {
  const file = join(keysDir, webhookSecretFile);
  if (!existsSync(file)) writeFileAtomic(file, `${randomBytes(32).toString('base64url')}\n`);
  return {
    name: 'webhook',
    async send({ id, body }, signal) {
      const { status } = await postHttps({
        url, tls, signal, body,
        headers: { 'Content-Type': 'application/json', 'Interlock-Delivery': id, 'Interlock-Signature': signatureOf(readFileSync(file, 'utf8').trim(), body, nowMs()) },
      });
      if (status < 200 || status >= 300) throw new InterlockError('unavailable', { detail: `The webhook answered ${status}.` });
    },
  };
}

/** Value of the header `Interlock-Signature`. */
export function signatureOf(secret: string, body: string, atMs: number): string {
  const seconds = Math.floor(atMs / 1000);
  return `t=${seconds},v1=${createHmac('sha256', secret).update(`${seconds}.${body}`).digest('hex')}`;
}
