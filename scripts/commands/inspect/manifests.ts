import { parseAllDocuments } from 'yaml';
import { renderEcho } from '../../render/manifests.ts';
import type { Deps } from '../deps.ts';
import { type PlanOptions, planFromSpec } from '../up/load-plan.ts';

/** `lab manifests`: the echo workloads of lab.yaml, as labup applies them; there need not be a lab. */
export async function labManifests(
  deps: Pick<Deps, 'cwd' | 'env' | 'host' | 'say'>,
  options: PlanOptions,
): Promise<{ readonly lab: string; readonly yaml: string; readonly objects: readonly unknown[] }> {
  const { plan } = await planFromSpec(deps, options);
  const yaml = renderEcho(plan);
  return { lab: plan.lab, yaml, objects: parseAllDocuments(yaml).map((each) => each.toJS()) };
}
