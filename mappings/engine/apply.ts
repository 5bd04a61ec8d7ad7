import { setElement, topLevel, type Element } from './elements.ts';
import { holds, type Rule, type Source, type Value } from './rules.ts';

/** Where applied rules leave their results. */
export interface Target {
  readonly element: Element;
  /** Receives what the source asks to delete. */
  readonly clear: Set<string>;
}

/** How a format turns its values into FHIR: supplied by the format, called by the engine. */
export interface Conversion<V extends Value, R extends Rule> {
  /** @returns the FHIR value, or undefined when the source value cannot be expressed */
  convert(value: V, rule: R): unknown;
  /** Told of populated values that yielded nothing, so that they are reported instead of lost quietly. */
  dropped(rule: R): void;
}

/** What a conversion yields for a code that its table lacks: the element stays without value and carries the original in an extension. */
export class OriginalCode {
  readonly extension: Element;
  constructor(extension: Element) {
    this.extension = extension;
  }
}

/**
 * Applies rules in order. A rule whose element path has no `[]` takes the first repetition only; so the order of rules for
 * one such element is from least to most preferred.
 */
export function applyRules<V extends Value, R extends Rule>(rules: readonly R[], source: Source<V>, conversion: Conversion<V, R>, target: Target): void {
  for (const rule of rules) {
    if (!holds(rule.when, source)) continue;
    const values = source.read(rule.from);
    if (values.length === 0) continue;
    for (const value of values.length === 1 || rule.to.includes('[]') ? values : values.slice(0, 1)) {
      if (value.isNull) {
        target.clear.add(rule.clears ?? rule.to.replaceAll('[]', ''));
        continue;
      }
      const converted = conversion.convert(value, rule);
      if (converted === undefined) conversion.dropped(rule);
      // An element that is one primitive holds its extensions in a twin named _element; entries of lists have none here.
      else if (converted instanceof OriginalCode) {
        if (/^\w+$/.test(rule.to)) target.element[`_${rule.to}`] = { extension: [converted.extension] };
      } else setElement(target.element, rule.to, converted, rule.with);
    }
  }
  // A list that one field deletes and another fills is not deleted as a whole.
  for (const path of target.clear) if (path === topLevel(path) && target.element[path] !== undefined) target.clear.delete(path);
}
