import fhirpath from 'fhirpath';
import type { HttpAnswer } from '../../server/demo/http-client.ts';
import type { FhirCaller } from '../support/fhir.ts';
import type { Case, Step } from './case.ts';

/** Who can be asked to send a step. */
export type Callers = Readonly<Record<NonNullable<Step['as']>, FhirCaller>>;

/**
 * Plays a case.
 * @returns what went wrong, one line for each; empty if the case passes
 */
export async function play(one: Case, callers: Callers, base: string): Promise<string[]> {
  const kept = new Map<string, string>([['base', base], ['run', `${one.id}-${Date.now().toString(36)}`]]);
  const wrong: string[] = [];
  for (const [index, step] of one.steps.entries()) {
    const answer = await send(step, kept, callers[step.as ?? 'everyone']);
    wrong.push(...judge(step, answer, kept).map((text) => `step ${index + 1} (${step.send}): ${text}`));
    if (wrong.length > 0) break;
    for (const [name, from] of Object.entries(step.keep ?? {})) kept.set(name, from.startsWith('header:') ? String(answer.headers[from.slice(7).toLowerCase()]) : String(select(answer, from)[0]));
  }
  return wrong;
}

const filled = (text: string, kept: ReadonlyMap<string, string>): string => text.replace(/\{(\w+)\}/g, (whole, name: string) => kept.get(name) ?? whole);

async function send(step: Step, kept: ReadonlyMap<string, string>, caller: FhirCaller): Promise<HttpAnswer> {
  const [method = '', path = ''] = filled(step.send, kept).split(/ (.*)/);
  const headers = Object.fromEntries(Object.entries(step.headers ?? {}).map(([name, value]) => [name, filled(value, kept)]));
  const body = step.body === undefined ? undefined : filled(typeof step.body === 'string' ? step.body : JSON.stringify(step.body), kept);
  return caller.send(method, path, body, headers);
}

function select(answer: HttpAnswer, expression: string): unknown[] {
  return fhirpath.evaluate(JSON.parse(answer.body.toString()), expression, undefined, undefined, { async: false }) as unknown[];
}

function judge(step: Step, answer: HttpAnswer, kept: ReadonlyMap<string, string>): string[] {
  const wrong: string[] = [];
  const expected = typeof step.status === 'number' ? [step.status] : step.status;
  if (!expected.includes(answer.status)) return [`answered ${answer.status} instead of ${expected.join(' or ')}: ${answer.body.toString().slice(0, 400)}`];
  for (const [name, pattern] of Object.entries(step.expectHeaders ?? {})) {
    const value = answer.headers[name.toLowerCase()];
    if (pattern === null ? value !== undefined : !new RegExp(filled(pattern, kept)).test(String(value))) wrong.push(`header ${name} is ${String(value)}`);
  }
  if (step.isEmpty === true && answer.body.length > 0) wrong.push('the body is not empty');
  if (step.text !== undefined && !new RegExp(filled(step.text, kept)).test(answer.body.toString())) wrong.push(`the body does not match ${step.text}: ${answer.body.toString().slice(0, 300)}`);
  // Every refusal says why, in FHIR's own form.
  const isJson = String(answer.headers['content-type']).includes('json');
  const conditions = [...(answer.status >= 400 && isJson && answer.body.length > 0 ? ["resourceType = 'OperationOutcome'", 'issue.exists()'] : []), ...(step.expect ?? [])];
  for (const condition of conditions) {
    const [result, ...more] = select(answer, filled(condition, kept));
    if (result !== true || more.length > 0) wrong.push(`not so: ${condition}; ${answer.body.toString().slice(0, 600)}`);
  }
  return wrong;
}
