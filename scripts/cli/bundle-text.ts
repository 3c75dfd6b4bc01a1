import type { BundleManifest } from '../artifacts/bundle/manifest.ts';
import { colors } from './colors.ts';

/** What a bundle is, for `--json`: its description without the files, and how many they are. */
export function aboutBundle({ architecture, distribution, cni, versions, files }: BundleManifest) {
  return { architecture, distribution, cni, versions, files: files.length };
}

/** One line about a bundle and whether it is complete. */
export function bundleText(folder: string, manifest: BundleManifest, problems = 0): string {
  const { architecture, distribution, cni, versions, files } = manifest;
  const calico = versions.calico === undefined ? '' : ` ${versions.calico}`;
  const about = `${distribution} ${versions.kubernetes} with ${cni}${calico}, ${architecture}, ${files.length} files`;
  return problems === 0
    ? `${colors.green('ok')}  ${folder}: ${about}`
    : `${colors.red('broken')}  ${folder}: ${about}, ${problems} wrong`;
}
