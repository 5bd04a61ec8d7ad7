/** Whether a value is exactly what `fixed[x]` says (https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.fixed_x_). */
export function equalsFixed(value: unknown, fixed: unknown): boolean {
  if (Array.isArray(fixed)) return Array.isArray(value) && value.length === fixed.length && fixed.every((item, index) => equalsFixed(value[index], item));
  if (!isObject(fixed)) return value === fixed;
  if (!isObject(value)) return false;
  const names = Object.keys(fixed);
  return names.length === Object.keys(value).length && names.every((name) => Object.hasOwn(value, name) && equalsFixed(value[name], fixed[name]));
}

/** Whether a value has all that `pattern[x]` says, and maybe more: each item of a pattern's list matches some item (https://hl7.org/fhir/R4/elementdefinition-definitions.html#ElementDefinition.pattern_x_). */
export function matchesPattern(value: unknown, pattern: unknown): boolean {
  if (Array.isArray(pattern)) return Array.isArray(value) && pattern.every((item) => value.some((one) => matchesPattern(one, item)));
  if (!isObject(pattern)) return value === pattern;
  return isObject(value) && Object.keys(pattern).every((name) => Object.hasOwn(value, name) && matchesPattern(value[name], pattern[name]));
}

type JsonObject = Readonly<Record<string, unknown>>;

/** True for a JSON object that is no list. */
export function isObject(value: unknown): value is JsonObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}
