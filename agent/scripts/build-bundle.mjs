/**
 * Makes the package that a device installs: the whole program as one file, which needs nothing but
 * better-sqlite3 (a native addon) beside it. `npm run bundle -w agent`, or with another folder as argument.
 *
 * One file and not chunks: `run` loads nearly all of it, and each further file costs a look-up on an SD
 * card. What the configuration does not use is in the file but does not run: lazy imports stay lazy, and as
 * CommonJS so do those of Node and of the addon, which an ES module would load before its first line.
 *
 * Units   none.
 * Errors  those of esbuild, on stderr; exit code 1.
 *
 * @module
 */
import { chmod, copyFile, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { join, relative, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { build } from 'esbuild';

const AGENT = fileURLToPath(new URL('..', import.meta.url));
const ROOT = resolve(AGENT, '..');
const PROGRAM = 'latchkey-agent.cjs';
const NATIVE = 'better-sqlite3';

/** The version is written into the program, since no package.json need be near it. */
const knownVersion = (version) => ({
  name: 'known-version',
  setup: ({ onLoad }) =>
    onLoad({ filter: /agent\/src\/version\.ts$/ }, () => ({
      contents: `export const version = () => ${JSON.stringify(version)};`,
    })),
});

/** Folder of each package whose code went into the bundle. */
function packagesOf({ inputs }) {
  const folders = Object.keys(inputs).flatMap(
    (path) => /^.*node_modules\/(?:@[^/]+\/)?[^/]+/.exec(path) ?? [],
  );
  return [...new Set(folders)].sort();
}

/** Licenses ask to be handed on with the code. */
async function licenseText(folder) {
  const [file] = (await readdir(folder)).filter((name) => /^licen[cs]e/i.test(name)).sort();
  const { name, version, license } = JSON.parse(
    await readFile(join(folder, 'package.json'), 'utf8'),
  );
  const text = file === undefined ? '' : await readFile(join(folder, file), 'utf8');
  return `${name} ${version} (${license})\n\n${text.trim()}\n`;
}

async function main(outDir) {
  const manifest = JSON.parse(await readFile(join(AGENT, 'package.json'), 'utf8'));
  const { version, license, engines, dependencies } = manifest;
  await mkdir(outDir, { recursive: true });
  const { metafile } = await build({
    absWorkingDir: ROOT,
    entryPoints: [join(AGENT, 'src/main.ts')],
    outfile: join(outDir, PROGRAM),
    bundle: true,
    platform: 'node',
    target: 'node20',
    format: 'cjs',
    minify: true,
    keepNames: true, // error names and stacks stay readable
    legalComments: 'none', // in their own file
    conditions: ['@latchkey/source'],
    // The last two speed up `ws` where they are installed; nobody installs them here.
    external: [NATIVE, 'bufferutil', 'utf-8-validate'],
    plugins: [knownVersion(version)],
    banner: { js: '#!/usr/bin/env node' },
    metafile: true,
  });
  await chmod(join(outDir, PROGRAM), 0o755);
  const licenses = await Promise.all(
    packagesOf(metafile).map((folder) => licenseText(join(ROOT, folder))),
  );
  await writeFile(
    join(outDir, 'THIRD-PARTY-LICENSES.txt'),
    licenses.join(`\n${'-'.repeat(80)}\n\n`),
  );
  const shipped = {
    name: 'latchkey-agent',
    ...{ version, description: manifest.description, license, engines },
    bin: { 'latchkey-agent': `./${PROGRAM}` },
    dependencies: { [NATIVE]: dependencies[NATIVE] },
  };
  await writeFile(join(outDir, 'package.json'), `${JSON.stringify(shipped, undefined, 2)}\n`);
  await copyFile(join(AGENT, 'agent.example.toml'), join(outDir, 'agent.example.toml'));
  const unit = 'latchkey-agent.service';
  await copyFile(join(AGENT, 'systemd', unit), join(outDir, unit));
  await copyFile(join(ROOT, 'LICENSE'), join(outDir, 'LICENSE'));
  const [{ bytes }] = Object.values(metafile.outputs);
  process.stdout.write(`${relative(process.cwd(), join(outDir, PROGRAM))}: ${bytes} bytes\n`);
}

await main(resolve(process.argv[2] ?? join(AGENT, 'bundle')));
