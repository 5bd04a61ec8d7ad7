import { Table } from '../definitions/table.ts';
import { auditEventProfiles } from './audit-events.ts';
import type { Profile } from './types.ts';
import { usCoreProfiles } from './us-core.ts';

/** Profiles and extensions that a definitions package carries, by `url|version`. */
const published = new Table<{ readonly canonical: string } & Omit<Profile, 'isShipped'>>('profiles.ndjson', 'canonical');
const loaded = new Map<string, Profile>();

/** URL -> its versions, ascending. */
let versions: ReadonlyMap<string, readonly string[]> | undefined;

/**
 * A shipped profile or extension definition by canonical URL: without a version the newest, with one (or its beginning, such as
 * `6.1`) that; undefined if it is not shipped.
 */
export function shippedProfile(canonical: string): Profile | undefined {
  const [url = '', version] = canonical.split('|', 2);
  const known = versionsOf(url);
  const chosen = version === undefined ? known?.at(-1) : known?.find((one) => one === version || one.startsWith(`${version}.`));
  if (chosen === undefined) return undefined;
  const key = `${url}|${chosen}`;
  const own = usCoreProfiles().get(key) ?? auditEventProfiles().get(key) ?? loaded.get(key);
  if (own !== undefined) return own;
  const { canonical: _, ...row } = published.get(key)!;
  const profile: Profile = { ...row, isShipped: true };
  loaded.set(key, profile);
  return profile;
}

/**
 * Canonical URLs of the profiles of US Core for a resource type that are checked, in alphabetical order: for
 * `CapabilityStatement.rest.resource.supportedProfile`.
 */
export function supportedProfilesOf(type: string): readonly string[] {
  return [...new Set([...usCoreProfiles().values()].filter((profile) => profile.type === type).map(({ url }) => url))].sort();
}

function versionsOf(url: string): readonly string[] | undefined {
  if (versions === undefined) {
    const lists = new Map<string, string[]>();
    for (const canonical of new Set([...published.keys(), ...usCoreProfiles().keys(), ...auditEventProfiles().keys()])) {
      const [name = '', version = ''] = canonical.split('|', 2);
      lists.set(name, [...(lists.get(name) ?? []), version].sort());
    }
    versions = lists;
  }
  return versions.get(url);
}
