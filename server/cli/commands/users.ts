import type { Enrolment } from '../../auth/people.ts';
import { assertSeparateDuties } from '../../access/roles.ts';
import { flag, text, texts, type Command, type CommandResult } from '../command.ts';

/** People who may sign in. */
export const userCommands: readonly Command[] = [
  {
    name: 'user add',
    summary: 'add a person; prints the id and the otpauth URL for an authenticator app',
    options: [
      { flags: '--username <name>', description: 'what the person signs in with', required: true },
      { flags: '--role <role>', description: 'physician, nurse, pharmacist, billing, patient, auditor, integration-admin, security-admin, or a role of INTERLOCK_ROLES_FILE', required: true },
      { flags: '--patient <id>', description: 'id of the Patient that the person is' },
      { flags: '--related-person <id>', description: 'id of the RelatedPerson that the person is, who acts for patients' },
      { flags: '--proxy-for <id>', description: 'id of a further Patient whose record the person may open; may be given several times', repeats: true },
      { flags: '--practitioner <id>', description: 'id of the Practitioner that the person is' },
      { flags: '--password-stdin', description: 'read the password from standard input; else one is made and shown once' },
      { flags: '--totp-secret <base32>', description: 'use this TOTP secret instead of a new one' },
    ],
    run: async ({ people }, input) => {
      assertSeparateDuties(input.operator, text(input, 'username')!, text(input, 'role')!);
      const [patientId, practitionerId, totpSecret] = [text(input, 'patient'), text(input, 'practitioner'), text(input, 'totpSecret')];
      const enrolment = await people.addUser({
        username: text(input, 'username')!,
        role: text(input, 'role')!,
        ...(text(input, 'relatedPerson') === undefined ? {} : { relatedPersonId: text(input, 'relatedPerson')! }),
        ...(texts(input, 'proxyFor').length === 0 ? {} : { proxyFor: texts(input, 'proxyFor') }),
        ...(patientId === undefined ? {} : { patientId }),
        ...(practitionerId === undefined ? {} : { practitionerId }),
        ...(totpSecret === undefined ? {} : { totpSecret }),
        ...(flag(input, 'passwordStdin') ? { password: input.stdin ?? '' } : {}),
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
    name: 'user unlock',
    summary: 'lift the lock after failed sign-ins, or a disabling',
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
];

function enrolled({ id, otpauthUrl, password }: Enrolment): CommandResult {
  const lines = [`user id   ${id}`, ...(password === undefined ? [] : [`password  ${password}`]), `otpauth   ${otpauthUrl}`, 'This is shown this once.'];
  return { lines, json: { id, otpauth_url: otpauthUrl, ...(password === undefined ? {} : { password }) } };
}
