// Asks again and again, one request at a time: not while the page is hidden, and less and less often while nobody answers.

const MOST_S = 30;

/**
 * Calls `work` every `everyS` seconds.
 *
 * The next call is planned when the last one has ended, so calls never pile up. After a failure the pause doubles, up to
 * half a minute. `onChange` hears of every failure and of the first success after one: `{error, since, nextAt}` in
 * milliseconds since 1970, or null.
 */
export class Poller {
  #timer = 0;
  #running = false;
  #failures = 0;
  #since = 0;
  #stopped = true;

  constructor(work, everyS, onChange = () => {}) {
    this.work = work;
    this.everyS = everyS;
    this.onChange = onChange;
    document.addEventListener('visibilitychange', () => (document.hidden ? clearTimeout(this.#timer) : this.now()));
  }

  start() {
    this.#stopped = false;
    this.now();
  }

  stop() {
    this.#stopped = true;
    clearTimeout(this.#timer);
  }

  /** Asks at once, unless an answer is under way. */
  async now() {
    clearTimeout(this.#timer);
    if (this.#running || this.#stopped || document.hidden) return;
    this.#running = true;
    try {
      await this.work();
      if (this.#failures) this.onChange(null);
      this.#failures = 0;
    } catch (error) {
      this.#failures += 1;
      if (this.#failures === 1) this.#since = Date.now();
      this.onChange({ error, since: this.#since, nextAt: Date.now() + this.#pauseS() * 1000 });
    } finally {
      this.#running = false;
      if (!this.#stopped && !document.hidden) this.#timer = setTimeout(() => this.now(), this.#pauseS() * 1000);
    }
  }

  #pauseS() {
    return Math.min(MOST_S, this.everyS * 2 ** Math.min(this.#failures, 6));
  }
}
