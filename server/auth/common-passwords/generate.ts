/**
 * Writes `passwords.txt.br` from the list that Django ships:
 *
 *   pip download --no-deps django==5.2 && unzip -j Django-5.2-py3-none-any.whl django/contrib/auth/common-passwords.txt.gz
 *   npx node server/auth/common-passwords/generate.ts common-passwords.txt.gz
 *
 * One password a line in lower case, sorted, compressed with Brotli; same list in, same lines out.
 */
import { readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliCompressSync, constants, gunzipSync } from 'node:zlib';

const [source] = process.argv.slice(2);
if (source === undefined) throw new Error('name the file common-passwords.txt.gz');
const passwords = new Set(gunzipSync(readFileSync(source)).toString('utf8').split('\n').map((line) => line.trim().toLowerCase()).filter((line) => line !== ''));
const text = `${[...passwords].sort().join('\n')}\n`;
writeFileSync(join(import.meta.dirname, 'passwords.txt.br'), brotliCompressSync(text, { params: { [constants.BROTLI_PARAM_QUALITY]: 11 } }));
process.stdout.write(`${passwords.size} passwords\n`);
