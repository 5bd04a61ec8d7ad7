/*
 * What consents say of one resource, evaluated naively on plain JSON, apart from the server: the text of
 * https://hl7.org/fhir/R4/consent.html and docs/interactions/consent.md step by step. What cannot be known is tried both ways,
 * in every combination; a denial in any of them decides.
 */

export type Json = { readonly [name: string]: unknown };
type Answer = 'yes' | 'no' | 'unknown';

/** Who asks, why and when; `memberOf` as the record says, `perhaps` where it only may be so. */
export interface Asker {
  readonly isClient: boolean;
  readonly self?: string;
  readonly memberOf: readonly string[];
  readonly perhaps: readonly string[];
  readonly purposes: readonly string[];
  readonly at: string;
}

export interface Everything {
  readonly otherwise: 'permit' | 'deny';
  readonly organizationBase: Readonly<Record<string, 'permit' | 'deny'>>;
  /** Every resource, by `Type/id`. */
  readonly resources: ReadonlyMap<string, Json>;
}

/** True if a resource may be shown. */
export function mayShow(resource: Json, patients: readonly string[], consents: readonly Json[], asker: Asker, world: Everything): boolean {
  return patients.every((patient) => {
    if (asker.self === `Patient/${patient}`) return true;
    const own = consents.filter((consent) => consent['status'] === 'active' && text(consent, 'scope', 'coding', 0, 'code') === 'patient-privacy' && text(consent, 'patient', 'reference') === `Patient/${patient}`);
    const answers = new Map(own.flatMap((consent) => allOf(consent['provision']).map((provision) => [provision, applies(provision, consent, resource, asker, world)] as const)));
    const unknowns = [...answers.keys()].filter((provision) => answers.get(provision) === 'unknown');
    for (let mask = 0; mask < 2 ** unknowns.length; mask += 1) {
      const assumed = (provision: Json): boolean => (answers.get(provision) === 'unknown' ? (mask & (1 << unknowns.indexOf(provision))) !== 0 : answers.get(provision) === 'yes');
      const verdicts = own.map((consent) => verdictOf(consent, assumed, asker, world));
      const result = verdicts.includes('deny') ? 'deny' : verdicts.includes('permit') ? 'permit' : world.otherwise;
      if (result === 'deny') return false;
    }
    return true;
  });
}

function verdictOf(consent: Json, assumed: (provision: Json) => boolean, asker: Asker, world: Everything): string | undefined {
  const policy = text(consent, 'policyRule', 'coding', 0, 'code');
  const organization = text(consent, 'organization', 0, 'reference');
  const base = policy === 'OPTIN' || policy === 'OPTINR' ? 'permit' : policy === 'OPTOUT' || policy === 'OPTOUTE' ? 'deny' : organization === undefined ? undefined : world.organizationBase[organization];
  const root = consent['provision'] as Json | undefined;
  if (root === undefined) return base;
  if (root['period'] !== undefined && !includes(root['period'] as Json, Date.parse(asker.at))) return undefined;
  if (!assumed(root)) return base;
  const constraints = Object.keys(root).filter((name) => name !== 'type' && name !== 'provision');
  const own = base === 'deny' && root['type'] === 'permit' && constraints.length === 0 ? 'deny' : ((root['type'] as string | undefined) ?? base);
  return exception(root, assumed) ?? own;
}

function exception(provision: Json, assumed: (provision: Json) => boolean): string | undefined {
  const results = childrenOf(provision).filter(assumed).map((child) => exception(child, assumed) ?? (child['type'] as string));
  return results.includes('deny') ? 'deny' : results.includes('permit') ? 'permit' : undefined;
}

