import { InterlockError } from '../../../resources/outcome/error.ts';
import type { AppAccessEntry } from '../../auth/app-access.ts';
import type { FhirContextItem } from '../../auth/launch.ts';
import type { People, Person } from '../../auth/people.ts';
import { flag, text, type Command } from '../command.ts';

/** What people granted to apps, and launches from an EHR. */
export const appCommands: readonly Command[] = [
  {
    name: 'client grants',
    summary: 'list who gave an application access, or which applications a person gave it to',
    options: [
      { flags: '--client <client-id>', description: 'the application' },
      { flags: '--user <username>', description: 'the person' },
    ],
    run: async ({ apps, people }, input) => {
      const [clientId, username] = [text(input, 'client'), text(input, 'user')];
      if (clientId === undefined && username === undefined) throw new InterlockError('request-invalid', { detail: 'Give --client, --user or both.' });
      const person = username === undefined ? undefined : await personOf(people, username);
      const found = await apps.list(person === undefined ? { clientId: clientId! } : { accountId: person.id });
      const names = new Map((await people.list()).map((one) => [one.id, one.username]));
      const entries = found.filter((entry) => clientId === undefined || entry.clientId === clientId);
      const rows = entries.map((entry) => [entry.clientId, entry.clientName, names.get(entry.accountId) ?? entry.accountId, day(entry.since), entry.lastUsed === undefined ? '' : day(entry.lastUsed), day(entry.until), entry.scopes.join(' ')]);
      return { table: { columns: ['client_id', 'name', 'user', 'since', 'last used', 'until', 'scopes'], rows }, json: entries.map((entry) => jsonOf(entry, names.get(entry.accountId))) };
    },
  },
  {
    name: 'client revoke',
    summary: 'end at once what people granted to an application: their tokens are refused, and they are asked again',
    args: ['<client-id>'],
    options: [{ flags: '--user <username>', description: 'only what this person granted' }],
    run: async ({ apps, people }, input) => {
      const username = text(input, 'user');
      const person = username === undefined ? undefined : await personOf(people, username);
      const ended = await apps.revoke(input.args[0]!, person?.id);
      return { lines: [`ended for ${ended.length} ${ended.length === 1 ? 'person' : 'people'}`], json: { client_id: input.args[0], people: ended } };
    },
  },
  {
    name: 'client launch',
    summary: 'prepare an EHR launch for a person; prints the launch value, good for five minutes and one use',
    options: [
      { flags: '--user <username>', description: 'who starts the application', required: true },
      { flags: '--patient <id>', description: 'id of the Patient whose record is open' },
      { flags: '--encounter <id>', description: 'id of the Encounter that is open' },
      { flags: '--intent <intent>', description: 'what the application is to do first' },
      { flags: '--fhir-context <file>', description: 'further resources in context, as a JSON array', readsFile: true },
      { flags: '--banner-shown', description: 'the launching EHR shows already whose record it is' },
      { flags: '--launch-url <url>', description: "the application's launch URL; prints where to send the browser" },
    ],
    run: async ({ people, createLaunch, fhirBaseUrl }, input) => {
      const person = await personOf(people, text(input, 'user')!);
      const [patient, encounter, intent, launchUrl] = [text(input, 'patient'), text(input, 'encounter'), text(input, 'intent'), text(input, 'launchUrl')];
      const file = input.files['fhirContext'];
      const target = launchUrl === undefined ? undefined : URL.parse(launchUrl);
      if (target === null) throw new InterlockError('request-invalid', { detail: 'The launch URL is not a URL.' });
      const launch = await createLaunch({
        userId: person.id,
        ...(patient === undefined ? {} : { patient }),
        ...(encounter === undefined ? {} : { encounter }),
        ...(intent === undefined ? {} : { intent }),
        ...(file === undefined ? {} : { fhirContext: contextIn(file) }),
        ...(flag(input, 'bannerShown') ? { needPatientBanner: false } : {}),
      });
      target?.searchParams.set('iss', fhirBaseUrl);
      target?.searchParams.set('launch', launch);
      return { lines: [target === undefined ? `launch  ${launch}` : target.href], json: { iss: fhirBaseUrl, launch, ...(target === undefined ? {} : { url: target.href }) } };
    },
  },
];

async function personOf(people: People, username: string): Promise<Person> {
  const found = (await people.list()).find((one) => one.username === username.toLowerCase());
  if (found === undefined) throw new InterlockError('not-found', { detail: 'There is no such user.' });
  return found;
}

function contextIn(base64: string): FhirContextItem[] {
  try {
    const parsed: unknown = JSON.parse(Buffer.from(base64, 'base64').toString());
    if (Array.isArray(parsed)) return parsed as FhirContextItem[];
  } catch {
    // Told below, together with JSON that is no array.
  }
  throw new InterlockError('request-invalid', { detail: 'The file does not hold a JSON array.' });
}

function jsonOf(entry: AppAccessEntry, username: string | undefined): Record<string, unknown> {
  const { accountId, clientId, clientName, since, lastUsed, until, scopes } = entry;
  return { client_id: clientId, client_name: clientName, user_id: accountId, ...(username === undefined ? {} : { username }), since, ...(lastUsed === undefined ? {} : { last_used: lastUsed }), until, scopes };
}

function day(date: Date): string {
  return date.toISOString().slice(0, 10);
}
