// The line below the header: what keeps the page from being current, and what to do about it.

import { token } from './api.js';
import { h, put } from './dom.js';
import { clock, duration } from './format.js';

/** Shows a failure of the poller until it is over. `retry` asks at once. */
export class Banner {
  #failure = null;
  #timer = 0;
  #shown = '';

  constructor(element, retry) {
    this.element = element;
    this.retry = retry;
  }

  /** `{error, since, nextAt}` of the poller, or null. */
  show(failure) {
    this.#failure = failure;
    document.documentElement.toggleAttribute('data-stale', Boolean(failure));
    clearInterval(this.#timer);
    if (failure) this.#timer = setInterval(() => this.#tick(), 1000);
    this.#tick();
  }

  #tick() {
    const failure = this.#failure;
    const kind = failure ? (failure.error.kind ?? 'page') : '';
    this.element.hidden = !failure;
    if (kind !== this.#shown) this.#build(kind);
    this.#shown = kind;
    if (!failure || kind === 'token') return;
    const now = Date.now();
    const nextS = Math.max(0, Math.ceil((failure.nextAt - now) / 1000));
    const said = `Since ${clock(failure.since / 1000)} (${duration((now - failure.since) / 1000)}). `;
    this.element.querySelector('.since').textContent =
      `${said}${nextS ? `Next try in ${nextS} s.` : 'Trying…'} What you see is of before.`;
  }

  #build(kind) {
    if (!kind) return put(this.element);
    if (kind === 'token') return put(this.element, this.#tokenForm());
    const again = h('button', { type: 'button', onclick: this.retry }, 'Try now');
    return put(
      this.element,
      h('p', {}, h('b', {}, headline(kind, this.#failure.error)), ' ', h('span', { class: 'since' })),
      again,
    );
  }

  #tokenForm() {
    const field = h('input', {
      type: 'password',
      autocomplete: 'off',
      required: true,
      'aria-label': 'Token',
      placeholder: 'Token',
    });
    const wrong = token.get() ? 'This token is not accepted.' : 'This gateway asks for its operations token.';
    const submit = (event) => {
      event.preventDefault();
      token.set(field.value.trim());
      this.#shown = '';
      this.retry();
    };
    return h(
      'form',
      { onsubmit: submit },
      h('p', {}, h('b', {}, wrong), ' It stays in this tab only.'),
      field,
      h('button', {}, 'Continue'),
    );
  }
}

function headline(kind, error) {
  if (kind === 'network') return 'The gateway cannot be reached.';
  if (kind === 'gateway') return `Envoy answers, its processor does not: ${error.message}`;
  if (kind === 'answer') return `The gateway answers with an error: ${error.message}`;
  return `This page has a fault: ${error.message}`;
}
