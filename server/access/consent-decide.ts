import type { ConsentRule, Provision, Verdict } from './consent-model.ts';
import { asksContent, fitsData, fitsPeriod, fitsRequest, type ConsentFacts, type ConsentRequest, type ConsentSubject, type Fit } from './consent-match.ts';
import { provisionsOf } from './consent-model.ts';

/*
 * What is not known (a purpose that nobody named, a date that a resource lacks) makes more than one verdict possible. The
 * possible ones are a set of bits, and where a denial is among them it decides.
 */
const silent = 1;
const permits = 2;
const denies = 4;
type Possible = number;

const bitOf = (verdict: Verdict | undefined): Possible => (verdict === undefined ? silent : verdict === 'permit' ? permits : denies);

/** Everything that a decision rests on. */
export interface ConsentCase {
  readonly rules: readonly ConsentRule[];
  readonly request: ConsentRequest;
  readonly subject: ConsentSubject;
  readonly facts: ConsentFacts;
  /** What holds for a patient of whom no consent says anything. */
  readonly otherwise: Verdict;
}

/** What the consents of one patient say; `open` if the content of the resource decides, and it was not given. */
export function decideConsent({ rules, request, subject, facts, otherwise }: ConsentCase): Verdict | 'open' {
  const isExplicit = request.doing === 'collect' || request.doing === 'correct';
  const possible = rules.map((rule) => possibleOf(rule, request, subject, facts));
  let all = 0;
  if (possible.some((bits) => (bits & denies) !== 0)) all |= denies;
  if (!possible.includes(denies)) {
    const rest = possible.map((bits) => bits & ~denies);
    if (rest.some((bits) => (bits & permits) !== 0)) all |= permits;
    if (rest.every((bits) => (bits & silent) !== 0)) all |= bitOf(isExplicit ? 'permit' : otherwise);
  }
  if (all === denies) return 'deny';
  if ((all & denies) === 0) return 'permit';
  return subject.resource === undefined && rules.some(hasContent) ? 'open' : 'deny';
}

const withContent = new WeakMap<ConsentRule, boolean>();

function hasContent(rule: ConsentRule): boolean {
  let has = withContent.get(rule);
  if (has === undefined) withContent.set(rule, (has = [...provisionsOf(rule.root)].some(asksContent)));
  return has;
}

function possibleOf({ base, root }: ConsentRule, request: ConsentRequest, subject: ConsentSubject, facts: ConsentFacts): Possible {
  const isExplicit = request.doing === 'collect' || request.doing === 'correct';
  const basic = isExplicit ? silent : bitOf(base);
  if (root === undefined) return basic;
  // The root's period is the consent's: outside of it the consent says nothing.
  const current = fitsPeriod(root, request.nowMs);
  if (current === false) return silent;
  const contradicts = base === 'deny' && root.type === 'permit' && isBare(root);
  const own = isExplicit ? explicit(root) : contradicts ? denies : bitOf(root.type ?? base);
  const fit = fitOf(root, root.type ?? base ?? 'deny', request, subject, facts);
  let all = fit === false ? basic : combine(root, own, request, subject, facts);
  if (fit === 'maybe') all |= basic;
  return current === 'maybe' ? all | silent : all;
}

/** Exceptions to a provision that fits: a denial among them wins over a permission, and both over the provision itself. */
function combine({ nested }: Provision, own: Possible, request: ConsentRequest, subject: ConsentSubject, facts: ConsentFacts): Possible {
  const isExplicit = request.doing === 'collect' || request.doing === 'correct';
  const children = nested.map((child): Possible => {
    const fit = fitOf(child, child.type ?? 'deny', request, subject, facts);
    if (fit === false) return 0;
    const inside = combine(child, isExplicit ? explicit(child) : bitOf(child.type), request, subject, facts);
    return fit === 'maybe' ? inside | absent : inside;
  }).filter((bits) => bits !== 0);
  const passes = (bits: Possible): boolean => (bits & (silent | absent)) !== 0;
  let all = 0;
  if (children.some((bits) => (bits & denies) !== 0)) all |= denies;
  if (children.every((bits) => bits !== denies)) {
    if (children.some((bits) => (bits & permits) !== 0)) all |= permits;
    if (children.every(passes)) all |= own;
  }
  return all;
}

/** The provision may not be about this at all. */
const absent = 8;

function fitOf(provision: Provision, verdict: Verdict, request: ConsentRequest, subject: ConsentSubject, facts: ConsentFacts): Fit {
  const fit = fitsRequest(provision, request);
  if (fit === false) return false;
  const data = fitsData(provision, verdict, subject, facts);
  return data === true ? fit : data;
}

/** Recording and correcting are refused only where a provision names them: care must be documented. */
function explicit({ type, actions }: Provision): Possible {
  return actions.length === 0 ? silent : bitOf(type);
}

function isBare({ period, dataPeriod, actors, actions, purposes, classes, codes, labels, data }: Provision): boolean {
  return period === undefined && dataPeriod === undefined && [actors, actions, purposes, classes, codes, labels, data].every(({ length }) => length === 0);
}
