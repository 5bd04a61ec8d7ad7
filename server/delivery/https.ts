import { Agent, request } from 'node:https';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { OutboundTls } from './outbound-tls.ts';

export interface HttpsPost {
  /** `https:` only; redirects are not followed. */
  readonly url: string;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string | Buffer;
  readonly tls: OutboundTls;
  /** Longest time for the whole exchange: 10,000. */
  readonly timeoutMs?: number;
  readonly signal?: AbortSignal;
}

export interface HttpsAnswer {
  readonly status: number;
  readonly body: Buffer;
}

const maxAnswerBytes = 16 * 2 ** 20;

/** Posts to a configured address. @throws InterlockError `unavailable` if there is no answer, or a very long one */
export async function postHttps({ url, headers, body, tls, timeoutMs = 10_000, signal }: HttpsPost): Promise<HttpsAnswer> {
  if (new URL(url).protocol !== 'https:') throw new InterlockError('config-invalid', { detail: 'Only https: addresses are posted to.' });
  const deadline = AbortSignal.timeout(timeoutMs);
  try {
    return await new Promise<HttpsAnswer>((resolve, reject) => {
      const sent = request(url, {
        method: 'POST', agent: new Agent({ keepAlive: false, secureContext: tls() }), signal: signal === undefined ? deadline : AbortSignal.any([deadline, signal]),
        headers: { ...headers, 'Content-Length': Buffer.byteLength(body) },
      }, (response) => {
        const chunks: Buffer[] = [];
        let bytes = 0;
        response.on('data', (chunk: Buffer) => {
          bytes += chunk.length;
          if (bytes > maxAnswerBytes) response.destroy(new InterlockError('too-large'));
          else chunks.push(chunk);
        });
        response.on('end', () => resolve({ status: response.statusCode ?? 0, body: Buffer.concat(chunks) }));
        response.on('error', reject);
      });
      sent.on('error', reject);
      sent.end(body);
    });
  } catch (cause) {
    throw new InterlockError('unavailable', { cause });
  }
}
