/** An OpenSSH ed25519 key pair: the private key in OpenSSH's own format, the public key as one line. */
export interface KeyPair {
  readonly privateKey: string;
  readonly publicKey: string;
}

/** The secrets of one lab: random, made once, kept in .lab/<name>/ with mode 0600, never in argv, logs or reports. */
export interface Secrets {
  /** The key that the lab logs in with. */
  readonly clientKey: KeyPair;
  /** SSH host key per machine name, made by us so that it can be pinned before the first connection. */
  readonly hostKeys: Readonly<Record<string, KeyPair>>;
  /** TCP MD5 password of the eBGP sessions; at most 80 characters. */
  readonly bgpPassword: string;
  /** kubeadm bootstrap token, "6 characters.16 characters" of [a-z0-9]. */
  readonly joinToken: string;
  /** k3s: what servers and agents join with; random, each for its own role. */
  readonly serverToken: string;
  readonly agentToken: string;
}
