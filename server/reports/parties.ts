import { randomUUID } from 'node:crypto';
import { InterlockError } from '../../resources/outcome/error.ts';
import { GuardedRepository, type GuardServices } from '../access/guard.ts';
import { contextOfOperator } from '../access/operator-context.ts';
import type { Party } from './accounting.ts';

interface Named {
  readonly name?: string | readonly { readonly use?: string; readonly text?: string; readonly prefix?: readonly string[]; readonly given?: readonly string[]; readonly family?: string; readonly suffix?: readonly string[] }[];
  readonly address?: readonly { readonly use?: string; readonly text?: string; readonly line?: readonly string[]; readonly city?: string; readonly state?: string; readonly postalCode?: string; readonly country?: string }[];
}

const types = ['Patient', 'Practitioner', 'RelatedPerson', 'Organization'];

/**
 * Looks up names and addresses as an operator: each read is decided and audited like any other. What may not be read, or is
 * not there, has neither.
 */
export function partyReader(services: GuardServices, operator: string): (reference: string) => Promise<Party> {
  return async (reference) => {
    const [type = '', id = ''] = reference.split('/');
    if (!types.includes(type)) return {};
    try {
      const version = await new GuardedRepository(services, contextOfOperator(operator, types, randomUUID())).read(type, id);
      return partyOf(version.resource() as Named);
    } catch (error) {
      if (error instanceof InterlockError && error.status < 500) return {};
      throw error;
    }
  };
}

function partyOf({ name, address }: Named): Party {
  const best = typeof name === 'object' ? (name.find(({ use }) => use === 'official') ?? name[0]) : undefined;
  const spelled = typeof name === 'string' ? name : (best?.text ?? [...(best?.prefix ?? []), ...(best?.given ?? []), best?.family, ...(best?.suffix ?? [])].filter(Boolean).join(' '));
  const place = address?.find(({ use }) => use === 'work') ?? address?.find(({ use }) => use !== 'old') ?? address?.[0];
  const where = place?.text ?? [...(place?.line ?? []), place?.city, [place?.state, place?.postalCode].filter(Boolean).join(' '), place?.country].filter(Boolean).join(', ');
  return { ...(spelled === '' ? {} : { name: spelled }), ...(where === '' ? {} : { address: where }) };
}
