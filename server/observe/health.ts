import express, { type Router } from 'express';
import type { Metrics } from './metrics.ts';

/** A part whose state decides whether requests can be served. Throws, or answers false, if it is not ready. */
export interface ReadinessCheck {
  readonly name: string;
  readonly check: () => boolean | Promise<boolean>;
}

/** A check that takes longer counts as failed. */
const checkTimeoutMs = 2_000;

/**
 * `/healthz` (the process lives), `/readyz` (it can serve: 200, or 503 with the names of the parts that cannot) and
 * `/metrics` (from the loopback interface only).
 */
export function healthRouter(checks: readonly ReadinessCheck[], metrics: Metrics): Router {
  const router = express.Router();
  router.get('/healthz', (_request, response) => {
    response.json({ status: 'ok' });
  });
  router.get('/readyz', async (_request, response) => {
    const results = await Promise.all(checks.map(async ({ name, check }) => ({ name, ready: await inTime(check) })));
    const failing = results.filter(({ ready }) => !ready).map(({ name }) => name);
    response.status(failing.length === 0 ? 200 : 503).json(failing.length === 0 ? { status: 'ready' } : { status: 'not ready', failing });
  });
  router.get('/metrics', async (request, response) => {
    if (!/^(?:::ffff:)?127\.|^::1$/.test(request.socket.remoteAddress ?? '')) {
      response.status(403).end();
      return;
    }
    const { contentType, body } = await metrics.text();
    response.set('Content-Type', contentType).send(body);
  });
  return router;
}

async function inTime(check: ReadinessCheck['check']): Promise<boolean> {
  let timer: NodeJS.Timeout | undefined;
  const late = new Promise<boolean>((resolve) => {
    timer = setTimeout(() => resolve(false), checkTimeoutMs);
  });
  try {
    return await Promise.race([late, Promise.resolve(check()).catch(() => false)]);
  } catch {
    return false;
  } finally {
    clearTimeout(timer);
  }
}
