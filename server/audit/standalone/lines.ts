const maxLineBytes = 64 * 2 ** 20;

/** Lines of a stream of bytes; what follows the last line feed is one, too. @throws Error if a line is longer than any of an export */
export async function* linesOf(chunks: AsyncIterable<Buffer>): AsyncGenerator<string> {
  let parts: Buffer[] = [];
  let bytes = 0;
  for await (const chunk of chunks) {
    let from = 0;
    for (let end = chunk.indexOf(10); end >= 0; end = chunk.indexOf(10, from)) {
      yield Buffer.concat([...parts, chunk.subarray(from, end)]).toString();
      [parts, bytes] = [[], 0];
      from = end + 1;
    }
    if (from < chunk.length) parts.push(chunk.subarray(from));
    bytes += chunk.length - from;
    if (bytes > maxLineBytes) throw new Error('This is no export: a line is too long.');
  }
  if (bytes > 0) yield Buffer.concat(parts).toString();
}
