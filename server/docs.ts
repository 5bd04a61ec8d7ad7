import { createHash, randomBytes } from 'node:crypto';
import { join, dirname } from 'node:path';
import { fileURLToPath } from 'node:url';
import express, { type Router } from 'express';
import type { Auth } from './auth/auth.ts';
import { problemPage } from './auth/pages.ts';
import type { ClientInfo } from './auth/clients.ts';

const clientId = 'interlock-docs';

/** The documentation as a client of the authorization server: it wants to know that somebody is signed in, and nothing else. */
export function docsClient(baseUrl: string): ReadonlyMap<string, Pick<ClientInfo, 'name' | 'redirectUris' | 'scope'>> {
  return new Map([[clientId, { name: 'Interlock API documentation', redirectUris: [`${baseUrl}/docs/`], scope: 'openid' }]]);
}

/** Files of Swagger UI that its page loads. */
const packageFiles: ReadonlySet<string> = new Set(['swagger-ui.css', 'swagger-ui-bundle.js', 'index.css', 'favicon-32x32.png', 'oauth2-redirect.html', 'oauth2-redirect.js']);
const packageDir = dirname(fileURLToPath(import.meta.resolve('swagger-ui-dist/swagger-ui.css')));

const policy = "default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' data:; connect-src 'self'; frame-ancestors 'none'; base-uri 'none'; form-action 'none'";

const page = `<!doctype html>
<html lang="en">
<head>
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<meta name="robots" content="noindex">
<title>FHIR API – Interlock</title>
<link rel="stylesheet" href="swagger-ui.css">
<link rel="stylesheet" href="index.css">
<link rel="icon" type="image/png" href="favicon-32x32.png" sizes="32x32">
</head>
<body>
<div id="swagger-ui"></div>
<script src="swagger-ui-bundle.js"></script>
<script src="start.js"></script>
</body>
</html>
`;

function startScript(baseUrl: string): string {
  const settings = { url: `${baseUrl}/fhir/R4/openapi.json`, dom_id: '#swagger-ui', docExpansion: 'list', defaultModelsExpandDepth: 0, validatorUrl: null, oauth2RedirectUrl: `${baseUrl}/docs/oauth2-redirect.html` };
  const oauth = { usePkceWithAuthorizationCodeGrant: true, additionalQueryStringParams: { aud: `${baseUrl}/fhir/R4` } };
  return `const dark = matchMedia('(prefers-color-scheme: dark)');
const follow = () => document.documentElement.classList.toggle('dark-mode', dark.matches);
dark.addEventListener('change', follow);
follow();
SwaggerUIBundle(${JSON.stringify(settings)}).initOAuth(${JSON.stringify(oauth)});
`;
}

/**
 * Swagger UI on the OpenAPI document, for whoever is signed in with both factors; others are sent to sign in. Who tries requests out
 * there does so with a token of a registered client, under that token's scopes.
 */
export function docsRouter({ auth, baseUrl }: { readonly auth: Auth; readonly baseUrl: string }): Router {
  const router = express.Router();
  const script = startScript(baseUrl);
  router.use(async (request, response, next) => {
    response.set({ 'Content-Security-Policy': policy, 'Cache-Control': 'no-store' });
    // The window in which a token is asked for has to find this one again.
    response.removeHeader('Cross-Origin-Opener-Policy');
    const isReturn = request.query['code'] !== undefined || request.query['error'] !== undefined;
    if ((await auth.signedIn(request, response)) !== undefined) {
      // The session is all that was wanted: the code is never redeemed, and nobody else can.
      if (isReturn) response.redirect(303, `${baseUrl}/docs/`);
      else next();
    } else if (isReturn) response.status(403).type('html').send(problemPage('Nobody is signed in', 'Start again, and allow cookies of this server.', undefined));
    else response.redirect(303, signInUrl(baseUrl));
  });
  router.get('/', (request, response) => {
    if (request.originalUrl.startsWith('/docs/')) response.type('html').send(page);
    else response.redirect(301, `${baseUrl}/docs/`);
  });
  router.get('/start.js', (_request, response) => {
    response.type('js').send(script);
  });
  router.get('/:file', (request, response, next) => {
    const { file } = request.params;
    if (packageFiles.has(file)) response.sendFile(join(packageDir, file));
    else next();
  });
  return router;
}

function signInUrl(baseUrl: string): string {
  const challenge = createHash('sha256').update(randomBytes(32)).digest('base64url');
  const query = { client_id: clientId, response_type: 'code', scope: 'openid', redirect_uri: `${baseUrl}/docs/`, aud: `${baseUrl}/fhir/R4`, state: randomBytes(16).toString('base64url'), code_challenge: challenge, code_challenge_method: 'S256' };
  return `${baseUrl}/oauth2/authorize?${new URLSearchParams(query).toString()}`;
}
