import type { Connection } from 'mongoose';
import type { Alerts } from '../alerts/alerts.ts';
import type { Config } from '../config/config.ts';
import { outboundTls } from '../delivery/outbound-tls.ts';
import type { Keyring } from '../kms/keyring.ts';
import type { Log } from '../observe/log.ts';
import type { Pki } from '../pki/pki.ts';
import { Feed } from './feed.ts';
import { fhirRepository, syslogRepository } from './repositories.ts';

export interface AtnaOptions {
  readonly config: Pick<Config, 'atnaSyslog' | 'atnaFhirUrl' | 'atnaFrom' | 'outboundCaFile' | 'outboundCertificate' | 'keysDir' | 'baseUrl'>;
  readonly app: Connection;
  readonly audit: Connection;
  readonly keyring: Keyring;
  readonly tenant: string;
  readonly pki: Pki;
  readonly log: Log;
  readonly alerts: Pick<Alerts, 'signal'>;
}

/** The feeds to audit repositories of others. */
export interface Atna {
  /** There are new entries in the trail. */
  notify(): void;
  status(): Promise<Awaited<ReturnType<Feed['status']>>[]>;
  close(): Promise<void>;
}

/** Starts to forward the trail as the configuration says. */
export function openAtna({ config, pki, alerts, ...parts }: AtnaOptions): Atna {
  const tls = outboundTls({ ca: [pki.caPem], ...(config.outboundCaFile === undefined ? {} : { caFile: config.outboundCaFile }), ...(config.outboundCertificate ? { clientCertificate: () => pki.issueServiceCertificate() } : {}) });
  const fhirBaseUrl = `${config.baseUrl}/fhir/R4`;
  const site = { baseUrl: fhirBaseUrl, site: new URL(config.baseUrl).host };
  const repositories = [
    ...(config.atnaSyslog === undefined ? [] : [syslogRepository({ address: config.atnaSyslog, tls })]),
    ...(config.atnaFhirUrl === undefined ? [] : [fhirRepository({ url: config.atnaFhirUrl, keysDir: config.keysDir, tls, fhirBaseUrl })]),
  ];
  const feeds = repositories.map((repository) => new Feed({ ...parts, repository, site, from: config.atnaFrom, onFault: (rule, what) => alerts.signal(rule, what) }));
  return {
    notify: () => feeds.forEach((feed) => feed.notify()),
    status: async () => Promise.all(feeds.map((feed) => feed.status())),
    close: async () => {
      await Promise.all(feeds.map((feed) => feed.close()));
    },
  };
}
