import { createHash } from 'node:crypto';
import { createReadStream, createWriteStream, readFileSync, statSync } from 'node:fs';
import { request as plainRequest, type IncomingMessage } from 'node:http';
import { request as tlsRequest } from 'node:https';
import { join } from 'node:path';
import { Readable } from 'node:stream';
import { pipeline } from 'node:stream/promises';
import { rootCertificates } from 'node:tls';
import { AwsV4Signer } from 'aws4fetch';
import { z } from 'zod';
import { InterlockError } from '../../resources/outcome/error.ts';

/** A bucket of an S3 server, or a folder in it. */
export interface S3Options {
  /** `https://HOST[:PORT]/BUCKET[/PREFIX]`, path-style; `http:` only to the loopback. `?region=` names the region (`us-east-1`). */
  readonly url: string;
  /** Directory with `s3-credentials.json`: `{"accessKeyId": …, "secretAccessKey": …, "sessionToken": …}`, read at each request, so that it may be rotated. */
  readonly keysDir: string;
  /** Authorities that the server's certificate may come from, PEM, besides the well-known ones. */
  readonly ca?: readonly string[];
  /** Longest silence on a connection: 30,000. */
  readonly timeoutMs?: number;
}

/** What is to be put. */
export type S3Content = Uint8Array | { readonly file: string };

export interface S3PutOptions {
  readonly contentType?: string;
  /** Object Lock in compliance mode: nobody can change or delete the object before. The bucket must have Object Lock. */
  readonly retainUntil?: Date;
  /** Refused with `version-conflict` if the object is there already (If-None-Match). */
  readonly once?: boolean;
}

/** The few requests of Amazon's S3 interface that are needed here (https://docs.aws.amazon.com/AmazonS3/latest/API/). Names are relative to the prefix. */
export interface S3Bucket {
  /** Stores an object as a whole. @throws InterlockError `unavailable`, `version-conflict` */
  put(name: string, content: S3Content, options?: S3PutOptions): Promise<void>;
  /** Bytes [from, to) of an object, or all of it. @throws InterlockError `not-found`, `unavailable` */
  get(name: string, range?: { readonly from: number; readonly to: number }): Promise<Buffer>;
  /** An object as a stream of bytes. @throws InterlockError `not-found`, `unavailable` */
  stream(name: string): Promise<Readable>;
  /** Writes an object to a file. @throws InterlockError `not-found`, `unavailable` */
  download(name: string, file: string): Promise<void>;
  /** Size, and until when it is locked; undefined if there is none. @throws InterlockError `unavailable` */
  head(name: string): Promise<{ readonly sizeBytes: number; readonly retainUntil?: Date } | undefined>;
  /** Names that begin so, sorted; at most {@link maxListed}. @throws InterlockError `unavailable`, `too-costly` */
  list(start?: string): Promise<string[]>;
  /** Removes an object; one that is not there counts as removed. @throws InterlockError `unavailable` */
  remove(name: string): Promise<void>;
}

const maxListed = 100_000;
const maxAnswerBytes = 300 * 2 ** 20;
const credentialsSchema = z.object({ accessKeyId: z.string().min(1), secretAccessKey: z.string().min(1), sessionToken: z.string().min(1).optional() });
const emptyHash = createHash('sha256').digest('hex');
const loopback = /^(?:localhost|127(?:\.\d+){3}|\[::1\])$/;

