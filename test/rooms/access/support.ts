import { InterlockError } from '../../../resources/outcome/error.ts';
import type { TokenFacts } from '../../../server/access/context.ts';
import { contextFromToken } from '../../../server/access/grants.ts';
import { OwnPatients } from '../../../server/access/own-patients.ts';
import { handle } from '../../../server/fhir/pipeline.ts';
import { splitUrl } from '../../../server/fhir/routes.ts';
import type { TestFhir } from '../fhir/support.ts';

/** A resource or Bundle that came back. */
export type Json = Record<string, unknown>;

/** What a request was answered with, or refused by. */
export interface Reply {
  readonly status: number;
  readonly json: Json;
  readonly text: string;
  readonly error?: InterlockError;
}

export interface Ask {
  readonly body?: unknown;
  readonly headers?: Readonly<Record<string, string>>;
  readonly contentType?: string;
  readonly purposeOfUse?: readonly string[];
}

/** The facts of a token of a person with a role. */
export function personToken(role: string, scope: string, more: { readonly fhirUser?: string; readonly patient?: string } = {}): TokenFacts {
  const { fhirUser, patient } = more;
  return {
    clientId: 'app', scope, expiresAtMs: Date.now() + 600_000,
    user: { id: `user-${role}`, username: role, role, ...(fhirUser === undefined ? {} : { fhirUser }) },
    ...(patient === undefined ? {} : { launch: { patient } }),
  };
}

/** The FHIR pipeline as the holder of a token: everything but HTTP is real. */
export async function askAs(fhir: TestFhir, token: TokenFacts, method: string, url: string, { body, headers = {}, contentType, purposeOfUse }: Ask = {}): Promise<Reply> {
  const own = new OwnPatients({ store: fhir.on.store, nowMs: Date.now, values: fhir.services.values });
  const context = await own.confine(contextFromToken(token, { requestId: 'r', ...(purposeOfUse === undefined ? {} : { purposeOfUse }) }));
  const { path, query } = splitUrl(url);
  try {
    const bytes = body === undefined ? {} : { body: Buffer.from(typeof body === 'string' ? body : JSON.stringify(body)) };
    const answer = await handle(fhir.services, { method, path, query: [...new URLSearchParams(query)], headers, ...(contentType === undefined ? {} : { contentType }), ...bytes }, context);
    const text = answer.body?.toString() ?? '';
    return { status: answer.status, text, json: text.startsWith('{') ? (JSON.parse(text) as Json) : {} };
  } catch (error) {
    if (!(error instanceof InterlockError)) throw error;
    return { status: error.status, text: '', json: {}, error };
  }
}
