/** Settings of the client and the daemon; nobody sets one. */
export const DEFAULTS: Readonly<Record<string, string>> = {
  'client.primary-name': 'primary',
  'local.bridged-network': '',
  'local.driver': 'qemu',
  'local.image.mirror': '',
  'local.passphrase': '',
  'local.privileged-mounts': 'true',
};
