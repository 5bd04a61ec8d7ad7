import type { AccessContext } from './context.ts';
import type { GuardServices } from './guard.ts';

/**
 * A caller's context as it stands at this moment: with emergency access, and with the patients in the person's care looked up.
 * Whatever acts for somebody passes here before the guarded repository; consents follow there.
 * @throws InterlockError `too-costly` for who has too many patients in care
 */
export async function atPresent(context: AccessContext, { breakGlass, ownPatients }: Pick<GuardServices, 'breakGlass' | 'ownPatients'>): Promise<AccessContext> {
  const broken = breakGlass === undefined ? context : await breakGlass.apply(context);
  return ownPatients === undefined ? broken : ownPatients.confine(broken);
}
