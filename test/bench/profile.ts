import { setTimeout as pause } from 'node:timers/promises';
import type { TestServer } from '../support/server.ts';

/** A CPU profile as V8 gives it (https://chromedevtools.github.io/devtools-protocol/v8/Profiler/#type-Profile). */
interface CpuProfile {
  readonly nodes: readonly { readonly id: number; readonly callFrame: { readonly functionName: string; readonly url: string; readonly lineNumber: number } }[];
  readonly samples: readonly number[];
  readonly timeDeltas: readonly number[];
}

/** Where the time of a row went: shares of what the main thread was busy, largest first. */
export interface Shares {
  readonly busyMs: number;
  readonly parts: readonly { readonly part: string; readonly share: number }[];
  readonly functions: readonly { readonly name: string; readonly share: number }[];
}

/** Settings of a server that can be profiled while it runs. */
export const profiledEnv = { NODE_OPTIONS: '--inspect-port=127.0.0.1:0' } as const;

/** Takes CPU profiles of a server process through its inspector. */
export class Profiler {
  readonly #socket: WebSocket;
  readonly #waiting = new Map<number, (result: unknown) => void>();
  #sent = 0;

  private constructor(socket: WebSocket) {
    this.#socket = socket;
    socket.addEventListener('message', ({ data }) => {
      const { id, result } = JSON.parse(String(data)) as { id?: number; result?: unknown };
      if (id === undefined) return;
      this.#waiting.get(id)?.(result);
      this.#waiting.delete(id);
    });
  }

  /** Opens the inspector of a server that was started with {@link profiledEnv}. */
  static async attach(server: TestServer): Promise<Profiler> {
    process.kill(server.pid(), 'SIGUSR1');
    const urlOf = (): string | undefined => /ws:\/\/\S+/.exec(server.output())?.[0];
    while (urlOf() === undefined) await pause(50);
    const socket = new WebSocket(urlOf()!);
    await new Promise((resolve, reject) => {
      socket.addEventListener('open', resolve);
      socket.addEventListener('error', reject);
    });
    const profiler = new Profiler(socket);
    await profiler.#call('Profiler.enable');
    await profiler.#call('Profiler.setSamplingInterval', { interval: 500 });
    return profiler;
  }

  async start(): Promise<void> {
    await this.#call('Profiler.start');
  }

  async stop(): Promise<Shares> {
    return sharesOf(((await this.#call('Profiler.stop')) as { profile: CpuProfile }).profile);
  }

  close(): void {
    this.#socket.close();
  }

  async #call(method: string, params: object = {}): Promise<unknown> {
    const id = (this.#sent += 1);
    return new Promise((resolve) => {
      this.#waiting.set(id, resolve);
      this.#socket.send(JSON.stringify({ id, method, params }));
    });
  }
}

function sharesOf({ nodes, samples, timeDeltas }: CpuProfile): Shares {
  const frames = new Map(nodes.map(({ id, callFrame }) => [id, callFrame]));
  const [parts, functions] = [new Map<string, number>(), new Map<string, number>()];
  let busy = 0;
  for (const [index, sample] of samples.entries()) {
    const { functionName, url, lineNumber } = frames.get(sample)!;
    if (functionName === '(idle)') continue;
    const spent = timeDeltas[index] ?? 0;
    busy += spent;
    const part = partOf(functionName, url);
    parts.set(part, (parts.get(part) ?? 0) + spent);
    const name = `${functionName || '(anonymous)'} ${url.replace(/^.*\/(?=(?:server|resources|channels|node_modules)\/)/, '')}:${lineNumber + 1}`;
    functions.set(name, (functions.get(name) ?? 0) + spent);
  }
  const ranked = (of: ReadonlyMap<string, number>): [string, number][] => [...of].map(([name, us]): [string, number] => [name, us / busy]).sort((a, b) => b[1] - a[1]);
  return {
    busyMs: busy / 1000,
    parts: ranked(parts).map(([part, share]) => ({ part, share })),
    functions: ranked(functions).slice(0, 40).map(([name, share]) => ({ name, share })),
  };
}

/** A package, a part of Node.js, or a room of this server. */
function partOf(functionName: string, url: string): string {
  const dependency = /\/node_modules\/((?:@[^/]+\/)?[^/]+)\//.exec(url)?.[1];
  if (dependency !== undefined) return dependency;
  const room = /\/(server\/[^/]+|resources\/[^/]+|channels)\//.exec(url)?.[1];
  if (room !== undefined) return room;
  if (functionName === '(garbage collector)') return 'garbage collection';
  // System calls and other native work that belongs to no function.
  if (functionName === '(program)') return 'native code';
  if (/^node:(?:internal\/)?(?:crypto|tls|_tls)/.test(url)) return 'node: crypto and TLS';
  if (/^node:(?:internal\/)?_?http/.test(url)) return 'node: HTTP';
  return /^node:/.test(url) ? 'node: streams, buffers, timers' : url === '' ? 'native functions' : 'other';
}
