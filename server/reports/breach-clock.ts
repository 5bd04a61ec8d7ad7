/*
 * The deadlines of the HIPAA breach notification rule, from the day of discovery:
 * https://www.ecfr.gov/current/title-45/subtitle-A/subchapter-C/part-164/subpart-D
 */

/** Whom a breach has to be told to. */
export type Notice = 'individuals' | 'media' | 'hhs';

export const notices = ['individuals', 'media', 'hhs'] as const satisfies readonly Notice[];

/** What the deadlines depend on. Days are `YYYY-MM-DD`. */
export interface BreachFacts {
  /** The first day on which it was known, or would have been with reasonable diligence (164.404(a)(2)). */
  readonly discovered: string;
  /** Patients affected; absent while it is not known: then the shorter deadlines count. */
  readonly affected?: number;
  /** Of them, residents per state or jurisdiction. */
  readonly states?: Readonly<Record<string, number>>;
  /** A law enforcement official asked for delay until then (164.412). */
  readonly delayUntil?: string;
  /** What was told already, and when. */
  readonly notified?: Readonly<Partial<Record<Notice, string>>>;
}

export interface Deadline {
  readonly notice: Notice;
  /** Last day; absent if no such notice is due. */
  readonly due?: string;
  /** In words, with the paragraph. */
  readonly why: string;
  readonly state: 'done' | 'done late' | 'not due' | 'open' | 'OVERDUE';
  /** Until the last day; negative if it is over. */
  readonly daysLeft?: number;
}

const dayMs = 86_400_000;
const noticeDays = 60;
const manyResidents = 500;

/** More than so many residents of one state: the media (164.406); at least so many in all: HHS at once (164.408(b)). */
export const threshold = manyResidents;

/** Every notice with its last day, as of a time. */
export function deadlinesOf(facts: BreachFacts, nowMs: number): readonly Deadline[] {
  const { discovered, affected, states = {}, delayUntil, notified = {} } = facts;
  const soon = later(plusDays(discovered, noticeDays), delayUntil);
  const large = Object.entries(states).filter(([state, residents]) => isJurisdiction(state) && residents > manyResidents).map(([state]) => state);
  const today = new Date(nowMs).toISOString().slice(0, 10);
  const deadline = (notice: Notice, due: string | undefined, why: string): Deadline => {
    const done = notified[notice];
    if (due === undefined) return { notice, why, state: done === undefined ? 'not due' : 'done' };
    const daysLeft = Math.round((Date.parse(due) - Date.parse(today)) / dayMs);
    return { notice, due, why, daysLeft, state: done === undefined ? (daysLeft < 0 ? 'OVERDUE' : 'open') : done > due ? 'done late' : 'done' };
  };
  const isKnown = affected !== undefined;
  return [
    deadline('individuals', affected === 0 ? undefined : soon, `letters without unreasonable delay, at most ${noticeDays} days after discovery (164.404(b))`),
    large.length > 0
      ? deadline('media', soon, `more than ${manyResidents} residents of ${large.join(', ')}: prominent media there (164.406)`)
      : deadline('media', undefined, `no state has more than ${manyResidents} residents affected${isKnown ? '' : ', as far as is known'} (164.406)`),
    !isKnown || affected >= manyResidents
      ? deadline('hhs', soon, isKnown ? `${manyResidents} or more affected: the Secretary together with the letters (164.408(b))` : `number not known yet: as for ${manyResidents} or more (164.408(b))`)
      : deadline('hhs', affected === 0 ? undefined : later(plusDays(`${discovered.slice(0, 4)}-12-31`, noticeDays), delayUntil), `fewer than ${manyResidents}: within ${noticeDays} days after the end of the calendar year (164.408(c))`),
  ];
}

/** A day so many days later. */
export function plusDays(day: string, days: number): string {
  return new Date(Date.parse(day) + days * dayMs).toISOString().slice(0, 10);
}

function later(one: string, other: string | undefined): string {
  return other !== undefined && other > one ? other : one;
}

const jurisdictions: Readonly<Record<string, string>> = {
  AL: 'Alabama', AK: 'Alaska', AZ: 'Arizona', AR: 'Arkansas', CA: 'California', CO: 'Colorado', CT: 'Connecticut', DE: 'Delaware', DC: 'District of Columbia', FL: 'Florida', GA: 'Georgia', HI: 'Hawaii', ID: 'Idaho',
  IL: 'Illinois', IN: 'Indiana', IA: 'Iowa', KS: 'Kansas', KY: 'Kentucky', LA: 'Louisiana', ME: 'Maine', MD: 'Maryland', MA: 'Massachusetts', MI: 'Michigan', MN: 'Minnesota', MS: 'Mississippi', MO: 'Missouri',
  MT: 'Montana', NE: 'Nebraska', NV: 'Nevada', NH: 'New Hampshire', NJ: 'New Jersey', NM: 'New Mexico', NY: 'New York', NC: 'North Carolina', ND: 'North Dakota', OH: 'Ohio', OK: 'Oklahoma', OR: 'Oregon',
  PA: 'Pennsylvania', RI: 'Rhode Island', SC: 'South Carolina', SD: 'South Dakota', TN: 'Tennessee', TX: 'Texas', UT: 'Utah', VT: 'Vermont', VA: 'Virginia', WA: 'Washington', WV: 'West Virginia', WI: 'Wisconsin',
  WY: 'Wyoming', AS: 'American Samoa', GU: 'Guam', MP: 'Northern Mariana Islands', PR: 'Puerto Rico', VI: 'Virgin Islands',
};
const codes = new Map(Object.entries(jurisdictions).flatMap(([code, name]) => [[code, code], [name.toUpperCase(), code]]));

/** Where nothing is known of a residence, and where it is not in the United States. */
export const unknownState = 'unknown';
export const outside = 'outside the US';

export function isJurisdiction(state: string): boolean {
  return Object.hasOwn(jurisdictions, state);
}

/** Code of the state or territory that an address lies in (https://pe.usps.com/text/pub28/28apb.htm), {@link outside} or {@link unknownState}. */
export function stateOf(address: { readonly state?: string; readonly country?: string } | undefined): string {
  const country = address?.country?.trim().toUpperCase().replaceAll('.', '') ?? '';
  const territory = territories.has(codes.get(country) ?? '') ? codes.get(country) : undefined;
  if (country !== '' && territory === undefined && !unitedStates.has(country)) return outside;
  return territory ?? codes.get(address?.state?.trim().toUpperCase() ?? '') ?? unknownState;
}

const unitedStates = new Set(['US', 'USA', 'UNITED STATES', 'UNITED STATES OF AMERICA']);
/** Those that have a country code of their own, too; CA and DE as countries are Canada and Germany. */
const territories = new Set(['AS', 'GU', 'MP', 'PR', 'VI']);
