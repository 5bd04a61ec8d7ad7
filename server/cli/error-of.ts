import { InterlockError } from '../../resources/outcome/error.ts';

/** An error as the command line shows it. */
export interface CommandError {
  readonly code: string;
  readonly message: string;
}

/** What the operator may see of an error: the catalogue's texts, nothing else. */
export function errorOf(error: unknown): CommandError {
  if (error instanceof InterlockError) {
    const issues = error.options.issues?.map(({ expression, detail }) => [expression, detail].filter(Boolean).join(': ')) ?? [];
    return { code: error.code, message: [error.options.expression, error.message, ...issues].filter(Boolean).join(' ') };
  }
  return { code: 'internal', message: 'The command failed unexpectedly; the server\'s log says more.' };
}
