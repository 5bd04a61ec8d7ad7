import { searchParamsOf } from '../../resources/definitions/index.ts';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { SearchParam } from '../../resources/search-values/types.ts';
import type { AskedCriterion, ParsedSearch } from '../search/criteria.ts';
import type { AccessContext, Masks } from './context.ts';

type Asked = Partial<Pick<ParsedSearch, 'sort' | 'include' | 'revInclude'>> & { readonly where: AskedCriterion };

/**
 * Refuses a search that reads an element that is hidden from the caller, anywhere in it: its answer would tell of it.
 * @param types what is searched
 * @throws InterlockError `forbidden`
 */
export function assertUnmasked(context: Pick<AccessContext, 'masks' | 'actor'>, types: readonly string[], { where, sort = [], include = [], revInclude = [] }: Asked): void {
  const check = new Check(context.masks, context.actor.kind === 'user');
  check.criterion(where, types);
  for (const { param } of sort) if (typeof param === 'object') for (const type of types) check.param(type, param);
  for (const { sourceType, param } of [...include, ...revInclude]) if (sourceType !== '*' && param !== '*') check.param(sourceType, param);
}

/** The includes of a search without parameters that read what is hidden: wildcards take them in. */
export function isReadable({ masks }: Pick<AccessContext, 'masks'>, type: string, param: SearchParam): boolean {
  const elements = masks?.elements.get(type);
  return elements === undefined || !reads(type, param, elements);
}

class Check {
  readonly #masks: Masks | undefined;
  readonly #isPerson: boolean;

  constructor(masks: Masks | undefined, isPerson: boolean) {
    this.#masks = masks;
    this.#isPerson = isPerson;
  }

  criterion(asked: AskedCriterion, types: readonly string[]): void {
    switch (asked.op) {
      case 'all': case 'any':
        for (const part of asked.of) this.criterion(part, types);
        return;
      case 'not':
        this.criterion(asked.of, types);
        return;
      case 'chain':
        for (const type of types) this.param(type, asked.param);
        for (const { type, where } of asked.of) this.criterion(where, [type]);
        return;
      case 'has':
        this.param(asked.type, asked.param);
        this.criterion(asked.where, [asked.type]);
        return;
      case 'contained':
        this.criterion(asked.of, [asked.type]);
        return;
      case 'present': case 'param': case 'hierarchy': case 'valueSet': case 'subsumed':
        for (const type of types) this.param(type, asked.param);
        return;
      case 'words':
        this.#words(types, asked.scope);
        return;
      case 'type': case 'compartment': case 'id': case 'lastUpdated':
    }
  }

  param(type: string, param: SearchParam): void {
    const elements = this.#masks?.elements.get(type);
    if (elements !== undefined && reads(type, param, elements)) throw refusal(type, `parameter ${param.code}`);
  }

  /** Words stand in narrative, in masked elements and in resources inside others. */
  #words(types: readonly string[], scope: 'narrative' | 'content'): void {
    const type = types.find((one) => (this.#masks?.elements.has(one) ?? false) || (scope === 'content' && (this.#masks !== undefined || (one === 'AuditEvent' && !this.#isPerson))));
    if (type !== undefined) throw refusal(type, scope === 'narrative' ? 'parameter _text' : 'parameter _content');
  }
}

function refusal(type: string, what: string): InterlockError {
  return new InterlockError('forbidden', { rule: `mask: ${what} reads elements of ${type} that are hidden` });
}

/** True if a parameter's expression leads to, into or past one of the elements; also if it cannot be told. */
function reads(type: string, param: SearchParam, elements: readonly string[]): boolean {
  if (param.code === '_id' || param.code === '_lastUpdated') return false;
  const components = param.components ?? [];
  if (components.length > 0) {
    const params = searchParamsOf(type);
    return components.some(({ code }) => {
      const component = params.get(code);
      return component === undefined || reads(type, component, elements);
    });
  }
  const paths = [...param.expression.matchAll(/\b([A-Z][A-Za-z]+)((?:\.[a-z][A-Za-z]*\b(?!\())*)/g)].filter(([, root]) => root === type || root === 'Resource' || root === 'DomainResource');
  if (paths.length === 0) return true;
  return paths.some(([, , path = '']) => elements.some((element) => overlap(path.slice(1).split('.'), element.replaceAll('[x]', '').split('.'))));
}

function overlap(one: readonly string[], other: readonly string[]): boolean {
  const [shorter, longer] = one.length <= other.length ? [one, other] : [other, one];
  return shorter.every((name, index) => name === longer[index] || name === '');
}

