/** The named parts of a multipart/form-data body, in order (RFC 7578); undefined where it is none. */
export function multipart(
  contentType: string,
  body: Buffer,
): readonly (readonly [string, Buffer])[] | undefined {
  const boundary = /boundary=(\S+)/.exec(contentType)?.[1];
  if (boundary === undefined) return undefined;
  const text = body.toString('latin1');
  const pieces = text.split(`--${boundary}`);
  if (pieces[0] !== '' || pieces.at(-1) !== '--\r\n') return undefined;
  return pieces.slice(1, -1).map((piece) => {
    const [head = '', ...rest] = piece.split('\r\n\r\n');
    const content = rest.join('\r\n\r\n').replace(/\r\n$/, '');
    return [/name="([^"]+)"/.exec(head)?.[1] ?? '', Buffer.from(content, 'latin1')] as const;
  });
}
