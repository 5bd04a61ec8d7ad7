import https from 'node:https';
import type { AddressInfo } from 'node:net';
import { createAuthority, issueCertificate } from '../../server/pki/certificate.ts';

/** A website of apps, on an origin of its own. */
export interface AppSite {
  /** `https://localhost:PORT` */
  readonly origin: string;
  close(): Promise<void>;
}

/** Serves texts by their paths, over TLS: those of `.js` as scripts, all others as HTML. Its certificate is nobody's. */
export async function startAppSite(files: Readonly<Record<string, string>>): Promise<AppSite> {
  const { certificatePem, keyPem } = issueCertificate(createAuthority({ commonName: 'Apps', validDays: 1 }), { commonName: 'localhost', hosts: ['localhost'], usages: ['server'], validDays: 1 });
  const server = https.createServer({ cert: certificatePem, key: keyPem }, (request, response) => {
    const { pathname } = new URL(request.url!, 'https://localhost');
    response.setHeader('Content-Type', pathname.endsWith('.js') ? 'text/javascript' : 'text/html').statusCode = pathname in files ? 200 : 404;
    response.end(files[pathname]);
  });
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return {
    origin: `https://localhost:${(server.address() as AddressInfo).port}`,
    async close() {
      server.closeAllConnections();
      await new Promise((resolve) => server.close(resolve));
    },
  };
}
