import type { AuditRecord } from '../record.ts';
import { agentType, eventSubtype, eventType, interlockEvent, restfulInteraction, type Coding } from './codes.ts';

/** How events of one sort are laid out. */
export interface Pattern {
  readonly type: Coding;
  readonly subtype: readonly Coding[];
  /** What the caller, this server and the person are called. */
  readonly client: Coding;
  readonly server: Coding;
  readonly user: Coding;
  /** Name of the IHE BALP profile for a success: with a Patient variant, or `PrivacyDisclosure`, which is about a patient. */
  readonly profile?: 'Create' | 'Read' | 'Update' | 'Delete' | 'Query' | 'PrivacyDisclosure.Source';
  /** Name of our own profile for a success that is none of BALP's. */
  readonly ownProfile: 'interaction' | 'exchange' | 'authentication' | 'command' | 'key' | 'server' | 'export';
  /**
   * `data`: one resource per event, as BALP's create, read, update and delete want it; `query`: the request, and what it
   * disclosed of one patient; `plain`: no resources.
   */
  readonly entities: 'data' | 'query' | 'plain';
}

const { source, destination, application, custodian, author, recipient } = agentType;

// The client of a read is called the destination, since the data flow to it; of a query the source, since the criteria
// flow from it: https://profiles.ihe.net/ITI/BALP/content.html#3573-restful-activities
const read = { client: destination, server: source, user: recipient, profile: 'Read', entities: 'data' } as const;
const write = { client: source, server: destination, user: author, entities: 'data' } as const;
const query = { client: source, server: destination, user: recipient, profile: 'Query', entities: 'query' } as const;
const several = { client: destination, server: source, user: recipient, entities: 'query' } as const;

const restPatterns: Readonly<Record<string, Omit<Pattern, 'type' | 'subtype' | 'ownProfile'>>> = {
  'read': read,
  'vread': read,
  'create': { ...write, profile: 'Create' },
  'update': { ...write, profile: 'Update' },
  'patch': { ...write, profile: 'Update' },
  'delete': { client: application, server: custodian, user: author, profile: 'Delete', entities: 'data' },
  'search': query,
  'search-type': query,
  'search-system': query,
  'history-instance': several,
  'history-type': several,
  'history-system': several,
  'capabilities': several,
  'batch': several,
  'transaction': several,
  'operation': several,
};

/** What commands record before data leave as a file. */
const exports: ReadonlySet<string> = new Set(['audit-export', 'accounting-of-disclosures']);

/** The pattern that a record is rendered by. */
export function patternOf(record: AuditRecord): Pattern {
  const named: Coding = { system: interlockEvent, code: record.interaction };
  const activity = { client: source, server: destination, user: author, entities: 'plain' } as const;
  switch (record.kind) {
    case 'rest': {
      const known = restPatterns[record.interaction];
      // Anything else is an operation: its own name stands beside the general code.
      if (known === undefined) return { ...several, ownProfile: 'interaction', type: eventType.rest, subtype: [{ system: restfulInteraction, code: 'operation' }, named] };
      return { ...known, ownProfile: 'interaction', type: eventType.rest, subtype: [{ system: restfulInteraction, code: record.interaction }] };
    }
    case 'login':
      return { ...activity, ownProfile: 'authentication', type: eventType.userAuthentication, subtype: [eventSubtype.login, named] };
    case 'logout':
      return { ...activity, ownProfile: 'authentication', type: eventType.userAuthentication, subtype: [eventSubtype.logout, named] };
    case 'token':
      return { ownProfile: 'authentication', type: eventType.userAuthentication, subtype: [eventSubtype.getAccessToken, named], client: application, server: agentType.authorizationServer, user: recipient, entities: 'plain' };
    case 'channel':
      return { ...activity, ownProfile: 'exchange', type: eventType.import, subtype: [named], entities: 'query' };
    case 'command':
      if (exports.has(record.interaction)) return { client: destination, server: source, user: recipient, ownProfile: 'export', profile: 'PrivacyDisclosure.Source', type: eventType.export, subtype: [eventSubtype.disclose, named], entities: 'plain' };
      return { ...activity, ownProfile: 'command', type: eventType.applicationActivity, subtype: [named] };
    case 'key':
      return { ...activity, ownProfile: 'key', type: eventType.securityAlert, subtype: [eventSubtype.restrictedFunction, named] };
    case 'server':
      return { ...activity, ownProfile: 'server', type: eventType.applicationActivity, subtype: [...serverSubtypes(record.interaction), named] };
  }
}

function serverSubtypes(interaction: string): Coding[] {
  if (interaction === 'start') return [eventSubtype.applicationStart];
  if (interaction === 'stop') return [eventSubtype.applicationStop];
  return [];
}
