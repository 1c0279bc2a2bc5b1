// The newest decisions in order of their ids, and never more than so many: the page may stay open for days.

const SLACK = 500;

export class History {
  #oldestFirst = [];

  constructor(capacity) {
    this.capacity = capacity;
  }

  get length() {
    return Math.min(this.capacity, this.#oldestFirst.length);
  }

  get full() {
    return this.#oldestFirst.length >= this.capacity;
  }

  append(decision) {
    this.#oldestFirst.push(decision);
    if (this.#oldestFirst.length > this.capacity + SLACK) this.#oldestFirst.splice(0, SLACK);
  }

  /** Puts older ones in front; as many as there is room for. */
  prepend(oldestFirst) {
    const room = Math.max(0, this.capacity - this.#oldestFirst.length);
    this.#oldestFirst.unshift(...oldestFirst.slice(Math.max(0, oldestFirst.length - room)));
  }

  /** The newest one, or the one so many places before it. */
  newest(back = 0) {
    return this.#oldestFirst.at(-1 - back);
  }

  oldest() {
    return this.#oldestFirst[0];
  }

  /** Newest first. */
  *[Symbol.iterator]() {
    for (let back = 0; back < this.length; back += 1) yield this.newest(back);
  }

  clear() {
    this.#oldestFirst = [];
  }
}