/** @throws InterlockError `config-invalid` if the URL names no bucket, or goes unprotected over a network */
export function openS3(options: S3Options): S3Bucket {
  const url = URL.canParse(options.url) ? new URL(options.url) : undefined;
  const [bucket, ...prefix] = url?.pathname.split('/').filter(Boolean) ?? [];
  if (url === undefined || bucket === undefined || !(url.protocol === 'https:' || (url.protocol === 'http:' && loopback.test(url.hostname)))) {
    throw new InterlockError('config-invalid', { detail: 'An S3 bucket is named as https://HOST/BUCKET/PREFIX.' });
  }
  const region = url.searchParams.get('region') ?? 'us-east-1';
  const folder = prefix.map((part) => `${part}/`).join('');
  const ca = options.ca === undefined ? undefined : [...rootCertificates, ...options.ca];

  const send = async (method: string, name: string, given: { query?: Record<string, string>; headers?: Record<string, string>; content?: S3Content } = {}): Promise<IncomingMessage> => {
    const target = new URL(url.origin);
    target.pathname = `/${[bucket, ...(name === '' ? [] : `${folder}${name}`.split('/'))].map(encodeURIComponent).join('/')}`;
    for (const [key, value] of Object.entries(given.query ?? {})) target.searchParams.set(key, value);
    const { content } = given;
    const { sha256, md5, bytes } = content === undefined ? { sha256: emptyHash, md5: '', bytes: 0 } : await digestsOf(content);
    const unsigned = { ...given.headers, 'x-amz-content-sha256': sha256, ...(content === undefined ? {} : { 'content-md5': md5 }) };
    const signed = await new AwsV4Signer({ method, url: target.href, headers: unsigned, service: 's3', region, ...credentialsOf(options.keysDir) }).sign();
    const headers = { ...Object.fromEntries(signed.headers), ...(content === undefined ? {} : { 'content-length': bytes }) };
    const request = url.protocol === 'https:' ? tlsRequest : plainRequest;
    return new Promise<IncomingMessage>((resolve, reject) => {
      const fail = (cause: unknown): void => reject(new InterlockError('unavailable', { detail: 'The S3 server does not answer.', cause }));
      const sent = request(signed.url, { method, headers, timeout: options.timeoutMs ?? 30_000, ...(ca === undefined ? {} : { ca }) }, resolve);
      sent.on('timeout', () => sent.destroy(new Error('timeout')));
      sent.on('error', fail);
      if (content !== undefined && 'file' in content) pipeline(createReadStream(content.file), sent).catch(fail);
      else sent.end(content);
    });
  };

  /** The answer, if it has one of these statuses. */
  const expect = async (answer: Promise<IncomingMessage>, ...statuses: number[]): Promise<IncomingMessage> => {
    const response = await answer;
    const { statusCode = 0 } = response;
    if (statuses.includes(statusCode)) return response;
    response.resume();
    if (statusCode === 404) throw new InterlockError('not-found', { detail: 'The S3 server has no such object or bucket.' });
    if (statusCode === 409 || statusCode === 412) throw new InterlockError('version-conflict', { detail: 'The S3 server has such an object already.' });
    throw new InterlockError('unavailable', { detail: `The S3 server answered ${statusCode}.` });
  };
  const stream = (name: string): Promise<Readable> => expect(send('GET', name), 200);

  return {
    async put(name, content, { contentType = 'application/octet-stream', retainUntil, once = false } = {}) {
      const headers = {
        'content-type': contentType, ...(once ? { 'if-none-match': '*' } : {}),
        ...(retainUntil === undefined ? {} : { 'x-amz-object-lock-mode': 'COMPLIANCE', 'x-amz-object-lock-retain-until-date': retainUntil.toISOString() }),
      };
      await contentOf(await expect(send('PUT', name, { headers, content }), 200));
    },
    get: async (name, range) => {
      if (range !== undefined && range.to <= range.from) return Buffer.alloc(0);
      const headers: Record<string, string> = range === undefined ? {} : { range: `bytes=${range.from}-${range.to - 1}` };
      return contentOf(await expect(send('GET', name, { headers }), range === undefined ? 200 : 206));
    },
    stream,
    download: async (name, file) => pipeline(await stream(name), createWriteStream(file, { mode: 0o600, flush: true })),
    async head(name) {
      const response = await expect(send('HEAD', name), 200, 404);
      response.resume();
      if (response.statusCode === 404) return undefined;
      const until = response.headers['x-amz-object-lock-retain-until-date'];
      return { sizeBytes: Number(response.headers['content-length'] ?? 0), ...(typeof until === 'string' ? { retainUntil: new Date(until) } : {}) };
    },
    async list(start = '') {
      const names: string[] = [];
      for (let token: string | undefined = ''; token !== undefined; ) {
        const query: Record<string, string> = { 'list-type': '2', 'encoding-type': 'url', prefix: folder + start, ...(token === '' ? {} : { 'continuation-token': token }) };
        const xml: string = (await contentOf(await expect(send('GET', '', { query }), 200))).toString();
        // Names come percent-encoded, so that nothing in them can be taken for markup.
        for (const [, key = ''] of xml.matchAll(/<Key>([^<]*)<\/Key>/g)) names.push(decodeURIComponent(key.replaceAll('+', ' ')).slice(folder.length));
        if (names.length > maxListed) throw new InterlockError('too-costly');
        token = /<NextContinuationToken>([^<]+)<\/NextContinuationToken>/.exec(xml)?.[1];
      }
      return names.sort();
    },
    async remove(name) {
      (await expect(send('DELETE', name), 200, 204, 404)).resume();
    },
  };
}

function credentialsOf(keysDir: string): { accessKeyId: string; secretAccessKey: string; sessionToken?: string } {
  try {
    const { sessionToken, ...keys } = credentialsSchema.parse(JSON.parse(readFileSync(join(keysDir, 's3-credentials.json'), 'utf8')));
    return { ...keys, ...(sessionToken === undefined ? {} : { sessionToken }) };
  } catch (cause) {
    throw new InterlockError('config-invalid', { detail: 'The keys directory has no readable s3-credentials.json.', cause });
  }
}

/** S3 wants the content's hash beforehand; an object with a lock also its MD5. */
async function digestsOf(content: S3Content): Promise<{ sha256: string; md5: string; bytes: number }> {
  const [sha256, md5] = [createHash('sha256'), createHash('md5')];
  const chunks = 'file' in content ? (createReadStream(content.file, { highWaterMark: 2 ** 20 }) as AsyncIterable<Buffer>) : [content];
  for await (const chunk of chunks) [sha256, md5].forEach((one) => one.update(chunk));
  return { sha256: sha256.digest('hex'), md5: md5.digest('base64'), bytes: 'file' in content ? statSync(content.file).size : content.length };
}

async function contentOf(response: IncomingMessage): Promise<Buffer> {
  const chunks: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of response as AsyncIterable<Buffer>) {
    bytes += chunk.length;
    if (bytes > maxAnswerBytes) throw new InterlockError('too-large');
    chunks.push(chunk);
  }
  return Buffer.concat(chunks);
}
