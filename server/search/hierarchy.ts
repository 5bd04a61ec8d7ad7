import { searchParamsOf } from '../../resources/definitions/index.ts';
import type { SearchParam } from '../../resources/search-values/types.ts';

/** Codes that R4 gives to the parameter by which a resource names what it is a part of. */
const partCodes = ['partof', 'part-of'];

/** The parameter by which resources of a type are parts of others of the same type, such as Location's `partof`; undefined if they are not. */
export function hierarchyOf(type: string): SearchParam | undefined {
  return partCodes.map((code) => searchParamsOf(type).get(code)).find((param) => param?.target?.includes(type) === true);
}
