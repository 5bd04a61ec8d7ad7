/** Codes of HL7 table 0357 (message error condition codes) that this side answers with. */
export const errorConditions = {
  '100': 'Segment sequence error',
  '101': 'Required field missing',
  '102': 'Data type error',
  '103': 'Table value not found',
  '200': 'Unsupported message type',
  '201': 'Unsupported event code',
  '202': 'Unsupported processing id',
  '203': 'Unsupported version id',
  '207': 'Application internal error',
} as const;

export type ErrorCondition = keyof typeof errorConditions;

/** Where in a message an error lies (data type ERL): positions only, never content. All numbers count from 1. */
export interface ErrorLocation {
  readonly segment: string;
  /** Which occurrence of the segment. */
  readonly sequence?: number;
  readonly field?: number;
  readonly repetition?: number;
  readonly component?: number;
}

/** A message that cannot be accepted, in the terms of an HL7v2 acknowledgement. Its text holds positions, never values. */
export class V2Error extends Error {
  override readonly name = 'V2Error';
  readonly condition: ErrorCondition;
  readonly location: ErrorLocation | undefined;

  /** @param detail safe addition to the condition's text: positions and names of our own, never a value from the message */
  constructor(condition: ErrorCondition, location?: ErrorLocation, detail?: string) {
    const where = location === undefined ? '' : ` at ${location.segment}${location.field === undefined ? '' : `-${location.field}`}`;
    super(`${errorConditions[condition]}${where}${detail === undefined ? '' : `: ${detail}`}`);
    this.condition = condition;
    this.location = location;
  }

  /** AR when the kind of message can never be accepted, AE when its content is at fault (HL7 v2.5.1 section 2.9.2.2). */
  get ackCode(): 'AE' | 'AR' {
    return this.condition.startsWith('20') && this.condition !== '207' ? 'AR' : 'AE';
  }
}
