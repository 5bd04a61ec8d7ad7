import type { Notice } from './accounts.ts';
import { Html, html, page, type FormFacts } from './pages.ts';
import { qrPath } from './qr.ts';
import { otpauthUrl } from './second-factors.ts';

/** Name and path, under the issuer's, of the one script of these pages. */
export const passkeyScriptPath = '/passkey.js';

/** What the sign-in page offers besides password and code. */
export interface SignInOffer {
  readonly scriptUrl: string;
  /** Of {@link SecondFactors.passkeyRequest}. */
  readonly passkeyOptions: object;
  /** Name of the hospital's sign-on, if there is one. */
  readonly ssoName?: string | undefined;
}

type Form = Pick<FormFacts, 'action' | 'csrf'>;

const problemLine = (problem: string | undefined): Html | false => problem !== undefined && html`<p class="problem" role="alert">${problem}</p>`;
const csrfField = ({ csrf }: Form): Html => html`<input type="hidden" name="csrf" value="${csrf}">`;

/** A button that the script shows where the browser knows passkeys; and what it fills in. */
export function passkeyButton(kind: 'get' | 'create', label: string, options: object): Html {
  return html`<input type="hidden" name="passkey" value=""><button type="button" class="quiet" data-passkey="${kind}" data-options="${JSON.stringify(options)}" hidden>${label}</button><p class="problem" role="alert" hidden>${kind === 'get' ? 'No passkey was used. Try again, or sign in with your password and code.' : 'No passkey was made. Try again, or cancel.'}</p>`;
}

/** The sign-in page. `problem` stands above the form; it never says what was wrong. `username`: as typed before. */
export function signInPage(form: FormFacts, offer: SignInOffer, problem?: string, username = ''): string {
  return page(
    'Sign in',
    html`<p>to continue to <strong>${form.appName}</strong></p>
${problemLine(problem)}
<form method="post" action="${form.action}">
${csrfField(form)}
<label for="username">User name</label>
<input id="username" name="username" autocomplete="username webauthn" autocapitalize="none" spellcheck="false" maxlength="64" required value="${username}"${username === '' && html` autofocus`}>
<label for="password">Password</label>
<input id="password" name="password" type="password" autocomplete="current-password" maxlength="128" required${username !== '' && html` autofocus`}>
<label for="code">Code from your authenticator app</label>
<input id="code" name="code" class="code" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9 ]{6,8}" maxlength="8" aria-describedby="code-hint">
<small id="code-hint">Leave it empty at your very first sign-in.</small>
<details><summary>Use a recovery code instead</summary>
<label for="recovery">Recovery code</label>
<input id="recovery" name="recovery" autocomplete="off" autocapitalize="characters" spellcheck="false" maxlength="16">
</details>
<div class="buttons">
<button name="decision" value="sign-in">Sign in</button>
${passkeyButton('get', 'Use a passkey', offer.passkeyOptions)}
${offer.ssoName !== undefined && html`<button name="decision" value="sso" class="quiet" formnovalidate>Sign in with ${offer.ssoName}</button>`}
<button name="decision" value="cancel" class="quiet" formnovalidate>Cancel</button>
</div>
</form>
<script src="${offer.scriptUrl}"></script>`,
  );
}

/** Asks somebody whom the hospital's sign-on vouched for, without a second factor, for their own. */
export function secondFactorPage(form: Form, offer: SignInOffer, problem?: string): string {
  return page(
    'Second factor',
    html`<p>Your hospital’s sign-on did not say that you used a second factor. Use yours here.</p>
${problemLine(problem)}
<form method="post" action="${form.action}">
${csrfField(form)}<input type="hidden" name="step" value="second-factor">
<label for="code">Code from your authenticator app, or a recovery code</label>
<input id="code" name="code" autocomplete="one-time-code" maxlength="16" spellcheck="false" autofocus>
<div class="buttons"><button>Continue</button>${passkeyButton('get', 'Use a passkey', offer.passkeyOptions)}<button name="decision" value="cancel" class="quiet" formnovalidate>Cancel</button></div>
</form>
<script src="${offer.scriptUrl}"></script>`,
  );
}

/** Sets an authenticator app up: QR code, the same as text, and a code that shows that it works. */
export function totpSetUpPage(form: Form, step: string, username: string, secret: string, problem?: string): string {
  const { path, size } = qrPath(otpauthUrl(username.slice(0, 32), secret));
  return page(
    'Set up your second factor',
    html`<p>An authenticator app on your phone shows a new code every 30 seconds. Scan this with it, then type the code that it shows.</p>
${problemLine(problem)}
<svg class="qr" role="img" aria-label="QR code for the authenticator app" viewBox="0 0 ${String(size)} ${String(size)}" width="232" height="232" shape-rendering="crispEdges"><path fill="#fff" d="M0 0h${String(size)}v${String(size)}H0z"/><path fill="#000" d="${path}"/></svg>
<p>Cannot scan? Type this secret into the app: <code class="secret">${secret.replaceAll(/(.{4})(?=.)/g, '$1 ')}</code></p>
<form method="post" action="${form.action}">
${csrfField(form)}<input type="hidden" name="step" value="${step}">
<label for="code">Code from the app</label>
<input id="code" name="code" class="code" inputmode="numeric" autocomplete="one-time-code" pattern="[0-9 ]{6,8}" maxlength="8" required autofocus>
<div class="buttons"><button>Continue</button><button name="decision" value="cancel" class="quiet" formnovalidate>Cancel</button></div>
</form>`,
  );
}

