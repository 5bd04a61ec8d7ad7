import { searchParamsOf } from '../../resources/definitions/index.ts';
import { extractParam, parseReference, type SearchParam, type ValueContext } from '../../resources/search-values/index.ts';
import type { IncludeSpec } from '../search/criteria.ts';
import type { ResourceJson, StoredVersion } from '../storage/contract.ts';

/** What a reference leads to. */
export interface Target {
  readonly type: string;
  readonly id: string;
  /** Where the reference names a version. */
  readonly versionId?: number;
}

export function keyOfTarget({ type, id, versionId }: Target): string {
  return `${type}/${id}/${versionId ?? ''}`;
}

/** The reference parameters of a type that an include names. */
export function paramsOf(type: string, { sourceType, param }: IncludeSpec): SearchParam[] {
  if (sourceType !== '*' && sourceType !== type) return [];
  return param === '*' ? [...searchParamsOf(type).values()].filter((one) => one.type === 'reference') : [param];
}

/** What a version refers to by parameters that some includes name. */
export function targetsOf(version: StoredVersion, specs: readonly IncludeSpec[], context: ValueContext): Target[] {
  let versions: ReadonlyMap<string, number> | undefined;
  const targets: Target[] = [];
  for (const spec of specs) {
    for (const param of paramsOf(version.type, spec)) {
      for (const value of extractParam(version.resource(), param.code, context)) {
        if (value.kind !== 'reference' || value.type === undefined || value.id === undefined || (spec.targetType !== undefined && value.type !== spec.targetType)) continue;
        versions ??= versionsNamed(version);
        const versionId = versions.get(`${value.type}/${value.id}`);
        targets.push({ type: value.type, id: value.id, ...(versionId !== undefined && { versionId }) });
      }
    }
  }
  return targets;
}

const none: ReadonlyMap<string, number> = new Map();

/** The versions that references of a resource name, by `Type/id`: search values leave versions out. */
function versionsNamed(version: StoredVersion): ReadonlyMap<string, number> {
  if (!version.bytes.includes('/_history/')) return none;
  const found = new Map<string, number>();
  const walk = (node: unknown): void => {
    if (typeof node !== 'object' || node === null) return;
    const { reference } = node as { readonly reference?: unknown };
    const versionId = typeof reference === 'string' ? /\/_history\/([1-9][0-9]{0,8})$/.exec(reference)?.[1] : undefined;
    const target = versionId === undefined ? undefined : parseReference(reference as string);
    if (target !== undefined) found.set(`${target.type}/${target.id}`, Number(versionId));
    for (const value of Object.values(node)) walk(value);
  };
  walk(version.resource() satisfies ResourceJson);
  return found;
}
