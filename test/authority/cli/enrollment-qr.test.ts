/** QR codes of enrollment codes: another program reads from them what the agent takes. */
import { readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { inflateSync } from 'node:zlib';
import { initDataDir } from '@latchkey/authority';
import {
  formatEnrollmentUri,
  newEnrollmentCode,
  parseEnrollmentText,
  parseIssuer,
  systemClock,
} from '@latchkey/shared';
import decodeQr from 'qr/decode.js';
import { expect, test } from 'vitest';
import { runCli } from '../../helpers/cli.ts';
import { createDrivenClock } from '../../helpers/driven-clock.ts';
import { freePort, temporaryDir } from '../../helpers/processes.ts';
import { openTestAuthority } from '../../helpers/test-authority.ts';

const SCALE = 4;

/** What a camera would read; `rows` tells for each module whether it is light. */
function read(rows: readonly (readonly boolean[])[]): string {
  const [width, height] = [(rows[0]?.length ?? 0) * SCALE, rows.length * SCALE];
  const data = new Uint8ClampedArray(width * height * 4);
  for (let y = 0; y < height; y += 1) {
    for (let x = 0; x < width; x += 1) {
      const isLight = rows[Math.floor(y / SCALE)]?.[Math.floor(x / SCALE)] === true;
      const at = (y * width + x) * 4;
      data.fill(isLight ? 255 : 0, at, at + 3);
      data[at + 3] = 255;
    }
  }
  return decodeQr({ width, height, data });
}

function rowsOfText(text: string): boolean[][] {
  const lines = text.split('\n').map((line) => [...line]);
  return lines.flatMap((line) => [
    line.map((character) => '\u2588\u2580'.includes(character)),
    line.map((character) => '\u2588\u2584'.includes(character)),
  ]);
}

/** Of a PNG with one bit for each pixel and no filter. */
function rowsOfPng(png: Buffer): boolean[][] {
  const [width, height] = [png.readUInt32BE(16), png.readUInt32BE(20)];
  const at = png.indexOf('IDAT');
  const bytes = inflateSync(png.subarray(at + 4, at + 4 + png.readUInt32BE(at - 4)));
  const stride = 1 + Math.ceil(width / 8);
  const isDark = (x: number, y: number) =>
    ((bytes[y * stride + 1 + (x >> 3)] as number) & (128 >> (x & 7))) !== 0;
  return Array.from({ length: height }, (_, y) =>
    Array.from({ length: width }, (_, x) => !isDark(x, y)),
  );
}

test('in the terminal within 80 columns, and as a PNG that only the operator reads', async () => {
  const port = await freePort();
  const dir = temporaryDir();
  const dataDir = join(dir, 'authority');
  const clock = createDrivenClock(systemClock.now());
  const issuer = parseIssuer(`http://127.0.0.1:${port}`);
  await initDataDir({ dataDir, issuer, clock });
  const authority = await openTestAuthority({ dataDir, clock });
  await authority.authority.listen({ host: '127.0.0.1', port });
  const png = join(dir, 'code.png');
  const create = ['enrollment', 'create', '--data-dir', dataDir, '--png', png];

  const { exitCode, stdout } = await runCli([...create, '--qr'], { clock });
  const [code = '', ...lines] = stdout.trimEnd().split('\n');
  expect([exitCode, lines.every((line) => [...line].length <= 80)]).toEqual([0, true]);
  const uri = formatEnrollmentUri({ issuer, code });
  expect(read(rowsOfText(lines.join('\n')))).toBe(uri);
  expect(read(rowsOfPng(readFileSync(png)))).toBe(uri);
  expect(statSync(png).mode & 0o777).toBe(0o600);
  expect(parseEnrollmentText(uri, issuer)).toBe(code);

  // A file that is there is left alone, and no code is made that nobody would see.
  writeFileSync(png, 'mine');
  const before = authority.dump();
  expect(await runCli(create, { clock })).toMatchObject({ exitCode: 2, stdout: '' });
  expect([readFileSync(png, 'utf8'), authority.dump()]).toEqual(['mine', before]);
});

const ISSUER = parseIssuer('https://id.example');
const CODE = newEnrollmentCode();

test.each([
  { name: 'a code alone', text: CODE },
  { name: 'the URI of a code', text: formatEnrollmentUri({ issuer: ISSUER, code: CODE }) },
])('$name is read', ({ text }) => {
  expect(parseEnrollmentText(text, ISSUER)).toBe(CODE);
});

test.each([
  {
    name: 'of another authority',
    text: formatEnrollmentUri({ issuer: parseIssuer('https://evil.example'), code: CODE }),
  },
  { name: 'without an authority', text: `latchkey:enroll?code=${CODE}` },
  { name: 'without a code', text: 'latchkey:enroll?issuer=https%3A%2F%2Fid.example' },
  { name: 'of another kind', text: `latchkey:other?issuer=https%3A%2F%2Fid.example&code=${CODE}` },
  { name: 'that says nothing', text: '' },
])('a text $name is refused, and not repeated', ({ text }) => {
  const refusal = expect.objectContaining({ name: 'FormatError', field: 'enrollment code' });
  expect(() => parseEnrollmentText(text, ISSUER)).toThrow(refusal);
  expect(() => parseEnrollmentText(text, ISSUER)).not.toThrow(CODE);
});
