import { pino, type Logger } from 'pino';

/** What may stand in a log line: names, counts, codes, durations. Never anything that came with a request or a message. */
export type LogFields = Readonly<Record<string, string | number | boolean>>;

/** The only way to log. */
export interface Log {
  debug(event: string, fields?: LogFields): void;
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
}

/**
 * The fields that may be logged. A field that is not listed is dropped, so that a careless line cannot carry content;
 * the drop itself is visible as `droppedFields`.
 */
const allowed = new Set([
  'address', 'attempt', 'bytes', 'channel', 'code', 'count', 'database', 'durationMs', 'epoch', 'errorCode', 'errorName', 'field', 'interaction', 'kekId',
  'messageType', 'method', 'next', 'partner', 'path', 'pid', 'port', 'purpose', 'reason', 'requestId', 'resourceType', 'retry', 'route', 'serial', 'signal', 'state', 'status', 'step', 'url', 'version',
]);

/** Request ids that cannot carry content: UUIDs and trace ids. Others, which callers chose, are in the sealed audit trail only. */
const plainRequestId = /^(?:[0-9a-f]{32}|[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12})$/i;

/** Makes the process's log: JSON lines on standard error. */
export function createLog(level: string): Log {
  const logger: Logger = pino({ level, base: null, timestamp: pino.stdTimeFunctions.isoTime }, pino.destination({ dest: 2, sync: false }));
  const write = (method: 'debug' | 'info' | 'warn' | 'error') => (event: string, fields: LogFields = {}) => {
    const kept: Record<string, string | number | boolean> = {};
    let dropped = 0;
    for (const [name, value] of Object.entries(fields)) {
      if (!allowed.has(name) || (name === 'requestId' && !plainRequestId.test(String(value)))) dropped += 1;
      else kept[name] = typeof value === 'string' ? value.slice(0, 200) : value;
    }
    if (dropped > 0) kept['droppedFields'] = dropped;
    logger[method](kept, event);
  };
  return { debug: write('debug'), info: write('info'), warn: write('warn'), error: write('error') };
}

/** A log that says nothing, for tests. */
export const silentLog: Log = { debug: () => undefined, info: () => undefined, warn: () => undefined, error: () => undefined };
