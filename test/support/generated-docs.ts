import { writeFileSync } from 'node:fs';
import { errorsPage } from '../../resources/outcome/document.ts';
import { configurationPage } from '../../server/config/document.ts';

/** Pages of docs/ that are made from tables in the source: `npx node test/support/generated-docs.ts` writes them, tests compare them. */
export const generatedDocs: readonly (readonly [file: string, page: () => string])[] = [
  ['docs/operating/configuration.md', configurationPage],
  ['docs/operating/errors.md', errorsPage],
];

if (import.meta.main) {
  for (const [file, page] of generatedDocs) writeFileSync(new URL(`../../${file}`, import.meta.url), page());
}
