/**
 * A slow, plain model of MQTT topic matching, written from the text of the standard (MQTT 3.1.1 4.7)
 * and sharing nothing with the code under test.
 *
 * @module
 */

/** Every list of 1 to `maxLevels` levels over the alphabet, joined by `/`; never the empty string. */
export function allTopics(alphabet: readonly string[], maxLevels: number): readonly string[] {
  let longest: readonly string[][] = [[]];
  const topics: string[] = [];
  for (let levels = 1; levels <= maxLevels; levels += 1) {
    longest = longest.flatMap((begin) => alphabet.map((level) => [...begin, level]));
    topics.push(...longest.map((parts) => parts.join('/')));
  }
  return topics.filter((topic) => topic !== '');
}

/** Every filter of at most `maxLevels` levels over the alphabet, `+`, and `#` as the last level. */
export function allFilters(alphabet: readonly string[], maxLevels: number): readonly string[] {
  const withoutHash = allTopics([...alphabet, '+'], maxLevels);
  const parents = allTopics([...alphabet, '+'], maxLevels - 1);
  // '' is no topic, yet it is the empty first level of '/#'.
  return [...withoutHash, '#', '/#', ...parents.map((parent) => `${parent}/#`)];
}

/** One regular expression for each filter; `#` takes the parent level too. */
export function modelPattern(filter: string): RegExp {
  const quoted = (level: string) => level.replace(/[$^.*?()[\]{}|\\]/g, '\\$&');
  const levels = filter.split('/');
  const last = levels.at(-1);
  const body = (last === '#' ? levels.slice(0, -1) : levels)
    .map((level) => (level === '+' ? '[^/]*' : quoted(level)))
    .join('/');
  if (filter === '#') return /^(?!\$).+$/s;
  const guard = levels[0] === '+' ? '(?!\\$)' : '';
  return new RegExp(`^${guard}${body}${last === '#' ? '(?:/.*)?' : ''}$`, 's');
}

/** The names that a filter matches, as one bit for each name. */
export function modelBits(filter: string, names: readonly string[]): Uint32Array {
  const pattern = modelPattern(filter);
  const bits = new Uint32Array(Math.ceil(names.length / 32));
  for (const [i, name] of names.entries()) {
    if (pattern.test(name)) bits[i >> 5] = (bits[i >> 5] as number) | (1 << (i & 31));
  }
  return bits;
}

/** Whether every bit of `part` is a bit of `whole`. */
export function isSubset(part: Uint32Array, whole: Uint32Array): boolean {
  return part.every((word, i) => (word & ~(whole[i] as number)) === 0);
}

export function hasBit(bits: Uint32Array, i: number): boolean {
  return ((bits[i >> 5] as number) & (1 << (i & 31))) !== 0;
}
