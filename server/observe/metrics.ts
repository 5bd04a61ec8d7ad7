import { collectDefaultMetrics, Counter, Gauge, Histogram, Registry } from 'prom-client';

/** What a gauge reads when it is scraped. */
export type GaugeSource = () => number | Promise<number>;

/** The process's metrics, for Prometheus. Labels hold routes, codes and channel ids: never anything of a request. */
export class Metrics {
  readonly #registry = new Registry();
  readonly #requests: Counter<'route' | 'status'>;
  readonly #durations: Histogram<'route'>;

  constructor() {
    collectDefaultMetrics({ register: this.#registry });
    this.#requests = new Counter({ name: 'interlock_http_requests_total', help: 'Answers by route and HTTP status.', labelNames: ['route', 'status'], registers: [this.#registry] });
    this.#durations = new Histogram({
      name: 'interlock_http_request_duration_seconds',
      help: 'Time from request to answer, its audit entry included.',
      labelNames: ['route'],
      buckets: [0.002, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 5, 30],
      registers: [this.#registry],
    });
  }

  /** Counts an answer. */
  answered(route: string, status: number, durationMs: number): void {
    this.#requests.inc({ route, status: String(status) });
    this.#durations.observe({ route }, durationMs / 1000);
  }

  /** Adds a value that is read on each scrape. */
  gauge(name: string, help: string, source: GaugeSource): void {
    const gauge: Gauge = new Gauge({
      name,
      help,
      registers: [this.#registry],
      collect: async () => gauge.set(await source()),
    });
  }

  /** Everything, in the text format of Prometheus. */
  async text(): Promise<{ contentType: string; body: string }> {
    return { contentType: this.#registry.contentType, body: await this.#registry.metrics() };
  }
}
