/** Values that are made at the first question. */
export class Memo<T> {
  readonly #known = new Map<string, T>();

  get(key: string, make: () => T): T {
    const before = this.#known.get(key);
    if (before !== undefined) return before;
    const value = make();
    this.#known.set(key, value);
    return value;
  }
}
