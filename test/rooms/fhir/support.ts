import { AuditReader } from '../../../server/audit/reader.ts';
import type { AccessContext, Grant } from '../../../server/access/context.ts';
import { TerminologyService } from '../../../server/access/terminology.ts';
import type { AuditRecord, AuditTrail } from '../../../server/audit/record.ts';
import { Cursors } from '../../../server/fhir/cursors.ts';
import type { FhirResponse, FhirServices } from '../../../server/fhir/exchange.ts';
import { handle } from '../../../server/fhir/pipeline.ts';
import { splitUrl } from '../../../server/fhir/routes.ts';
import { InterlockError } from '../../../resources/outcome/error.ts';
import { tenant, testStore, type TestStore } from '../storage/support.ts';

export const baseUrl = 'https://localhost/fhir/R4';

/** What a request was answered with, or refused by. */
export interface Answer {
  readonly status: number;
  readonly json: Record<string, unknown>;
  readonly headers: Readonly<Record<string, string>>;
  readonly error?: InterlockError;
}

/** The FHIR pipeline on a store of its own, without HTTP. */
export interface TestFhir {
  readonly on: TestStore;
  /** Every record that was handed to the audit trail, in order. */
  readonly records: AuditRecord[];
  /** The audit trail of the pipeline: its methods may be replaced to make it fail. */
  readonly audit: { -readonly [K in keyof AuditTrail]: AuditTrail[K] };
  readonly services: FhirServices;
  call(grants: readonly Grant[], method: string, url: string, resource?: unknown, headers?: Readonly<Record<string, string>>, contentType?: string): Promise<Answer>;
  close(): Promise<void>;
}

/** A grant of permissions such as `rs`, on one type or all, perhaps of one patient's compartment. */
export function grant(type: string, permissions: string, patient?: string): Grant {
  return { type, permissions: new Set(permissions) as Grant['permissions'], ...(patient === undefined ? {} : { patient }) };
}

export async function testFhir(): Promise<TestFhir> {
  const on = await testStore({ values: { baseUrl, zone: 'UTC' } });
  const records: AuditRecord[] = [];
  const audit: TestFhir['audit'] = {
    ...on.audit,
    prepare: (record) => {
      records.push(record);
      return on.audit.prepare(record);
    },
    record: async (record) => {
      records.push(record);
      await on.audit.record(record);
    },
  };
  const services: FhirServices = {
    store: on.store, audit, auditEvents: new AuditReader({ audit: on.mongo.audit, keyring: on.keyring, tenant, site: { baseUrl, site: 'localhost' } }), nowMs: Date.now, values: { baseUrl, zone: 'UTC' },
    terminology: new TerminologyService(on.store), baseUrl, cursors: new Cursors(on.keyring), document: () => ({ bytes: Buffer.from('{}'), etag: 'W/"x"' }),
    limits: { maxResourceSizeBytes: 1_000_000, maxBinarySizeBytes: 5_000_000, maxBundleSizeBytes: 5_000_000, maxBundleEntries: 100, defaultPageCount: 50, maxPageCount: 1_000, maxConditionalDeletes: 1 },
  };
  return {
    on, records, audit, services,
    async call(grants, method, url, resource, headers = {}, contentType) {
      const context: AccessContext = { tenant, requestId: 'r', actor: { kind: 'client', id: 'app' }, grants, purposeOfUse: [] };
      const { path, query } = splitUrl(url);
      try {
        const answer: FhirResponse = await handle(services, { method, path, query: [...new URLSearchParams(query)], headers, ...(contentType === undefined ? {} : { contentType }), ...(resource === undefined ? {} : { body: Buffer.from(JSON.stringify(resource)) }) }, context);
        return { status: answer.status, headers: answer.headers, json: answer.body === undefined ? {} : (JSON.parse(answer.body.toString()) as Record<string, unknown>) };
      } catch (error) {
        if (!(error instanceof InterlockError)) throw error;
        return { status: error.status, headers: {}, json: {}, error };
      }
    },
    close: () => on.close(),
  };
}
