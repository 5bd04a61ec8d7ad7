import { html, page } from './pages.ts';
import type { People } from './people.ts';
import type { SessionEntry } from './sessions.ts';
import { passkeyButton, passwordFields } from './sign-in-pages.ts';

interface Form {
  readonly action: string;
  readonly csrf: string;
}

/** What the security page shows. */
export interface AccountFacts {
  readonly form: Form;
  readonly signOutUrl: string;
  readonly appsUrl: string;
  readonly username: string;
  readonly security: NonNullable<Awaited<ReturnType<People['security']>>>;
  readonly sessions: readonly SessionEntry[];
  /** The session of whoever looks. */
  readonly own: string;
  readonly problem?: string | undefined;
}

const methodNames: Readonly<Record<string, string>> = { pwd: 'password', otp: 'code', hwk: 'passkey', ext: 'hospital’s sign-on' };

/** The person's own page: password, second factors, recovery codes, sessions. */
export function accountPage({ form, signOutUrl, appsUrl, username, security, sessions, own, problem }: AccountFacts): string {
  const start = (step: string) => html`<input type="hidden" name="csrf" value="${form.csrf}"><input type="hidden" name="step" value="${step}">`;
  return page(
    'Security settings',
    html`<p>You are signed in as <strong>${username}</strong>.</p>
<p class="links"><a href="${appsUrl}">Apps with access</a> <a href="${signOutUrl}">Sign out</a></p>
${problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`}
<h2>Authenticator app</h2>
<form method="post" action="${form.action}">${start('totp-start')}
<p>${security.hasTotp ? 'Set up.' : 'Not set up.'}</p><button class="quiet">${security.hasTotp ? 'Replace it' : 'Set it up'}</button></form>
<h2>Passkeys</h2>
${security.passkeys.length === 0 ? html`<p>None.</p>` : html`<ul class="apps">${security.passkeys.map((passkey) => html`<li><strong>${passkey.name}</strong><small>Added ${day(passkey.createdAtMs)}, ${passkey.usedAtMs === undefined ? 'not used yet' : `last used ${day(passkey.usedAtMs)}`}</small>
<form method="post" action="${form.action}">${start('passkey-remove')}<button name="id" value="${passkey.id}" class="quiet" aria-label="Remove passkey ${passkey.name}">Remove</button></form></li>`)}</ul>`}
<form method="post" action="${form.action}">${start('passkey-start')}<button class="quiet">Add a passkey</button></form>
<h2>Recovery codes</h2>
<form method="post" action="${form.action}">${start('codes')}
<p>${security.recoveryCodesLeft === 0 ? 'You have none.' : `${security.recoveryCodesLeft} left.`}${security.recoveryCodesLeft <= 3 && html` Make new ones, or losing your device locks you out.`}</p><button class="quiet">Make new recovery codes</button></form>
<h2>Sessions</h2>
<ul class="apps">${sessions.map((session) => html`<li><strong>${session.uid === own ? 'This session' : 'Another session'}</strong><small>Since ${time(session.since)}, by ${session.methods.flatMap((method) => methodNames[method] ?? []).join(' and ')}; ends ${time(session.until)} unless used</small>
${session.uid !== own && html`<form method="post" action="${form.action}">${start('session-end')}<button name="id" value="${session.uid}" class="quiet" aria-label="End the session since ${time(session.since)}">End</button></form>`}</li>`)}</ul>
${sessions.length > 1 && html`<form method="post" action="${form.action}">${start('session-end')}<button name="id" value="others" class="quiet">End all others</button></form>`}
${security.hasPassword && html`<h2>Password</h2>
<form method="post" action="${form.action}">${start('password')}
${passwordFields(username)}
<p><small>All other sessions end, and apps lose their access.</small></p>
<div class="buttons"><button>Change password</button></div></form>`}`,
  );
}

/** Names and makes a passkey. */
export function passkeyPage(form: Form, scriptUrl: string, options: object): string {
  return page(
    'Add a passkey',
    html`<p>A passkey is kept by your device, or by a security key that you plug in.</p>
<form method="post" action="${form.action}">
<input type="hidden" name="csrf" value="${form.csrf}"><input type="hidden" name="step" value="passkey">
<label for="name">Name, such as the device</label>
<input id="name" name="name" maxlength="64" required autofocus value="Passkey">
<div class="buttons">${passkeyButton('create', 'Make the passkey', options)}<button name="decision" value="cancel" class="quiet" formnovalidate>Cancel</button></div>
</form>
<script src="${scriptUrl}"></script>`,
  );
}

function day(atMs: number): string {
  return new Date(atMs).toISOString().slice(0, 10);
}

function time(date: Date): string {
  return `${date.toISOString().slice(0, 16).replace('T', ', ')} UTC`;
}
