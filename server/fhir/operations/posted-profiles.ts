import { profileOf, shippedProfile, type Profile } from '../../../resources/profiles/index.ts';
import { reachableTypes } from '../../access/decide.ts';
import { parseSearch } from '../../search/parse.ts';
import type { Exchange } from '../exchange.ts';
import { escaped } from './terminology.ts';

/** Profiles that one validation loads, rounds in which they lead to further ones, and versions of one URL that are looked at. */
const maxProfiles = 40;
const maxRounds = 6;
const maxFound = 100;

/**
 * The StructureDefinitions that users posted under these canonical URLs, and those that they are derived from or refer to:
 * as far as the caller may search them, by searches that are on record.
 */
export async function postedProfiles(exchange: Exchange, canonicals: readonly string[]): Promise<ReadonlyMap<string, Profile>> {
  const loaded = new Map<string, Profile>();
  if (!reachableTypes(exchange.context, ['s']).includes('StructureDefinition')) return loaded;
  const asked = new Set<string>();
  let next = canonicals;
  for (let round = 0; round < maxRounds; round += 1) {
    const fresh = [...new Set(next)].filter((canonical) => !asked.has(canonical) && shippedProfile(canonical) === undefined).slice(0, maxProfiles - asked.size);
    if (fresh.length === 0) break;
    for (const canonical of fresh) asked.add(canonical);
    const found = await find(exchange, fresh);
    next = fresh.flatMap((canonical) => {
      const profile = chosen(found, canonical);
      if (profile === undefined) return [];
      loaded.set(canonical, profile);
      return referredTo(profile);
    });
  }
  return loaded;
}

async function find({ guard, services }: Exchange, canonicals: readonly string[]): Promise<readonly Profile[]> {
  const urls = [...new Set(canonicals.map((canonical) => canonical.split('|', 1)[0]!))];
  const criteria = [['url', urls.map(escaped).join(',')]] as const;
  const search = parseSearch('StructureDefinition', [...criteria, ['_sort', '-_lastUpdated']], { strict: true, ...services.values });
  const page = await guard.search({ ...search, count: maxFound, total: 'none' }, `GET StructureDefinition?url=${criteria[0][1]}`);
  return page.matches.flatMap((version) => profileOf(version.resource(), false) ?? []);
}

/** The newest, or that of the version. */
function chosen(found: readonly Profile[], canonical: string): Profile | undefined {
  const [url, version] = canonical.split('|', 2);
  return found.find((profile) => profile.url === url && (version === undefined || profile.version === version));
}

function referredTo({ base, elements }: Profile): readonly string[] {
  return [base, ...elements.flatMap(({ types = [] }) => types.flatMap((type) => [...(type.profiles ?? []), ...(type.targets ?? [])]))].filter((url) => !coreType.test(url));
}

const coreType = /^http:\/\/hl7\.org\/fhir\/StructureDefinition\/[A-Z][A-Za-z]+$/;
