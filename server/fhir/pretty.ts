/** JSON indented by two spaces (`_pretty`), everything else, such as the digits of numbers, as it is. @param json well-formed */
export function prettyJson(json: string): string {
  const pieces: string[] = [];
  let depth = 0;
  for (const [token] of json.matchAll(/"(?:[^"\\]|\\.)*"|[{}[\]:,]|[^\s"{}[\]:,]+/g)) {
    const line = () => `\n${'  '.repeat(depth)}`;
    if (token === '{' || token === '[') {
      depth += 1;
      pieces.push(token, line());
    } else if (token === '}' || token === ']') {
      depth -= 1;
      // Of nothing, on one line.
      const isEmpty = pieces.at(-2) === (token === '}' ? '{' : '[') && /^\n *$/.test(pieces.at(-1)!);
      if (isEmpty) pieces.pop();
      pieces.push(isEmpty ? token : line() + token);
    } else pieces.push(token === ',' ? `,${line()}` : token === ':' ? ': ' : token);
  }
  return pieces.join('');
}
