import { createHash } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { AccessContext } from '../access/context.ts';
import type { Keyring } from '../kms/keyring.ts';

/** A page's place: the query it continues and where. */
export interface Cursor {
  readonly query: readonly (readonly [string, string])[];
  readonly after: string;
}

/**
 * Page links: sealed, so that they tell nothing and cannot be made up, and bound to the caller, so that another
 * principal, or the same one with other permissions, cannot follow them; and to their place, since a position means nothing elsewhere.
 */
export class Cursors {
  readonly #keyring: Keyring;

  constructor(keyring: Keyring) {
    this.#keyring = keyring;
  }

  /** @param place what is paged through, such as `search Patient` */
  seal(cursor: Cursor, context: AccessContext, place: string): string {
    return this.#keyring.sealBlob('cursor', Buffer.from(JSON.stringify(cursor)), binding(context, place), context.tenant).toString('base64url');
  }

  /** @throws InterlockError `not-found` if the cursor is not one of this server's for this caller and place */
  async open(text: string, context: AccessContext, place: string): Promise<Cursor> {
    try {
      const bytes = await this.#keyring.openBlob('cursor', Buffer.from(text, 'base64url'), binding(context, place), context.tenant);
      return JSON.parse(bytes.toString()) as Cursor;
    } catch (cause) {
      throw new InterlockError('not-found', { detail: 'The page link is not valid for this caller; repeat the search.', rule: 'cursor of another principal, or damaged', cause });
    }
  }
}

// Patients come into a person's care and leave it: that must not break the pages of a search.
function binding(context: AccessContext, place: string): string {
  const { actor, grants } = context;
  const permissions = grants.map(({ type, permissions: held, patient, patients, criteria }) => [type, [...held].sort().join(''), patient ?? (patients === undefined ? '' : 'own'), criteria ?? []]);
  return createHash('sha256').update(JSON.stringify([place, actor.kind, actor.id, actor.clientId ?? '', permissions])).digest('base64url');
}
