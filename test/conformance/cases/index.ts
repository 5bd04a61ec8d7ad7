import type { Chapter } from '../case.ts';
import { capabilities } from './capabilities.ts';
import { errors } from './errors.ts';
import { bundles } from './bundles.ts';
import { operations } from './operations.ts';
import { reads } from './reads.ts';
import { search } from './search.ts';
import { searchValues } from './search-values.ts';
import { usCore } from './us-core.ts';
import { writes } from './writes.ts';

/** All cases, in the order of the checklists. */
export const chapters: readonly Chapter[] = [errors, reads, writes, bundles, search, searchValues, operations, capabilities, usCore];
