import { configFileVariable } from './config.ts';
import { optionNames, options, variableOf } from './options.ts';

/** All options as a page for operators: docs/operating/configuration.md. */
export function configurationPage(): string {
  const rows = optionNames.map((name) => {
    const { form, default: fallback, doc } = options[name];
    return `| \`${variableOf(name)}\` | \`${name}\` | ${fallback === undefined ? '' : `\`${String(fallback)}\``} | ${form} | ${doc} |`;
  });
  return `# Configuration

Generated from \`server/config/options.ts\` by \`test/support/generated-docs.ts\`; do not edit.

Set options in the environment, or by their names in a JSON file that \`${configFileVariable}\` names (mode 0600); the environment wins.
An option that is not valid stops the start with a message that names it, never its value; a name that does not exist is a warning.
Names end in their units: \`Ms\` milliseconds, \`S\` seconds, \`Bytes\`. Options called \`allowInsecure…\` weaken a protection and warn at each start.

| Variable | Option in the file | Default | Must be | Meaning |
| --- | --- | --- | --- | --- |
${rows.join('\n')}
`;
}