function applies(provision: Json, consent: Json, resource: Json, asker: Asker, world: Everything): Answer {
  const answers: Answer[] = [];
  const any = (name: string, test: (one: Json) => Answer): void => {
    const all = provision[name] as readonly Json[] | undefined;
    if (all === undefined) return;
    const found = all.map(test);
    answers.push(found.includes('yes') ? 'yes' : found.includes('unknown') ? 'unknown' : 'no');
  };
  if (provision['period'] !== undefined) answers.push(includes(provision['period'] as Json, Date.parse(asker.at)) ? 'yes' : 'no');
  const actors = provision['actor'] as readonly Json[] | undefined;
  if (actors !== undefined) {
    const receiving = actors.filter((actor) => text(actor, 'role', 'coding', 0, 'code') !== 'CST');
    if (receiving.length === 0) answers.push('unknown');
    else answers.push(worst(receiving.map((actor) => isActor(text(actor, 'reference', 'reference')!, asker))));
  }
  any('action', (one) => {
    const code = text(one, 'coding', 0, 'code');
    return code === 'access' ? 'yes' : code === 'use' || code === 'disclose' ? 'unknown' : 'no';
  });
  const purposes = (provision['purpose'] as readonly Json[] | undefined)?.map((one) => one['code']);
  if (purposes !== undefined) {
    if (asker.purposes.length === 0) answers.push('unknown');
    else {
      const covered = asker.purposes.filter((one) => [one, ...(one === 'ETREAT' ? ['TREAT'] : one === 'BTG' ? ['ETREAT', 'TREAT'] : [])].some((code) => purposes.includes(code))).length;
      answers.push(covered === 0 ? 'no' : covered === asker.purposes.length ? 'yes' : 'unknown');
    }
  }
  any('class', (one) => (one['system'] === 'http://hl7.org/fhir/resource-types' ? yes(one['code'] === resource['resourceType']) : yes(((resource['meta'] as Json | undefined)?.['profile'] as unknown[] | undefined)?.includes(one['code']) === true)));
  if (provision['code'] !== undefined) {
    const wanted = (provision['code'] as readonly Json[]).flatMap((one) => one['coding'] as readonly Json[]).map((one) => `${String(one['system'])}|${String(one['code'])}`);
    const { meta: _, ...rest } = resource;
    const top = Object.values(rest).flatMap((value) => [value].flat()).flatMap((value) => codings(value, 1));
    answers.push(top.some((one) => wanted.includes(one)) ? 'yes' : codings(rest, 20).some((one) => wanted.includes(one)) ? 'unknown' : 'no');
  }
  if (provision['securityLabel'] !== undefined) answers.push(yes(labelled(provision['securityLabel'] as readonly Json[], resource, effectiveType(provision, consent, world) === 'permit')));
  any('data', (one) => yes(isData(String(one['meaning']), text(one, 'reference', 'reference')!, resource, world)));
  if (provision['dataPeriod'] !== undefined) answers.push(dated(provision['dataPeriod'] as Json, resource));
  return answers.includes('no') ? 'no' : answers.includes('unknown') ? 'unknown' : 'yes';
}

function effectiveType(provision: Json, consent: Json, world: Everything): string {
  if (provision['type'] !== undefined) return provision['type'] as string;
  const policy = text(consent, 'policyRule', 'coding', 0, 'code');
  if (policy !== undefined) return policy.startsWith('OPTIN') ? 'permit' : 'deny';
  const organization = text(consent, 'organization', 0, 'reference');
  return (organization === undefined ? undefined : world.organizationBase[organization]) ?? 'deny';
}

function isActor(reference: string, asker: Asker): Answer {
  if (asker.memberOf.includes(reference)) return 'yes';
  if (asker.perhaps.includes(reference)) return 'unknown';
  if (asker.isClient) return reference.startsWith('Organization/') ? 'unknown' : 'no';
  return asker.memberOf.length === 0 ? 'unknown' : 'no';
}

