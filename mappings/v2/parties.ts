import { compact, type Element } from '../engine/elements.ts';
import { referenceTo } from '../engine/planner.ts';
import type { V2Context } from './context.ts';
import { addressOf, authorityOfEi, contactPointOf, fromRules, identifierOf, identifierOfCx, personName } from './datatypes.ts';
import type { V2Part } from './message.ts';
import { systemOf } from './systems.ts';

/** Readable form of a HumanName, for Reference.display. */
export function nameText(name: Element | undefined): string {
  const list = (member: unknown): string[] => (Array.isArray(member) ? member.filter((one): one is string => typeof one === 'string') : []);
  if (name === undefined) return '';
  return [...list(name.prefix), ...list(name.given), typeof name.family === 'string' ? name.family : '', ...list(name.suffix)].filter((part) => part !== '').join(' ');
}

const matchOf = (identifier: Element): { system: string; value: string }[] => [{ system: String(identifier.system), value: String(identifier.value) }];

/**
 * XCN → reference to a Practitioner, known by its identifier. A person without identifier becomes a display text: making a
 * new Practitioner of every mention would fill the record with twins.
 */
export function practitionerOf(part: V2Part, context: V2Context, path: string): Element | undefined {
  const name = fromRules(personName, part, context, path);
  const display = nameText(name);
  const type = part.at(13).text || (part.at(9).at(1).text.toUpperCase() === 'NPI' ? 'NPI' : '');
  const identifier = identifierOf(part.at(1).text, systemOf(context.systems, part.at(9), 'practitioner', type), type);
  if (identifier === undefined) return display === '' ? undefined : { display };
  const match = matchOf(identifier);
  const key = context.planner.add(context.planner.key('practitioner'), {
    resource: { resourceType: 'Practitioner', identifier: [identifier], name: name === undefined ? undefined : [name] },
    mode: 'keep',
    match,
  });
  return { ...referenceTo(key), ...(display === '' ? {} : { display }) };
}

const physicalType = (code: string, display: string): Element => ({ coding: [{ system: 'http://terminology.hl7.org/CodeSystem/location-physical-type', code, display }] });

/** PL → reference to a Location. One Location per most specific place; its parts are in its name and identifier. */
export function locationOf(part: V2Part, context: V2Context): Element | undefined {
  const [poc = '', room = '', bed = '', , , , building = '', floor = ''] = [1, 2, 3, 4, 5, 6, 7, 8].map((n) => part.at(n).text);
  const facility = part.at(4).at(1).text || part.at(4).at(2).text;
  const description = part.at(9).text;
  const places = [facility, building, floor, poc, room, bed].filter((text) => text !== '');
  const name = [...places].reverse().join(', ') || description;
  if (name === '') return undefined;
  if (places.length === 0) return { display: name };
  const comprehensive = part.at(10);
  const system = comprehensive.at(1).text === ''
    ? `urn:interlock:location:${encodeURIComponent(context.systems.channelId)}:${encodeURIComponent(facility || context.systems.facility)}`
    : systemOf(context.systems, authorityOfEi(comprehensive), 'location');
  // The empty places stay in the value: room 1 of ward A is not bed 1 of ward A.
  const value = comprehensive.at(1).text || [building, floor, poc, room, bed].map((text) => encodeURIComponent(text)).join('/');
  const type = bed !== '' ? physicalType('bd', 'Bed') : room !== '' ? physicalType('ro', 'Room') : poc === '' && building === '' && floor === '' ? physicalType('si', 'Site') : undefined;
  const key = context.planner.add(context.planner.key('location'), {
    resource: { resourceType: 'Location', identifier: [{ system, value }], name, description, mode: 'instance', physicalType: type },
    mode: 'keep',
    match: [{ system, value }],
  });
  return { ...referenceTo(key), display: name };
}

/** XON → reference to an Organization, known by its identifier; without one, a display text. */
export function organizationOf(part: V2Part, context: V2Context): Element | undefined {
  const name = part.at(1).text;
  const type = part.at(7).text;
  const identifier = identifierOf(part.at(10).text || part.at(3).text, systemOf(context.systems, part.at(6), 'organization', type), type);
  if (identifier === undefined) return name === '' ? undefined : { display: name };
  const key = context.planner.add(context.planner.key('organization'), { resource: { resourceType: 'Organization', identifier: [identifier], name }, mode: 'keep', match: matchOf(identifier) });
  return { ...referenceTo(key), ...(name === '' ? {} : { display: name }) };
}

/** The insurer of IN1: company id, name, address and phone together make one Organization. */
export function insurerOf(id: V2Part | undefined, name: V2Part | undefined, address: V2Part | undefined, phone: V2Part | undefined, context: V2Context): Element | undefined {
  const title = name?.at(1).text ?? '';
  const identifier = id === undefined ? undefined : identifierOfCx(id, context, 'payor');
  if (identifier === undefined) return title === '' ? undefined : { display: title };
  const key = context.planner.add(context.planner.key('organization'), {
    resource: {
      resourceType: 'Organization',
      identifier: [identifier],
      name: title,
      address: address === undefined ? undefined : compact([addressOf(address, context, 'IN1-5')]),
      telecom: phone === undefined ? undefined : compact([contactPointOf(phone, context, 'IN1-7')]),
    },
    mode: 'keep',
    match: matchOf(identifier),
  });
  return { ...referenceTo(key), ...(title === '' ? {} : { display: title }) };
}
