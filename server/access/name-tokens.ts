import { normalizeString } from '../../resources/search-values/index.ts';
import type { NamesOf, NameTokens } from '../alerts/engine.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { StoreReads } from '../storage/contract.ts';

const maxHeld = 10_000;
const heldMs = 3600_000;

/**
 * How persons in the record are called, as keyed tokens: to see that somebody looks up a relative or themselves without a name
 * leaving this file. Looked up by the server for itself; discloses nothing.
 */
export function nameTokens({ store, keyring, nowMs }: { readonly store: Pick<StoreReads, 'read'>; readonly keyring: Keyring; readonly nowMs: () => number }): NamesOf {
  const held = new Map<string, { readonly tokens: Promise<NameTokens | undefined>; readonly untilMs: number }>();
  const token = (sort: string, value: string): string => keyring.mac('alert-token', ['name', sort, value], 12).toString('base64');
  const lookUp = async (reference: string): Promise<NameTokens | undefined> => {
    const [type = '', id = ''] = reference.split('/');
    const found = await store.read(type, id);
    if (found === undefined || found.deleted) return undefined;
    const { name, birthDate } = found.resource() as { readonly name?: unknown; readonly birthDate?: unknown };
    const families: string[] = [];
    const persons: string[] = [];
    for (const { family, given } of (Array.isArray(name) ? name : []) as readonly { readonly family?: unknown; readonly given?: readonly unknown[] }[]) {
      if (typeof family !== 'string') continue;
      const plain = normalizeString(family);
      families.push(token('family', plain));
      if (typeof given?.[0] === 'string') persons.push(token('person', `${plain}|${normalizeString(given[0])}`));
    }
    return { families, persons, ...(typeof birthDate === 'string' ? { born: token('born', birthDate) } : {}) };
  };
  return async (reference) => {
    const known = held.get(reference);
    if (known !== undefined && known.untilMs > nowMs()) return known.tokens;
    const tokens = lookUp(reference);
    held.delete(reference);
    held.set(reference, { tokens, untilMs: nowMs() + heldMs });
    if (held.size > maxHeld) held.delete(held.keys().next().value!);
    tokens.catch(() => held.delete(reference));
    return tokens;
  };
}
