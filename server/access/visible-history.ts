import type { ValueContext } from '../../resources/search-values/index.ts';
import type { HistoryRequest, Store, StoredVersion } from '../storage/contract.ts';
import type { AccessContext } from './context.ts';
import type { Reach } from './decide.ts';
import type { SecurityContexts } from './security-context.ts';
import { sees } from './visible.ts';

/** What of a history is asked for. */
export type HistoryPart = Pick<HistoryRequest, 'count' | 'since' | 'at' | 'after'>;

interface Parts {
  readonly store: Pick<Store, 'history'>;
  readonly values: ValueContext;
  readonly context: AccessContext;
  readonly contexts: SecurityContexts;
}

/** Versions that a limited caller's page of history asks the store for at once, and how many it looks at in all. */
const historyBatch = 200;
const maxExamined = 10_000;

/**
 * A page of what the caller sees. It ends, or goes on, by what is visible alone, so that neither tells of anything else;
 * only a record of more than {@link maxExamined} versions shows as pages that are not full.
 */
export async function visibleHistory({ store, values, context, contexts }: Parts, of: { readonly type?: string; readonly id?: string }, page: HistoryPart, reaches: ReadonlyMap<string, Reach>): Promise<{ versions: readonly StoredVersion[]; next?: string; isHiding: boolean }> {
  const isLimited = (of.type === undefined && !context.grants.some(({ type, permissions }) => type === '*' && permissions.has('r'))) || [...reaches].some(([type, { unlimited }]) => !unlimited || contexts.governs(type));
  const versions: StoredVersion[] = [];
  let isHiding = false;
  let { after } = page;
  for (let examined = 0; ; ) {
    const found = await store.history({ ...of, ...page, count: isLimited ? Math.max(page.count + 1, historyBatch) : page.count, ...(after === undefined ? {} : { after }) });
    const visible = new Set(await contexts.visible(found.versions.filter(({ type }) => reaches.has(type)), ['r']));
    for (const version of found.versions) {
      if (!visible.has(version) || !(contexts.governs(version.type) || sees(reaches.get(version.type)!, version, values))) isHiding = true;
      // A history goes on after the order of the last version.
      else if (versions.length === page.count) return { versions, next: String(versions.at(-1)!.order), isHiding };
      else versions.push(version);
    }
    examined += found.versions.length;
    if (found.next === undefined) return { versions, isHiding };
    if (!isLimited || examined >= maxExamined) return { versions, next: found.next, isHiding };
    after = found.next;
  }
}
