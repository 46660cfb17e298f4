// Bundles what comes from npm into dist/: run by scripts/web.sh. The control plane embeds the result.
import { build } from 'esbuild';
import { copyFile, mkdir, readFile, rm, writeFile } from 'node:fs/promises';

const at = (path) => new URL(path, import.meta.url);
await rm(at('dist'), { recursive: true, force: true });
await mkdir(at('dist'));

// htmx and the one extension we use, in one file.
const htmx = ['htmx.min.js', 'ext/hx-sse.min.js'];
const parts = await Promise.all(htmx.map((name) => readFile(at(`node_modules/htmx.org/dist/${name}`), 'utf8')));
const script = parts.map((part) => part.replace(/^\/\/# sourceMappingURL=.*$/m, '').trim()).join(';\n');
await writeFile(at('dist/htmx.js'), `/* htmx, 0BSD licence */\n${script}\n`);

await build({
  entryPoints: [at('js/editor.js').pathname],
  outfile: at('dist/editor.js').pathname,
  bundle: true,
  minify: true,
  format: 'iife',
  target: 'es2022',
  nodePaths: [at('node_modules').pathname],
  legalComments: 'inline',
  logLevel: 'warning',
});

// The sprite: the icons of icons.txt, and the mark.
const inside = (svg) => svg.slice(svg.indexOf('>', svg.indexOf('<svg')) + 1, svg.lastIndexOf('</svg>')).replace(/\s*\n\s*/g, '');
const names = (await readFile(at('icons.txt'), 'utf8')).split('\n').filter(Boolean);
const symbols = await Promise.all(names.map(async (name) => {
  const svg = await readFile(at(`node_modules/lucide-static/icons/${name}.svg`), 'utf8');
  return `<symbol id="${name}" viewBox="0 0 24 24">${inside(svg)}</symbol>`;
}));
const mark = `<symbol id="mark" viewBox="0 0 32 32">${inside(await readFile(at('mark.svg'), 'utf8'))}</symbol>`;
await writeFile(at('dist/icons.svg'), `<!-- Icons: Lucide, ISC licence. Mark: Sluice. -->\n<svg xmlns="http://www.w3.org/2000/svg">\n${[mark, ...symbols].join('\n')}\n</svg>\n`);

for (const family of ['geist', 'geist-mono']) {
  for (const subset of ['latin', 'latin-ext']) {
    const file = `${family}-${subset}`;
    await copyFile(at(`node_modules/@fontsource-variable/${family}/files/${file}-wght-normal.woff2`), at(`dist/${file}.woff2`));
  }
}

// What we pass on is under licences that ask to go with it. Packages of one licence text share it.
const inUse = ['htmx.org', 'lucide-static', '@fontsource-variable/geist', '@fontsource-variable/geist-mono'];
const lock = JSON.parse(await readFile(at('package-lock.json'), 'utf8'));
const ofEditor = Object.keys(lock.packages).map((path) => path.replace('node_modules/', ''))
  .filter((name) => /^(@codemirror|@lezer|@marijn)\/|^(crelt|style-mod|w3c-keyname)$/.test(name));
const texts = new Map();
for (const name of [...inUse, ...ofEditor]) {
  const text = (await readFile(at(`node_modules/${name}/LICENSE`), 'utf8')).trim();
  texts.set(text, [...(texts.get(text) ?? []), name]);
}
const licences = [...texts].map(([text, names]) => `${names.join(', ')}\n\n${text}\n`).join(`\n${'-'.repeat(72)}\n\n`);
await writeFile(at('dist/licences.txt'), licences);
