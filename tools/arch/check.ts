import { readFileSync, readdirSync } from 'node:fs';
import { dirname, join, relative, resolve, sep } from 'node:path';
import { type Import, importsOf } from './imports.ts';
import type { ArchTable } from './table.ts';

/** Checks every TypeScript file below `root` (a src folder) against the table; returns one line per violation. */
export function checkArchitecture(root: string, table: ArchTable): readonly string[] {
  const violations: string[] = [];
  for (const file of sourceFiles(root)) {
    const folder = folderOf(root, file);
    const name = relative(root, file);
    if (folder === undefined && table.entries[name] === undefined) {
      violations.push(`${name}: files directly in src/ must be named in the table`);
      continue;
    }
    if (folder !== undefined && tierOf(table, folder) === undefined && table.typesOnly[folder] === undefined) {
      violations.push(`${name}: the folder ${folder}/ is not in the table`);
      continue;
    }
    for (const each of importsOf(file, readFileSync(file, 'utf8'))) {
      const why = judge(root, file, folder, each, table);
      if (why !== undefined) violations.push(`${name}:${each.line}: ${why}`);
    }
  }
  return violations;
}

function sourceFiles(root: string): readonly string[] {
  return readdirSync(root, { recursive: true, encoding: 'utf8' })
    .filter((name) => /\.[cm]?tsx?$/.test(name))
    .sort()
    .map((name) => join(root, name));
}

/** The first folder below src/, or undefined for a file directly in it. */
function folderOf(root: string, file: string): string | undefined {
  const parts = relative(root, file).split(sep);
  return parts.length > 1 ? parts[0] : undefined;
}

function tierOf(table: ArchTable, folder: string): number | undefined {
  const tier = table.tiers.findIndex((folders) => folders.includes(folder));
  return tier === -1 ? undefined : tier;
}

function judge(
  root: string,
  file: string,
  from: string | undefined,
  each: Import,
  table: ArchTable,
): string | undefined {
  if (!each.specifier.startsWith('.')) {
    const impure =
      from !== undefined && table.pure.includes(from) && !each.typeOnly && table.ioModules.includes(each.specifier);
    return impure ? `${from}/ is free of I/O and may not load ${each.specifier}` : undefined;
  }
  const target = resolve(dirname(file), each.specifier);
  if (relative(root, target).startsWith('..')) return `src/ may not reach outside itself (${each.specifier})`;
  const to = folderOf(root, target);
  if (from === undefined) {
    const never = table.entries[relative(root, file)]?.never ?? [];
    return to !== undefined && never.includes(to) ? `an entry file may not reach ${to}/` : undefined;
  }
  if (to === from) return undefined;
  if (to === undefined) return `nothing in src/ may import the entry file ${relative(root, target)}`;
  return judgeFolders(from, to, each, table);
}

function judgeFolders(from: string, to: string, each: Import, table: ArchTable): string | undefined {
  const seen = table.typesOnly[from];
  if (seen !== undefined) {
    return seen.includes(to) && each.typeOnly
      ? undefined
      : `${from}/ may import only types, and only of: ${seen.join(', ')}`;
  }
  const fromTier = tierOf(table, from);
  const toTier = tierOf(table, to);
  if (fromTier === undefined || toTier === undefined) return `the folder ${to}/ is not in a tier`;
  if (toTier < fromTier) return undefined;
  if (toTier > fromTier) return `${from}/ may not import upward from ${to}/`;
  if (each.typeOnly || table.sideways.some((pair) => pair.from === from && pair.to === to)) return undefined;
  return `${from}/ may import only types from ${to}/, which is on the same tier`;
}
