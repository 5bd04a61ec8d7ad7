import { randomUUID } from 'node:crypto';

/** A new logical id: random, so that it tells nothing and cannot be guessed. */
export const newId = (): string => randomUUID();
