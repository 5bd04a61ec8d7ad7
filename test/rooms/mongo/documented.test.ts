import { expect, test } from '@jest/globals';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { collectionNames, indexes } from '../../../server/mongo/indexes.ts';

test('the set-up that operators are told to run makes every audit collection and index, and no other', () => {
  const text = readFileSync(join(import.meta.dirname, '../../../docs/operating/mongodb.md'), 'utf8');
  const documented = [...text.matchAll(/^audit\.(\S+)\.createIndex\((.*)\);$/gm)].map(([, collection, call]) => `${collection!} ${call!}`);
  const declared = indexes
    .filter(({ database, keys }) => database === 'audit' && keys !== undefined)
    .map(({ collection, keys, options }) => `${collection} ${[keys, ...(options === undefined ? [] : [options])].map((part) => inspect(part, { breakLength: Infinity })).join(', ')}`);
  expect(documented).toEqual(declared);
  expect([...text.matchAll(/^audit\.createCollection\('(\S+)'\);$/gm)].map(([, name]) => name)).toEqual(collectionNames('audit'));
});
