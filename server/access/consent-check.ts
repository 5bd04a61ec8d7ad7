import { createHash } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';
import type { ResourceJson } from '../storage/contract.ts';
import { isObject, list, spanOf } from './consent-model.ts';

const maxProvisions = 500;
const maxDepth = 20;

/**
 * Refuses Consents that nobody can have meant: periods that end before they begin, nested provisions without a type, a signed
 * form that is not the one that its hash tells of. Other resources pass.
 * @throws InterlockError `business-rule`
 */
export function assertConsent(resource: ResourceJson): void {
  if (resource.resourceType !== 'Consent') return;
  let count = 0;
  const check = (provision: unknown, expression: string, depth: number): void => {
    if (!isObject(provision)) return;
    count += 1;
    if (count > maxProvisions || depth > maxDepth) throw refusal(expression, 'has more provisions than can be decided by');
    for (const name of ['period', 'dataPeriod']) {
      const span = spanOf(provision[name], undefined);
      if (span !== undefined && span !== 'maybe' && span.lo >= span.hi) throw refusal(`${expression}.${name}`, 'ends before it begins');
    }
    if (depth > 0 && provision['type'] === undefined) throw refusal(`${expression}.type`, 'is required in nested provisions');
    for (const [index, one] of list(provision['provision']).entries()) check(one, `${expression}.provision[${index}]`, depth + 1);
  };
  check(resource['provision'], 'Consent.provision', 0);
  const form = resource['sourceAttachment'];
  if (!isObject(form) || typeof form['data'] !== 'string' || typeof form['hash'] !== 'string') return;
  // https://hl7.org/fhir/R4/datatypes-definitions.html#Attachment.hash: SHA-1, base64.
  if (createHash('sha1').update(Buffer.from(form['data'], 'base64')).digest('base64') !== form['hash']) throw refusal('Consent.sourceAttachment.hash', 'is not that of the data');
}

function refusal(expression: string, what: string): InterlockError {
  return new InterlockError('business-rule', { expression, detail: `${expression} ${what}.` });
}
