// Requests on their way from the gateway to its replicas: a curve for each, as thick and as fast as its share of the requests.

import { attribute, keyed, svg } from './dom.js';

const WIDTH = 120;
const MOST = 40;

/** A drawing to the left of the rows of the fleet. */
export class Flow {
  element = svg('svg', { class: 'flow', 'aria-hidden': 'true', focusable: 'false' });
  #lines = svg('g', {});
  #gate = svg('g', { class: 'gate' });

  constructor() {
    this.#gate.append(svg('circle', { r: 15 }), svg('path', { d: 'M-7 0h4m0 0c4 0 3-5 9-5M-3 0h9M-3 0c4 0 3 5 9 5' }));
    this.element.append(this.#lines, this.#gate);
  }

  /** `targets`: `[{name, y, requests_per_s, state}]`, `y` in pixels from the top of the drawing. */
  update(targets, height) {
    this.element.toggleAttribute('hidden', targets.length > MOST || !targets.length);
    if (targets.length > MOST || !targets.length) return;
    attribute(this.element, 'viewBox', `0 0 ${WIDTH} ${Math.max(1, height)}`);
    attribute(this.element, 'height', height);
    const from = height / 2;
    attribute(this.#gate, 'transform', `translate(17 ${from})`);
    const busiest = Math.max(1e-9, ...targets.map((each) => each.requests_per_s || 0));
    keyed(
      this.#lines,
      targets,
      (each) => each.name,
      create,
      (group, each) => {
        const share = (each.requests_per_s || 0) / busiest;
        const way = `M32 ${from}C${WIDTH * 0.62} ${from} ${WIDTH * 0.55} ${each.y} ${WIDTH} ${each.y}`;
        const [bed, stream] = group.children;
        attribute(bed, 'd', way);
        attribute(stream, 'd', way);
        attribute(group, 'class', `${each.state} ${share ? 'flowing' : ''}`);
        bed.style.strokeWidth = stream.style.strokeWidth = `${(1 + 4 * Math.sqrt(share)).toFixed(1)}px`;
        const steps = Math.ceil(share * 4); // so that a small change does not start the animation again
        stream.style.animationDuration = `${(4.2 - steps * 0.8).toFixed(1)}s`;
      },
    );
  }
}

function create() {
  return svg('g', {}, svg('path', { class: 'bed' }), svg('path', { class: 'stream' }));
}
