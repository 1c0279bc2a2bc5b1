// Markdown as the project's documentation uses it, into elements: no HTML string is ever made, so nothing in a text can run.

import { h } from './dom.js';

/** `link(target)` -> `{href}` or null for something that cannot be shown here; `image(target)` -> a source or null. */
export function markdown(source, { link, image }) {
  const rules = { link, image, slugs: new Map() };
  return blocks(source.replaceAll('\r', '').split('\n'), rules);
}

const ITEM = /^(\s*)([-*+]|\d+[.)])\s+(.*)$/;
const FENCE = /^\s*(```+|~~~+)\s*(\S*)/;

function blocks(lines, rules) {
  const out = [];
  let at = 0;
  while (at < lines.length) {
    const line = lines[at];
    const rest = lines.slice(at);
    const [element, used] = block(line, rest, rules);
    if (element) out.push(element);
    at += used;
  }
  return out;
}

function block(line, rest, rules) {
  if (!line.trim()) return [null, 1];
  if (FENCE.test(line)) return fence(rest);
  if (/^#{1,6}\s/.test(line)) return [heading(line, rules), 1];
  if (/^( {4}|\t)/.test(line)) return indented(rest);
  if (/^\s*([-*_])(\s*\1){2,}\s*$/.test(line)) return [h('hr', {}), 1];
  if (line.startsWith('>')) return quote(rest, rules);
  if (ITEM.test(line)) return list(rest, rules);
  if (line.includes('|') && /^\s*\|?[\s:|-]+\|[\s:|-]*$/.test(rest[1] ?? '')) return table(rest, rules);
  return paragraph(rest, rules);
}

function heading(line, rules) {
  const [, marks, words] = /^(#+)\s+(.*?)\s*#*$/.exec(line);
  const element = h(`h${marks.length}`, {}, inline(words, rules));
  element.id = slug(element.textContent, rules.slugs);
  return element;
}

/** As GitHub makes them, so that links between the documents work in both places. */
function slug(words, taken) {
  const plain = words
    .toLowerCase()
    .replace(/[^\p{L}\p{N}\s_-]/gu, '')
    .trim()
    .replace(/\s/g, '-');
  const before = taken.get(plain) ?? 0;
  taken.set(plain, before + 1);
  return before ? `${plain}-${before}` : plain;
}

function fence(lines) {
  const [, marks, language] = FENCE.exec(lines[0]);
  const end = lines.findIndex((line, at) => at > 0 && line.trim().startsWith(marks));
  const last = end < 0 ? lines.length : end;
  return [code(lines.slice(1, last).join('\n'), language), last + 1];
}

function indented(lines) {
  let last = lines.findIndex((line) => line.trim() && !/^( {4}|\t)/.test(line));
  if (last < 0) last = lines.length;
  return [
    code(
      lines
        .slice(0, last)
        .map((line) => line.replace(/^( {4}|\t)/, ''))
        .join('\n')
        .trimEnd(),
    ),
    last,
  ];
}

const code = (content, language) =>
  h('pre', { tabindex: '0' }, h('code', { 'data-language': language || null }, content));

function quote(lines, rules) {
  let last = lines.findIndex((line) => !line.startsWith('>'));
  if (last < 0) last = lines.length;
  return [
    h(
      'blockquote',
      {},
      blocks(
        lines.slice(0, last).map((line) => line.replace(/^>\s?/, '')),
        rules,
      ),
    ),
    last,
  ];
}

function list(lines, rules) {
  const [, indent, mark] = ITEM.exec(lines[0]);
  const ordered = /\d/.test(mark);
  const items = [];
  let at = 0;
  while (at < lines.length) {
    const item = ITEM.exec(lines[at]);
    const depth = /^\s*/.exec(lines[at])[0].length;
    if (item && item[1].length === indent.length && /\d/.test(item[2]) === ordered) items.push([item[3]]);
    else if (!lines[at].trim()) {
      if (!/^\s{2,}\S/.test(lines[at + 1] ?? '') && !ITEM.test(lines[at + 1] ?? '')) break;
      items.at(-1).push('');
    } else if (depth > indent.length || !startsBlock(lines[at]))
      items.at(-1).push(lines[at].slice(Math.min(depth, indent.length + mark.length + 1)));
    else break;
    at += 1;
  }
  const content = (item) => {
    const made = blocks(item, rules);
    return made.length && made[0].tagName === 'P' ? [...made[0].childNodes, ...made.slice(1)] : made;
  };
  return [
    h(
      ordered ? 'ol' : 'ul',
      {},
      items.map((item) => h('li', {}, content(item))),
    ),
    at,
  ];
}

function table(lines, rules) {
  const cells = (line) =>
    line
      .trim()
      .replace(/^\||\|$/g, '')
      .split(/(?<!\\)\|/)
      .map((cell) => cell.trim().replaceAll('\\|', '|'));
  let last = lines.findIndex((line) => !line.includes('|'));
  if (last < 0) last = lines.length;
  const right = cells(lines[1]).map((rule) => rule.endsWith(':'));
  const row = (tag) => (line) =>
    h(
      'tr',
      {},
      cells(line).map((cell, place) => h(tag, { class: right[place] ? 'number' : null }, inline(cell, rules))),
    );
  const body = h('tbody', {}, lines.slice(2, last).map(row('td')));
  const head = cells(lines[0]).some(Boolean) ? h('thead', {}, row('th')(lines[0])) : null;
  return [
    h('div', { class: 'scroll', tabindex: '0', role: 'region', 'aria-label': 'Table' }, h('table', {}, head, body)),
    last,
  ];
}

function startsBlock(line) {
  return !line.trim() || FENCE.test(line) || /^#{1,6}\s/.test(line) || line.startsWith('>') || ITEM.test(line);
}

function paragraph(lines, rules) {
  let last = lines.findIndex((line, at) => at > 0 && startsBlock(line));
  if (last < 0) last = lines.length;
  return [
    h(
      'p',
      {},
      inline(
        lines
          .slice(0, last)
          .map((line) => line.trim())
          .join('\n'),
        rules,
      ),
    ),
    last,
  ];
}

const INLINE =
  /(`+)(.+?)\1(?!`)|!\[([^\]]*)\]\(([^)\s]+)[^)]*\)|\[((?:[^\][]|\[[^\]]*\]|`[^`]*`)+)\]\(([^)\s]+)[^)]*\)|\*\*(.+?)\*\*|(?<![\w*])[*_](?![\s*])(.+?)(?<![\s*])[*_](?!\w)|<(https?:\/\/[^>]+)>/s;

function inline(words, rules) {
  const out = [];
  let rest = words;
  for (let match = INLINE.exec(rest); match; match = INLINE.exec(rest)) {
    out.push(plain(rest.slice(0, match.index)), span(match, rules));
    rest = rest.slice(match.index + match[0].length);
  }
  return [...out, plain(rest)];
}

const plain = (words) => words.replace(/\\([\\`*_{}[\]()#+.!|<>-])/g, '$1');

function span([, ticks, literal, caption, picture, label, target, strong, emphasis, address], rules) {
  if (ticks) return h('code', {}, literal);
  if (picture) return figure(caption, rules.image(picture));
  if (label) return anchor(label, rules.link(target), rules);
  if (address) return anchor(address, rules.link(address), rules);
  return strong ? h('strong', {}, inline(strong, rules)) : h('em', {}, inline(emphasis, rules));
}

const figure = (caption, source) =>
  source ? h('img', { src: source, alt: caption, loading: 'lazy' }) : h('em', {}, caption);

function anchor(label, place, rules) {
  const content = inline(label, rules);
  return place ? h('a', { ...place }, content) : h('span', { class: 'elsewhere', title: 'In the repository' }, content);
}