function labelled(labels: readonly Json[], resource: Json, isPermission: boolean): boolean {
  const scale = 'ULMNRV';
  const own = (((resource['meta'] as Json | undefined)?.['security'] as readonly Json[] | undefined) ?? []).map(({ code }) => code as string);
  const levels = own.filter((code) => code.length === 1).map((code) => scale.indexOf(code));
  const level = levels.length === 0 ? scale.indexOf('N') : Math.max(...levels);
  const asked = labels.map(({ code }) => code as string);
  const marks = asked.filter((code) => code.length === 1).map((code) => scale.indexOf(code));
  const tags = asked.filter((code) => code.length > 1);
  const hasTag = tags.some((code) => own.includes(code));
  if (!isPermission) return hasTag || marks.some((mark) => level >= mark);
  return (marks.length === 0 || level <= Math.max(...marks)) && (tags.length === 0 || hasTag);
}

function isData(meaning: string, reference: string, resource: Json, world: Everything): boolean {
  const self = `${String(resource['resourceType'])}/${String(resource['id'])}`;
  if (meaning === 'authoredby') return references([resource['performer'], resource['author'], resource['recorder'], resource['asserter']]).includes(reference);
  if (self === reference) return true;
  if (meaning === 'dependents') return references(resource).includes(reference);
  return meaning === 'related' && references(world.resources.get(reference)).includes(self);
}

function dated(period: Json, resource: Json): Answer {
  const found = [resource['effectiveDateTime'], resource['recordedDate'], resource['onsetDateTime'], resource['date'], resource['period'], resource['dateTime'], (resource['provision'] as Json | undefined)?.['period']].filter((one) => one !== undefined);
  if (found.length === 0) return 'unknown';
  const spans = found.map((one): [number, number] => (typeof one === 'string' ? [start(one), end(one)] : [(one as Json)['start'] === undefined ? -Infinity : start((one as Json)['start'] as string), (one as Json)['end'] === undefined ? Infinity : end((one as Json)['end'] as string)]));
  const [from, until] = [period['start'] === undefined ? -Infinity : start(period['start'] as string), period['end'] === undefined ? Infinity : end(period['end'] as string)];
  if (spans.every(([lo, hi]) => lo >= from && hi <= until)) return 'yes';
  return spans.some(([lo, hi]) => lo < until && hi > from) ? 'unknown' : 'no';
}

const start = (date: string): number => Date.parse(date.length === 4 ? `${date}-01-01` : date);
/** Dates are days here, or years. */
const end = (date: string): number => (date.length === 4 ? Date.parse(`${Number(date) + 1}-01-01`) : Date.parse(date) + 86_400_000);

function includes(period: Json, atMs: number): boolean {
  return (period['start'] === undefined || start(period['start'] as string) <= atMs) && (period['end'] === undefined || atMs < end(period['end'] as string));
}

function codings(node: unknown, depth: number): string[] {
  if (typeof node !== 'object' || node === null) return [];
  if (Array.isArray(node)) return node.flatMap((one) => codings(one, depth));
  const here = typeof (node as Json)['code'] === 'string' ? [`${String((node as Json)['system'])}|${String((node as Json)['code'])}`] : [];
  const inside = depth > 1 ? Object.values(node) : [(node as Json)['coding']];
  return [...here, ...inside.flatMap((one) => codings(one, depth - 1 || 1))];
}

function references(node: unknown): string[] {
  if (typeof node !== 'object' || node === null) return [];
  const own = (node as Json)['reference'];
  return [...(typeof own === 'string' ? [own] : []), ...Object.values(node).flatMap(references)];
}

function text(node: unknown, ...path: readonly (string | number)[]): string | undefined {
  let at: unknown = node;
  for (const step of path) at = (at as Record<string | number, unknown> | undefined)?.[step];
  return at as string | undefined;
}

const yes = (is: boolean): Answer => (is ? 'yes' : 'no');
const worst = (answers: readonly Answer[]): Answer => (answers.includes('yes') ? 'yes' : answers.includes('unknown') ? 'unknown' : 'no');
const childrenOf = (provision: unknown): readonly Json[] => ((provision as Json)['provision'] as readonly Json[] | undefined) ?? [];
const allOf = (provision: unknown): Json[] => (provision === undefined ? [] : [provision as Json, ...childrenOf(provision).flatMap(allOf)]);
