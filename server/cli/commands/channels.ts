import { InterlockError } from '../../../resources/outcome/error.ts';
import { flag, text, type Command } from '../command.ts';

/** Channels, their messages and dead letters. */
export const channelCommands: readonly Command[] = [
  {
    name: 'channel list',
    summary: 'list the channels',
    run: async ({ channels }) => {
      const all = await channels.status();
      const rows = all.map((channel) => [channel.id, channel.door, channel.format, stateOf(channel), channel.address === undefined ? '' : `${channel.address.host}:${channel.address.port}`]);
      return { table: { columns: ['id', 'door', 'format', 'state', 'listens on'], rows }, json: all };
    },
  },
  {
    name: 'channel status',
    summary: 'how the channels fare: counts by state, age of the oldest waiting message, rates',
    args: ['[id]'],
    run: async ({ channels }, { args }) => {
      const all = await channels.status(args[0]);
      if (args[0] !== undefined && all.length === 0) throw noSuchChannel();
      const rows = all.map((channel) => {
        const { received, mapped, stored, delivered, failed } = channel.counts;
        const oldest = channel.oldestWaitingMs === undefined ? '' : `${(channel.oldestWaitingMs / 1000).toFixed(1)} s`;
        return [channel.id, stateOf(channel), received + mapped, stored + delivered, failed, oldest, channel.receivedLastMinute, channel.receivedLastHour].map(String);
      });
      return { table: { columns: ['id', 'state', 'waiting', 'stored', 'failed', 'oldest waiting', 'last minute', 'last hour'], rows }, json: all };
    },
  },
  pausing('channel pause', 'stop storing; messages are taken and acknowledged meanwhile, and wait', true),
  pausing('channel resume', 'store again', false),
  {
    name: 'channel dead-letters',
    summary: 'list the messages of a channel that failed, oldest first, 100 at a time',
    args: ['<id>'],
    options: [{ flags: '--after <message-id>', description: 'continue after this message' }],
    run: async ({ channels }, input) => {
      const all = await channels.deadLetters.list(input.args[0]!, text(input, 'after'));
      const rows = all.map((message) => [
        message.messageId, message.receivedAt.toISOString(), message.partner ?? '', message.messageType ?? '', message.acknowledged, message.failure?.code ?? '', String(message.attempts), message.holds ? 'holds' : '',
      ]);
      return { table: { columns: ['message', 'received', 'partner', 'type', 'acknowledged', 'failure', 'attempts', ''], rows }, json: all };
    },
  },
  {
    name: 'channel show',
    summary: 'open one message; recorded in the audit trail',
    args: ['<message-id>'],
    run: async ({ channels }, { args, operator }) => {
      const message = await channels.deadLetters.show(args[0]!, operator);
      if (message === undefined) throw new InterlockError('not-found', { detail: 'There is no such message.' });
      const { body, acknowledgement, ...facts } = message;
      const readable = (bytes: Buffer) => bytes.toString().replaceAll('\r', '\n').trimEnd();
      const rows = Object.entries(facts).map(([name, value]) => [name, value instanceof Date ? value.toISOString() : typeof value === 'object' ? JSON.stringify(value) : String(value)]);
      const lines = [...(body === undefined ? ['(content purged)'] : ['message', readable(body)]), '', 'acknowledgement', readable(acknowledgement)];
      return { table: { columns: ['field', 'value'], rows }, lines, json: { ...facts, ...(body === undefined ? {} : { body: body.toString('base64') }), acknowledgement: acknowledgement.toString('base64') } };
    },
  },
  {
    name: 'channel replay',
    summary: 'put a failed message, or all of a channel, back to work',
    args: ['[message-id]'],
    options: [
      { flags: '--all', description: 'every failed message of the channel' },
      { flags: '--channel <id>', description: 'the channel, with --all' },
    ],
    run: async ({ channels }, input, tell) => {
      const { deadLetters } = channels;
      if (!flag(input, 'all')) {
        if (input.args[0] === undefined) throw new InterlockError('request-invalid', { detail: 'Name a message, or give --all with --channel ID.' });
        const outcome = await deadLetters.replay(input.args[0], input.operator);
        return { lines: [outcome], json: { outcome }, failed: outcome !== 'replayed' };
      }
      const channel = text(input, 'channel');
      if (channel === undefined) throw new InterlockError('request-invalid', { detail: 'Name the channel: --all --channel ID.' });
      const outcomes = new Map<string, number>();
      let done = 0;
      for (let after: string | undefined; ; ) {
        const page = await deadLetters.list(channel, after);
        for (const { messageId } of page) {
          const outcome = await deadLetters.replay(messageId, input.operator);
          outcomes.set(outcome, (outcomes.get(outcome) ?? 0) + 1);
          tell((done += 1));
          after = messageId;
        }
        if (page.length === 0) break;
      }
      return { table: { columns: ['outcome', 'messages'], rows: [...outcomes].map(([outcome, count]) => [outcome, String(count)]) }, json: Object.fromEntries(outcomes) };
    },
  },
  {
    name: 'channel send',
    summary: 'hand a file to a channel as if a partner had sent it; prints the answer',
    args: ['<file>'],
    options: [{ flags: '--channel <id>', description: 'the channel', required: true }],
    run: async ({ channels }, input) => {
      const channelId = text(input, 'channel')!;
      if (!channels.definitions.some(({ id }) => id === channelId)) throw noSuchChannel();
      const bytes = Buffer.from(input.files['arg0'] ?? '', 'base64');
      const answers: { kind: string; messageId: string; answer: string }[] = [];
      for (const message of channels.split(channelId, bytes)) {
        const { kind, messageId, ack } = await channels.ingest(channelId, { name: input.operator, fingerprint: '', address: 'command line' }, message, { contentType: contentTypeOf(input.args[0] ?? '') });
        answers.push({ kind, messageId, answer: ack.toString() });
      }
      const lines = answers.flatMap(({ answer }) => answer.replaceAll('\r', '\n').trimEnd().split('\n'));
      return { table: { columns: ['outcome', 'message'], rows: answers.map(({ kind, messageId }) => [kind, messageId]) }, lines, json: answers, failed: answers.some(({ kind }) => kind === 'refused' || kind === 'busy') };
    },
  },
];

function pausing(name: string, summary: string, paused: boolean): Command {
  return {
    name,
    summary,
    args: ['<id>'],
    run: async ({ channels }, { args, operator }) => {
      if (!(await channels.setPaused(args[0]!, paused, operator))) throw noSuchChannel();
      return { lines: [paused ? 'paused' : 'resumed'], json: { id: args[0], paused } };
    },
  };
}

function stateOf({ enabled, paused }: { enabled: boolean; paused: boolean }): string {
  return !enabled ? 'off' : paused ? 'paused' : 'running';
}

function noSuchChannel(): InterlockError {
  return new InterlockError('not-found', { detail: 'There is no such channel; see `interlock channel list`.' });
}

/** By the ending of a file's name, as web servers do. */
function contentTypeOf(fileName: string): string {
  const types: Readonly<Record<string, string>> = { pdf: 'application/pdf', tif: 'image/tiff', tiff: 'image/tiff', xml: 'application/xml' };
  return types[fileName.split('.').pop()?.toLowerCase() ?? ''] ?? 'application/octet-stream';
}
