/** Search values of resources: what a search parameter finds in them, typed. */
export { dateRange, type DateRange } from './date.ts';
export { extractParam, extractSearchValues, patientsOf, readsType, type Resource, type ValueContext } from './extract.ts';
export { normalizeCode, normalizeString } from './normalize.ts';
export { parseReference, referenceValue, type ParsedReference } from './reference.ts';
export { assertSearchParameter, readSearchParameter, typesWith, type PostedParams } from './search-parameter.ts';
export { ucumSystem, ucumUnit, type UcumUnit } from './ucum.ts';
export type { SearchParam, SearchParamType, SearchValue } from './types.ts';
