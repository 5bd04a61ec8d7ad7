import { randomInt } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { brotliDecompressSync } from 'node:zlib';
import { hash, verify } from '@node-rs/argon2';
import { InterlockError } from '../../resources/outcome/error.ts';

const minLength = 12;
const maxLength = 128;
const classes: readonly RegExp[] = [/\p{Lu}/u, /\p{Ll}/u, /\p{Nd}/u, /[^\p{L}\p{Nd}]/u];

/**
 * The words that common passwords are made of. Where upper case, digits and a symbol are demanded, people write
 * `SummerWinter1!` and `Hospital2025#`; so a password of such words and decoration is refused, however it is decorated.
 */
const commonWords = [
  'abcdef', 'access', 'account', 'admin', 'administrator', 'adobe', 'alexander', 'amanda', 'andrew', 'angel', 'apple', 'april', 'arsenal', 'asdf', 'asdfgh', 'asdfghjkl', 'ashley', 'august',
  'autumn', 'azerty', 'bailey', 'banana', 'baseball', 'basketball', 'batman', 'blink', 'buster', 'butterfly', 'changeit', 'changeme', 'charlie', 'cheese', 'chelsea', 'chocolate', 'clinic',
  'company', 'computer', 'cookie', 'daniel', 'december', 'default', 'doctor', 'donald', 'dragon', 'easter', 'epic', 'fall', 'family', 'february', 'flower', 'football', 'freedom', 'friday',
  'friend', 'general', 'george', 'ginger', 'google', 'guest', 'hannah', 'harley', 'health', 'healthcare', 'hello', 'hockey', 'hospital', 'hunter', 'iloveyou', 'interlock', 'internet', 'january',
  'jennifer', 'jessica', 'jesus', 'jordan', 'july', 'june', 'justin', 'killer', 'letmein', 'liverpool', 'login', 'london', 'love', 'lovely', 'maggie', 'manager', 'march', 'master', 'matrix',
  'matthew', 'medical', 'michael', 'michelle', 'microsoft', 'monday', 'monkey', 'mustang', 'mynoob', 'naruto', 'nicole', 'november', 'nurse', 'october', 'office', 'oracle', 'orange', 'pass',
  'passw', 'passwd', 'password', 'passwort', 'patient', 'pepper', 'pharmacy', 'physician', 'pokemon', 'princess', 'purple', 'qazwsx', 'qwer', 'qwert', 'qwerty', 'qwertyuiop', 'qwertz', 'robert',
  'root', 'samantha', 'saturday', 'secret', 'security', 'september', 'server', 'shadow', 'soccer', 'spring', 'starwars', 'summer', 'sunday', 'sunshine', 'superman', 'support', 'system', 'taylor',
  'temp', 'temporary', 'test', 'tester', 'testing', 'thomas', 'thursday', 'tigger', 'trustno', 'tuesday', 'user', 'wednesday', 'welcome', 'whatever', 'william', 'winter', 'yankees', 'zaq', 'zxcvbn', 'zxcvbnm',
] as const;
const madeOfCommonWords = new RegExp(`^(?:${commonWords.join('|')})*$`);
/** See common-passwords/README.md. */
const commonPasswords: ReadonlySet<string> = new Set(brotliDecompressSync(readFileSync(join(import.meta.dirname, 'common-passwords', 'passwords.txt.br'))).toString('utf8').trimEnd().split('\n'));
const minCoreLength = 4;
const repeated = /(.)\1{2,}/g;
const disguises: Readonly<Record<string, string>> = { '0': 'o', '1': 'i', '3': 'e', '4': 'a', '5': 's', '7': 't', '@': 'a', $: 's', '!': 'i' };

/**
 * Refuses a password that does not meet the policy: 12 to 128 characters with upper and lower case, digit and symbol, not
 * a common one, not holding the user name.
 *
 * @throws InterlockError `business-rule`
 */
export function assertPasswordPolicy(password: string, username: string): void {
  const refuse = (detail: string): never => {
    throw new InterlockError('business-rule', { expression: 'password', detail });
  };
  const length = Array.from(password).length;
  if (length < minLength || length > maxLength) refuse(`A password has ${minLength} to ${maxLength} characters.`);
  if (!classes.every((pattern) => pattern.test(password))) refuse('A password has upper and lower case letters, a digit and a symbol.');
  if (new Set(password).size < 6) refuse('A password has at least six different characters.');
  const lower = password.toLowerCase();
  const plain = lower.replace(/[^a-z]/g, '');
  const undisguised = lower
    .replace(/^[^a-z@$]+|[^a-z@$]+$/g, '')
    .replace(/[013457@$!]/g, (letter) => disguises[letter]!)
    .replace(/[^a-z]/g, '');
  const trimmed = lower.replace(/^[^a-z]+|[^a-z]+$/g, '');
  const cores = [lower, lower.replace(/[^a-z0-9]/g, ''), trimmed, plain, undisguised].filter((core) => core.length >= minCoreLength);
  if (cores.some((core) => commonPasswords.has(core)) || [plain, undisguised].some((word) => madeOfCommonWords.test(word.replace(repeated, '')))) refuse('This is a common password.');
  if (username.length >= 3 && lower.includes(username.toLowerCase())) refuse('A password does not hold the user name.');
}

/** A random password of 20 characters that meets the policy. */
export function makePassword(): string {
  const alphabets = ['ABCDEFGHJKLMNPQRSTUVWXYZ', 'abcdefghijkmnopqrstuvwxyz', '23456789', '-_.+*#=:'];
  const everything = alphabets.join('');
  for (;;) {
    const password = Array.from({ length: 20 }, () => everything[randomInt(everything.length)]!).join('');
    if (classes.every((pattern) => pattern.test(password))) return password;
  }
}

// OWASP's first choice of parameters for argon2id; the algorithm is the library's default.
const cost = { memoryCost: 19_456, timeCost: 2, parallelism: 1 } as const;
const maxRunning = 4;
const maxWaiting = 64;
let running = 0;
const waiting: (() => void)[] = [];

// Each hash holds 19 MiB: a flood of sign-ins waits in a short line and is then refused.
async function inTurn<T>(work: () => Promise<T>): Promise<T> {
  if (running >= maxRunning) {
    if (waiting.length >= maxWaiting) throw new InterlockError('throttled', { retryAfterSeconds: 5 });
    await new Promise<void>((resolve) => waiting.push(resolve));
  } else {
    running += 1;
  }
  try {
    return await work();
  } finally {
    // A turn that is handed on stays counted.
    const next = waiting.shift();
    if (next === undefined) running -= 1;
    else next();
  }
}

/** argon2id hash in PHC form. @throws InterlockError `throttled` */
export async function hashPassword(password: string): Promise<string> {
  return inTurn(() => hash(password.normalize('NFKC'), cost));
}

/** True if the password belongs to the hash. Takes about 20 ms either way. @throws InterlockError `throttled` */
export async function passwordMatches(passwordHash: string, password: string): Promise<boolean> {
  // An overlong password is cut, not skipped, so that refusing it takes the usual time.
  return inTurn(() => verify(passwordHash, password.slice(0, maxLength * 2).normalize('NFKC')));
}
