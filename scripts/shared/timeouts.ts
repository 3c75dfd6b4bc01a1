/** On machines that run the lab at full speed. */
const FULL_SPEED = {
  daemonReady: 60_000,
  machineSsh: 60_000,
  cloudInit: 120_000,
  containerd: 30_000,
  /** k3s imports all container images before it says that it is up. */
  k3s: 600_000,
  apiServer: 120_000,
  nodesReady: 120_000,
  /** Its first start, which emulated machines have taken minutes for. */
  controllerManager: 300_000,
  /** Manifests, once the controller manager runs. */
  apply: 30_000,
  podsReady: 120_000,
  /** From the CNI being applied to its own word that it works: images are there, but many pods start. */
  cni: 300_000,
  bgpEstablished: 60_000,
  command: 60_000,
  /** kubectl's own, for one answer of the API server. */
  request: 20_000,
  provision: 300_000,
};

/** Every wait of the lab, in milliseconds, for machines as slow as this lab's. A timeout always fails; nothing ever just sleeps. */
export const TIMEOUTS: Readonly<typeof FULL_SPEED> = { ...FULL_SPEED };

/** Makes every wait that many times as long from now on (lab.yaml: timeouts.scale): of this lab's machines, for one command. */
export function scaleTimeouts(factor = 1): void {
  const scaled = Object.entries(FULL_SPEED).map(([name, ms]) => [name, ms * factor]);
  Object.assign(TIMEOUTS, Object.fromEntries(scaled));
}

/** How often a named condition is looked at again, in milliseconds. */
export const POLL_MS = 100;
