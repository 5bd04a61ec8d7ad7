import { InterlockError } from '../../../resources/outcome/error.ts';
import { accountingReport } from '../../reports/accounting.ts';
import { partyReader } from '../../reports/parties.ts';
import { renderPdf } from '../../reports/pdf-table.ts';
import { sealStream } from '../../reports/sealed-file.ts';
import { flag, text, timeOf, type Command } from '../command.ts';
import { sealOf, sealOptions } from '../sealing.ts';

/** What a patient may ask for. */
export const accountingCommands: readonly Command[] = [
  {
    name: 'audit accounting',
    summary: 'accounting of disclosures of one patient (45 CFR 164.528) as a sealed PDF: who saw what, when, why',
    options: [
      { flags: '--patient <id>', description: 'logical id of the Patient', required: true },
      { flags: '--since <time>', description: 'ISO 8601 date or time, inclusive; default: six years ago' },
      { flags: '--until <time>', description: 'ISO 8601 date or time, exclusive; default: now' },
      { flags: '--required-only', description: 'only what the regulation asks for: without treatment, payment, operations, and the patient\'s own access' },
      { flags: '--out <file>', description: 'file to write; must not exist yet', required: true, local: true, isNew: true },
      ...sealOptions,
      { flags: '--insecure-unsealed', description: 'write a readable file' },
    ],
    run: async ({ auditReader, guard, nowMs, fhirBaseUrl }, input, tell, { record, send }) => {
      const patient = text(input, 'patient')!.replace(/^Patient\//, '');
      const seal = sealOf(input);
      const unsealed = flag(input, 'insecureUnsealed');
      if ((seal === undefined) !== unsealed) throw new InterlockError('request-invalid', { detail: 'Seal the file with --passphrase-file or --recipient, or write a readable one with --insecure-unsealed.' });
      const atMs = nowMs();
      const untilMs = timeOf(input, 'until') ?? atMs;
      const sinceMs = timeOf(input, 'since') ?? sixYearsBefore(untilMs);
      const about = { query: `accounting?patient=${patient}&since=${new Date(sinceMs).toISOString()}&until=${new Date(untilMs).toISOString()}`, patients: [patient] };
      const { report, disclosures, accountable } = await accountingReport({ reader: auditReader, patient, sinceMs, untilMs, requiredOnly: flag(input, 'requiredOnly'), party: partyReader(guard, input.operator), tell, site: new URL(fhirBaseUrl).host, at: new Date(atMs) });
      const pdf = await renderPdf(report);
      const content = (async function* () {
        yield await Promise.resolve(pdf);
      })();
      const sealed = seal === undefined ? content : await sealStream(content, seal);
      await record('accounting-of-disclosures', about);
      for await (const chunk of sealed) await send('', chunk);
      return {
        lines: [`${disclosures} disclosures and changes, ${accountable} of which must be accounted for`, ...(unsealed ? ['NOT SEALED: the file is readable by whoever gets it.'] : [])],
        json: { disclosures, accountable, sealed: !unsealed },
        about,
      };
    },
  },
];

/** As far back as an accounting goes: 45 CFR 164.528(a)(1). */
function sixYearsBefore(atMs: number): number {
  const date = new Date(atMs);
  return date.setUTCFullYear(date.getUTCFullYear() - 6);
}
