import type { Config } from '../config/config.ts';
import { outboundTls } from '../delivery/outbound-tls.ts';
import type { Target } from '../delivery/queue.ts';
import { webhookTarget } from '../delivery/webhook.ts';
import type { Pki } from '../pki/pki.ts';
import { Alerts, type AlertsOptions } from './alerts.ts';
import { blockOf, readNetworksFile } from './networks.ts';
import { syslogTarget } from './notices.ts';
import { readRulesFile, shippedRuleSet } from './rules-file.ts';

export interface OpenAlertsOptions extends Pick<AlertsOptions, 'app' | 'keyring' | 'audit' | 'reader' | 'log' | 'nowMs'> {
  readonly config: Pick<Config, 'alertRulesFile' | 'alertNetworksFile' | 'alertWebhookUrl' | 'alertSyslog' | 'outboundCaFile' | 'outboundCertificate' | 'keysDir' | 'zone' | 'baseUrl'>;
  readonly pki: Pki;
}

/** Opens alerts as the configuration says. @throws InterlockError `config-invalid` */
export async function openAlerts({ config, pki, ...parts }: OpenAlertsOptions): Promise<Alerts> {
  const tls = outboundTls({ ca: [pki.caPem], ...(config.outboundCaFile === undefined ? {} : { caFile: config.outboundCaFile }), ...(config.outboundCertificate ? { clientCertificate: () => pki.issueServiceCertificate() } : {}) });
  const targets: Target[] = [
    ...(config.alertWebhookUrl === undefined ? [] : [webhookTarget({ url: config.alertWebhookUrl, keysDir: config.keysDir, tls, nowMs: parts.nowMs })]),
    ...(config.alertSyslog === undefined ? [] : [syslogTarget({ address: config.alertSyslog, tls })]),
  ];
  return Alerts.open({
    ...parts, targets, zone: config.zone, pageUrl: `${config.baseUrl}/console/alerts`,
    ruleSet: config.alertRulesFile === undefined ? shippedRuleSet : readRulesFile(config.alertRulesFile),
    networkOf: config.alertNetworksFile === undefined ? blockOf : readNetworksFile(config.alertNetworksFile),
  });
}
