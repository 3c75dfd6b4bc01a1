/** Values that are made at the first question. */
export class Memo<T, K = string> {
  readonly #known = new Map<K, T>();

  get(key: K, make: () => T): T {
    const before = this.#known.get(key);
    if (before !== undefined) return before;
    const value = make();
    this.#known.set(key, value);
    return value;
  }
}
