import type { Enrolment, NewPerson } from '../../auth/people.ts';
import { assertSeparateDuties } from '../../access/roles.ts';
import { flag, text, texts, type Command, type CommandInput, type CommandResult } from '../command.ts';

/** Who a person is in the record, and for whom they act. */
const identityOptions = [
  { flags: '--patient <id>', description: 'id of the Patient that the person is' },
  { flags: '--related-person <id>', description: 'id of the RelatedPerson that the person is, who acts for patients' },
  { flags: '--proxy-for <id>', description: 'id of a further Patient whose record the person may open; may be given several times', repeats: true },
  { flags: '--practitioner <id>', description: 'id of the Practitioner that the person is' },
] as const;

function identityOf(input: CommandInput): Pick<NewPerson, 'patientId' | 'relatedPersonId' | 'proxyFor' | 'practitionerId'> {
  const [patientId, relatedPersonId, practitionerId, proxyFor] = [text(input, 'patient'), text(input, 'relatedPerson'), text(input, 'practitioner'), texts(input, 'proxyFor')];
  return {
    ...(patientId === undefined ? {} : { patientId }),
    ...(relatedPersonId === undefined ? {} : { relatedPersonId }),
    ...(practitionerId === undefined ? {} : { practitionerId }),
    ...(proxyFor.length === 0 ? {} : { proxyFor }),
  };
}

/** People who may sign in. */
export const userCommands: readonly Command[] = [
  {
    name: 'user add',
    summary: 'add a person; prints the id and the otpauth URL for an authenticator app',
    options: [
      { flags: '--username <name>', description: 'what the person signs in with', required: true },
      { flags: '--role <role>', description: 'physician, nurse, pharmacist, billing, patient, auditor, integration-admin, security-admin, or a role of INTERLOCK_ROLES_FILE', required: true },
      ...identityOptions,
      { flags: '--password-stdin', description: 'read the password from standard input; else one is made and shown once' },
      { flags: '--totp-secret <base32>', description: 'use this TOTP secret instead of a new one' },
      { flags: '--set-up-later', description: 'the person chooses password and second factor at the first sign-in' },
    ],
    run: async ({ people }, input) => {
      assertSeparateDuties(input.operator, text(input, 'username')!, text(input, 'role')!);
      const totpSecret = text(input, 'totpSecret');
      const enrolment = await people.addUser({
        username: text(input, 'username')!,
        role: text(input, 'role')!,
        ...identityOf(input),
        ...(totpSecret === undefined ? {} : { totpSecret }),
        ...(flag(input, 'passwordStdin') ? { password: input.stdin ?? '' } : {}),
        ...(flag(input, 'setUpLater') ? { setUpLater: true } : {}),
      });
      return enrolled(enrolment);
    },
  },
  {
    name: 'user list',
    summary: 'list the people who may sign in',
    run: async ({ people }) => {
      const all = await people.list();
      const rows = all.map((person) => [person.id, person.username, person.role, person.disabled ? 'disabled' : person.locked ? 'locked' : 'active']);
      return { table: { columns: ['id', 'username', 'role', 'state'], rows }, json: all };
    },
  },
  {
    name: 'user disable',
    summary: "end all of a person's access at once",
    args: ['<username>'],
    run: async ({ people }, { args }) => {
      const { id } = await people.disable(args[0]!);
      return { lines: ['disabled'], json: { disabled: id } };
    },
  },
  {
    name: 'user enable',
    summary: 'lift a disabling; sessions and tokens from before stay ended',
    args: ['<username>'],
    run: async ({ people }, { args }) => {
      const { id } = await people.enable(args[0]!);
      return { lines: ['enabled'], json: { enabled: id } };
    },
  },
  {
    name: 'user unlock',
    summary: 'lift the lock after failed sign-ins',
    args: ['<username>'],
    run: async ({ people }, { args }) => {
      const { id } = await people.unlock(args[0]!);
      return { lines: ['unlocked'], json: { unlocked: id } };
    },
  },
  {
    name: 'user reset-mfa',
    summary: 'give a person a new second factor; the old one is void at once',
    args: ['<username>'],
    run: async ({ people }, { args }) => enrolled(await people.resetMfa(args[0]!)),
  },
  {
    name: 'user reset-password',
    summary: 'give a person a password that they must change at the next sign-in; ends all sessions and tokens',
    args: ['<username>'],
    options: [{ flags: '--password-stdin', description: 'read the password from standard input; else one is made and shown once' }],
    run: async ({ people }, input) => enrolled(await people.resetPassword(input.args[0]!, flag(input, 'passwordStdin') ? (input.stdin ?? '') : undefined)),
  },
  {
    name: 'user role',
    summary: 'give a person another role and place in the record; ends all sessions and tokens',
    args: ['<username>', '<role>'],
    options: [
      ...identityOptions,
    ],
    run: async ({ people }, input) => {
      const [username, role] = [input.args[0]!, input.args[1]!];
      assertSeparateDuties(input.operator, username, role);
      const { id } = await people.setRole(username, { role, ...identityOf(input) });
      return { lines: [`role ${role}`], json: { id, role } };
    },
  },
  {
    name: 'user sessions',
    summary: "list a person's sign-in sessions; with --end, end them all and every token",
    args: ['<username>'],
    options: [{ flags: '--end', description: 'end them' }],
    run: async ({ people }, input) => {
      if (flag(input, 'end')) {
        const { id } = await people.endSessions(input.args[0]!);
        return { lines: ['ended'], json: { ended: id } };
      }
      const sessions = await people.sessions(input.args[0]!);
      return { table: { columns: ['since', 'until', 'by'], rows: sessions.map(({ since, until, methods }) => [since.toISOString(), until.toISOString(), methods.join(' ')]) }, json: sessions };
    },
  },
];

function enrolled({ id, otpauthUrl, password }: Enrolment): CommandResult {
  const lines = [`user id   ${id}`, ...(password === undefined ? [] : [`password  ${password}`]), ...(otpauthUrl === undefined ? [] : [`otpauth   ${otpauthUrl}`]), 'This is shown this once.'];
  return { lines, json: { id, ...(otpauthUrl === undefined ? {} : { otpauth_url: otpauthUrl }), ...(password === undefined ? {} : { password }) } };
}
