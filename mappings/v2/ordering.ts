import type { V2Message, V2Part } from './message.ts';
import { systemsOf, type V2Options } from './map.ts';
import { notPersons, systemOf } from './systems.ts';

/**
 * What a message must stay in order with: its patients, and for merges both sides. Also the visit and the orders where
 * there is no patient number, since those then tell messages apart.
 * @returns keys that are equal exactly when messages belong in one sequence; empty when order does not matter
 */
export function orderingKeysOf(message: V2Message, options: Pick<V2Options, 'channelId' | 'assigningAuthorities'>): string[] {
  const systems = systemsOf(message, { ...options, zone: 'UTC' });
  const key = (part: V2Part, kind: string, type = ''): string => {
    const code = part.at(5).text || type;
    return `${systemOf(systems, part.at(4), kind, code)}|${part.at(1).text}`;
  };
  const persons = (parts: readonly V2Part[]): string[] => parts.filter((part) => part.at(1).text !== '' && !notPersons.has(part.at(5).text)).map((part) => key(part, 'patient'));
  const patients = [...message.all('PID').flatMap((pid) => [2, 3, 4].flatMap((field) => persons(pid.field(field)))), ...message.all('MRG').flatMap((mrg) => [1, 4].flatMap((field) => persons(mrg.field(field))))];
  if (patients.length > 0) return [...new Set(patients)];
  return [...new Set(message.all('PV1').flatMap((pv1) => pv1.field(19)).filter((part) => part.at(1).text !== '').map((part) => key(part, 'visit', 'VN')))];
}
