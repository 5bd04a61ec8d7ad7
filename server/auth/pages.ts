import { hash } from 'node:crypto';
import type { KoaContextWithOIDC } from 'oidc-provider';
import { awaitsApproval } from './clients.ts';
import { style } from './style.ts';

/** A piece of HTML whose values are escaped. */
export class Html {
  readonly text: string;
  constructor(text: string) {
    this.text = text;
  }
}

type Piece = Html | string | false | undefined | readonly Html[];

const entities: Readonly<Record<string, string>> = { '&': '&amp;', '<': '&lt;', '>': '&gt;', '"': '&quot;', "'": '&#39;' };

/** Template tag: strings are escaped, pieces of HTML are not. */
export function html(parts: TemplateStringsArray, ...values: readonly Piece[]): Html {
  const render = (value: Piece): string => {
    if (value === false || value === undefined) return '';
    if (typeof value === 'string') return value.replace(/[&<>"']/g, (letter) => entities[letter]!);
    return value instanceof Html ? value.text : value.map((piece) => piece.text).join('');
  };
  return new Html(parts.reduce((text, part, index) => text + render(values[index - 1]) + part));
}

const styleSource = `'sha256-${hash('sha256', style, 'base64')}'`;

/**
 * Content-Security-Policy of what oidc-provider answers: the page of `response_mode=form_post` submits itself to the app
 * with a script whose hash the library adds.
 */
export const libraryPagePolicy = `default-src 'none'; style-src ${styleSource}; script-src 'none'; frame-ancestors 'none'; base-uri 'none'`;

/**
 * Content-Security-Policy of every page here: one stylesheet, known by its hash, and no script at all.
 *
 * @param formTarget where submitting the form ends besides here: browsers check the redirects that follow, too
 */
export function contentSecurityPolicy(formTarget?: string): string {
  const target = formTarget === undefined ? '' : ` ${formTarget}`;
  return `default-src 'none'; style-src ${styleSource}; form-action 'self'${target}; frame-ancestors 'none'; base-uri 'none'`;
}

/** A whole page. */
export function page(title: string, content: Html): string {
  return html`<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>${title} – Interlock</title>
<style>${new Html(style)}</style>
</head>
<body>
<header><p>Interlock</p></header>
<main>
<h1>${title}</h1>
${content}
</main>
</body>
</html>
`.text;
}

/** Facts that every form of an interaction carries. */
export interface FormFacts {
  readonly action: string;
  readonly csrf: string;
  readonly appName: string;
  /** Where its answers go: the host of its registered redirect URI, or a private-use scheme. */
  readonly appHost: string;
}

/** A page that says what went wrong, for people; never holds a value of the request. */
export function problemPage(title: string, text: string, requestId: string | undefined, appName?: string): string {
  return page(title, html`<p>${text}</p>${appName !== undefined && html`<p>Go back to <strong>${appName}</strong> and try again.</p>`}${requestId !== undefined && html`<p class="reference">Reference: <code>${requestId}</code></p>`}`);
}

const problems: Readonly<Record<string, string>> = {
  [awaitsApproval]: 'This app registered itself and has not been approved here yet. Ask whoever runs this server.',
  invalid_client: 'This app is not registered here, or it has been disabled.',
  invalid_redirect_uri: 'The app asked to be answered at an address that is not registered for it. Nothing was sent there.',
  server_error: 'Something went wrong here. The reference leads support to the cause.',
  temporarily_unavailable: 'The audit trail cannot be written at the moment, so nobody can be signed in. Try again soon.',
};

/** oidc-provider's hook for errors that cannot be sent to the app. */
export function sendError(ctx: KoaContextWithOIDC, out: { readonly error: string; readonly error_description?: string | undefined }): void {
  ctx.type = 'html';
  ctx.body = problemPage('This did not work', problems[out.error_description ?? ''] ?? problems[out.error] ?? 'The request of the app is not valid, or it is too old.', requestIdOf(ctx));
}

/** oidc-provider's hook for the question whether to sign out. @param form the form it demands, by id */
export function sendLogout(ctx: KoaContextWithOIDC, form: string): void {
  ctx.body = page(
    'Sign out?',
    html`<p>Apps that were given access only while you are signed in will lose it.</p>
${new Html(form)}
<div class="buttons">
<button form="op.logoutForm" name="logout" value="yes">Sign out</button>
<button form="op.logoutForm" class="quiet">Stay signed in</button>
</div>`,
  );
}

/** oidc-provider's hook for the page after signing out. */
export function sendLoggedOut(ctx: KoaContextWithOIDC): void {
  ctx.body = page('Done', html`<p>You can close this page.</p>`);
}

function requestIdOf(ctx: KoaContextWithOIDC): string | undefined {
  const id: unknown = ctx.state['requestId'];
  return typeof id === 'string' ? id : undefined;
}