/** Shows recovery codes, this once. */
export function recoveryCodesPage(form: Form, step: string, codes: readonly string[]): string {
  return page(
    'Your recovery codes',
    html`<p>Each of these stands in for your second factor once, should you lose it. Print them or write them down, and keep them where only you can get at them. They are not shown again, and earlier ones no longer count.</p>
<ul class="codes">${codes.map((code) => html`<li><code>${code}</code></li>`)}</ul>
<form method="post" action="${form.action}">
${csrfField(form)}<input type="hidden" name="step" value="${step}">
<div class="buttons"><button autofocus>I have saved them</button></div>
</form>`,
  );
}

/** The fields of a password change. `isFirst`: the page is about nothing else. */
export function passwordFields(username: string, isFirst = false): Html {
  return html`<input name="username" value="${username}" autocomplete="username" hidden>
<label for="current">Current password</label>
<input id="current" name="current" type="password" autocomplete="current-password" maxlength="128" required${isFirst && html` autofocus`}>
<label for="next">New password</label>
<input id="next" name="next" type="password" autocomplete="new-password" minlength="12" maxlength="128" required aria-describedby="rules">
<small id="rules">12 characters or more, with upper and lower case letters, a digit and a symbol; no common password, and not your user name.</small>
<label for="again">New password again</label>
<input id="again" name="again" type="password" autocomplete="new-password" minlength="12" maxlength="128" required>`;
}

/** Asks for a new password before anything else. */
export function newPasswordPage(form: Form, username: string, problem?: string): string {
  return page(
    'Choose a new password',
    html`<p>Your current password was given to you by somebody else. Choose one that only you know.</p>
${problemLine(problem)}
<form method="post" action="${form.action}">
${csrfField(form)}<input type="hidden" name="step" value="password">
${passwordFields(username, true)}
<div class="buttons"><button>Continue</button><button name="decision" value="cancel" class="quiet" formnovalidate>Cancel</button></div>
</form>`,
  );
}

const noticeTexts: Readonly<Record<Notice['kind'], string>> = {
  locked: 'Your account was locked after five failed sign-ins. If that was not you, tell your security office.',
  'password-reset': 'Your password was reset by your IT department.',
  'second-factor-reset': 'Your second factor was reset by your IT department. Passkeys and recovery codes from before no longer count.',
  'recovery-code-used': 'A recovery code was used to sign in. If that was not you, tell your security office.',
  'passkey-added': 'A passkey was added to your account. If that was not you, remove it and tell your security office.',
  'password-changed': 'Your password was changed, and all other sessions and apps were signed out. If that was not you, tell your security office.',
};

/** What happened since the last sign-in. */
export function noticesPage(form: Form, notices: readonly Notice[], recoveryCodesLeft: number | undefined): string {
  return page(
    'Before you go on',
    html`<ul class="notices">${notices.map(({ kind, atMs }) => html`<li>${noticeTexts[kind]}<small>${new Date(atMs).toISOString().slice(0, 16).replace('T', ', ')} UTC</small></li>`)}
${recoveryCodesLeft !== undefined && html`<li>${recoveryCodesLeft === 0 ? 'You have no recovery codes left.' : `You have ${recoveryCodesLeft} recovery ${recoveryCodesLeft === 1 ? 'code' : 'codes'} left.`} Make new ones on your security page.</li>`}</ul>
<form method="post" action="${form.action}">
${csrfField(form)}<input type="hidden" name="step" value="notices">
<div class="buttons"><button autofocus>Continue</button></div>
</form>`,
  );
}

/** Asks a browser for a passkey, or to make one, and submits what it answers with the form around the button. */
export const passkeyScript = `'use strict';
const bytes = (text) => Uint8Array.from(atob(text.replaceAll('-', '+').replaceAll('_', '/')), (letter) => letter.charCodeAt(0));
const text = (buffer) => btoa(String.fromCharCode(...new Uint8Array(buffer))).replaceAll('+', '-').replaceAll('/', '_').replaceAll('=', '');
const named = (list) => (list ?? []).map((one) => ({ ...one, id: bytes(one.id) }));
const run = async (kind, options) => {
  const publicKey = { ...options, challenge: bytes(options.challenge) };
  if (kind === 'create') {
    publicKey.user = { ...options.user, id: bytes(options.user.id) };
    publicKey.excludeCredentials = named(options.excludeCredentials);
    const made = await navigator.credentials.create({ publicKey });
    const { attestationObject, clientDataJSON } = made.response;
    return { id: made.id, rawId: text(made.rawId), type: made.type, clientExtensionResults: {}, response: { attestationObject: text(attestationObject), clientDataJSON: text(clientDataJSON), transports: made.response.getTransports?.() ?? [] } };
  }
  publicKey.allowCredentials = named(options.allowCredentials);
  const got = await navigator.credentials.get({ publicKey });
  const { authenticatorData, clientDataJSON, signature, userHandle } = got.response;
  return { id: got.id, rawId: text(got.rawId), type: got.type, clientExtensionResults: {}, response: { authenticatorData: text(authenticatorData), clientDataJSON: text(clientDataJSON), signature: text(signature), ...(userHandle === null ? {} : { userHandle: text(userHandle) }) } };
};
for (const button of document.querySelectorAll('button[data-passkey]')) {
  if (window.PublicKeyCredential === undefined) continue;
  button.hidden = false;
  button.addEventListener('click', async () => {
    const { form } = button;
    const options = JSON.parse(button.dataset.options);
    const first = form.querySelector('input[name=password]');
    if (first !== null) options.userVerification = first.value === '' ? 'required' : 'preferred';
    const problem = button.nextElementSibling;
    button.disabled = true;
    problem.hidden = true;
    try {
      form.elements.passkey.value = JSON.stringify(await run(button.dataset.passkey, options));
      form.submit();
    } catch {
      button.disabled = false;
      problem.hidden = false;
      button.focus();
    }
  });
}
`;
