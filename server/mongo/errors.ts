/** True for MongoDB's refusal of a key that exists already (https://www.mongodb.com/docs/manual/reference/error-codes/). */
export function isDuplicateKey(error: unknown): boolean {
  return typeof error === 'object' && error !== null && 'code' in error && error.code === 11_000;
}
