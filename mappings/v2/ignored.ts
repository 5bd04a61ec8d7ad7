/**
 * Fields that carry nothing to map: set ids and other numbering within the message, and what the door itself handles.
 * They are not reported as unmapped.
 */
export const ignoredFields: Readonly<Record<string, readonly number[] | 'all'>> = {
  MSH: 'all', // read by the door: routing, acknowledgement, character set
  SFT: 'all', // the sending program's version
  EVN: [1, 2, 6], // event code (repeated from MSH-9) and its times
  PID: [1], NK1: [1], PV1: [1], AL1: [1], IAM: [1], DG1: [1], PR1: [1], IN1: [1], GT1: [1],
  OBX: [1, 2], OBR: [1], NTE: [1, 2, 4], TQ1: [1], SPM: [1], RXA: [1, 2],
};
