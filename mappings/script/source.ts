import type { Source, Value } from '../engine/rules.ts';
import type { ScriptNode } from './xml.ts';

/** The text of an element or attribute, for rules; `node` for conversions that look further. */
export interface ScriptValue extends Value {
  readonly node: ScriptNode;
}

/** Remembers which parts of a message were used, so that the rest is reported instead of lost quietly. */
export class ScriptUsage {
  readonly #used = new Set<ScriptNode>();

  use(node: ScriptNode): void {
    this.#used.add(node);
  }

  /** Marks an element and all within. */
  useAll(node: ScriptNode): void {
    this.#used.add(node);
    node.children.forEach((child) => this.useAll(child));
  }

  /** Elements with text that nothing read: paths by name, and how often. */
  unmapped(root: ScriptNode): { path: string; count: number }[] {
    const counts = new Map<string, number>();
    const walk = (node: ScriptNode, path: string): void => {
      if (node.text !== '' && !this.#used.has(node)) counts.set(path, (counts.get(path) ?? 0) + 1);
      for (const child of node.children) walk(child, `${path}/${child.name}`);
    };
    walk(root, root.name);
    return [...counts].map(([path, count]) => ({ path, count }));
  }
}

/** Values below one element, by path such as `Name/LastName`; `..` is not known; `@Qualifier` reads an attribute. */
export class ScriptScope implements Source<ScriptValue> {
  readonly node: ScriptNode;
  readonly #usage: ScriptUsage;

  constructor(node: ScriptNode, usage: ScriptUsage) {
    this.node = node;
    this.#usage = usage;
  }

  /** Populated values at a path. `.` is the element itself. A path may end in an element that has children but no text. */
  read(path: string): ScriptValue[] {
    const [, elements = '', attribute] = /^([^@]*?)\/?(?:@(\w+))?$/.exec(path) ?? [];
    const nodes = this.all(elements);
    if (attribute !== undefined) return nodes.flatMap((node) => valued(node.attributes[attribute] ?? '', node));
    return nodes.flatMap((node) => {
      this.#usage.use(node);
      return node.children.length > 0 ? [{ text: node.text, isNull: false, node }] : valued(node.text, node);
    });
  }

  /** First text at the first path that has one; empty if none has. */
  text(...paths: readonly string[]): string {
    for (const path of paths) {
      const found = this.read(path).find(({ text }) => text !== '');
      if (found !== undefined) return found.text;
    }
    return '';
  }

  /** Elements at a path, whether or not they hold text. */
  all(path: string): ScriptNode[] {
    let nodes: ScriptNode[] = [this.node];
    for (const name of path.split('/')) if (name !== '' && name !== '.') nodes = nodes.flatMap((node) => node.children.filter((child) => child.name === name));
    return nodes;
  }

  /** The scope of the first element at the first path that is there. */
  at(...paths: readonly string[]): ScriptScope | undefined {
    for (const path of paths) {
      const node = this.all(path)[0];
      if (node !== undefined) return new ScriptScope(node, this.#usage);
    }
    return undefined;
  }

  /** Scopes of all elements at a path. */
  each(path: string): ScriptScope[] {
    return this.all(path).map((node) => new ScriptScope(node, this.#usage));
  }

  /** Says that everything within has been dealt with. */
  done(): void {
    this.#usage.useAll(this.node);
  }
}

function valued(text: string, node: ScriptNode): ScriptValue[] {
  return text === '' ? [] : [{ text, isNull: false, node }];
}
