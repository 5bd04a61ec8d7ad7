import { InterlockError } from '../../../resources/outcome/error.ts';
import { emergencyBanner } from '../../access/break-glass.ts';
import type { Operation } from './operation.ts';
import type { OperationInput } from './parameters.ts';
import { parametersResponse } from './terminology.ts';

const patientParameter = { name: 'patient', type: 'Reference', isRequired: true, documentation: 'The patient whose record is needed.' } as const;

/** Gives the caller one patient's record in an emergency: docs/interactions/break-glass.md. */
export const breakGlass: Operation = {
  name: 'break-glass',
  definition: 'urn:interlock:operation:break-glass',
  summary: 'Access to one patient\'s record in an emergency, for a while',
  levels: ['system'],
  types: [],
  affectsState: true,
  parameters: [
    patientParameter,
    { name: 'reason', type: 'string', isRequired: true, documentation: 'Why; kept sealed, for the review.' },
    { name: 'purpose', type: 'code', isRequired: true, documentation: 'BTG or ETREAT.' },
    { name: 'minutes', type: 'positiveInt', documentation: 'At most 60, which is the default.' },
  ],
  async run({ services, context }, input) {
    if (services.breakGlass === undefined) throw new InterlockError('interaction-unsupported');
    const begun = await services.breakGlass.begin(context, { patient: patientOf(input), reason: input.text('reason')!, purpose: input.text('purpose')!, minutes: input.count('minutes') ?? 60 });
    return parametersResponse([{ name: 'id', valueString: begun.id }, { name: 'until', valueInstant: new Date(begun.untilMs).toISOString() }, { name: 'banner', valueString: emergencyBanner }]);
  },
};

/** Ends it before its time. */
export const breakGlassEnd: Operation = {
  name: 'break-glass-end',
  definition: 'urn:interlock:operation:break-glass-end',
  summary: 'Ends access in an emergency',
  levels: ['system'],
  types: [],
  affectsState: true,
  parameters: [patientParameter],
  async run({ services, context }, input) {
    if (services.breakGlass === undefined) throw new InterlockError('interaction-unsupported');
    return parametersResponse([{ name: 'ended', valueInteger: await services.breakGlass.end(context, patientOf(input)) }]);
  },
};

function patientOf(input: OperationInput): string {
  const { reference } = (input.object('patient') ?? {}) as { readonly reference?: unknown };
  const id = typeof reference === 'string' ? /^Patient\/([A-Za-z0-9\-.]{1,64})$/.exec(reference)?.[1] : undefined;
  if (id === undefined) throw new InterlockError('request-invalid', { detail: 'Parameter patient must refer to a Patient of this server.' });
  return id;
}
