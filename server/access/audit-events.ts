import type { SearchPage, SearchRequest, StoredVersion } from '../storage/contract.ts';

/** The audit trail as FHIR AuditEvents: can be read and searched like stored resources, and nothing else. */
export interface AuditEventReader {
  read(id: string): Promise<StoredVersion | undefined>;
  search(request: SearchRequest): Promise<SearchPage>;
}
