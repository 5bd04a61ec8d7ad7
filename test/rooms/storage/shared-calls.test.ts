import { describe, expect, test } from '@jest/globals';
import { SharedCalls } from '../../../server/storage/shared-calls.ts';

/** Work that notes its groups and ends when told to. */
function controlled() {
  const groups: number[][] = [];
  const ends: ((failure?: Error) => void)[] = [];
  const work = async (items: readonly number[]): Promise<number[]> => {
    groups.push([...items]);
    await new Promise<void>((resolve, reject) => ends.push((failure) => (failure === undefined ? resolve() : reject(failure))));
    return items.map((item) => item * 10);
  };
  return { groups, work, end: (index: number, failure?: Error) => ends[index]!(failure) };
}

const turn = async (): Promise<unknown> => new Promise(setImmediate);

describe('calls that share work', () => {
  test('go together when they begin in one turn, and while others are under way', async () => {
    const { groups, work, end } = controlled();
    const shared = new SharedCalls(work, { maxItems: 3, maxUnderWay: 1 });
    const first = [shared.call(1), shared.call(2)];
    await turn();
    const later = [shared.call(3), shared.call(4), shared.call(5), shared.call(6)];
    await turn();
    expect(groups).toEqual([[1, 2]]);
    end(0);
    expect(await Promise.all(first)).toEqual([10, 20]);
    await turn();
    expect(groups).toEqual([[1, 2], [3, 4, 5]]);
    end(1);
    await turn();
    expect(groups).toEqual([[1, 2], [3, 4, 5], [6]]);
    end(2);
    expect(await Promise.all(later)).toEqual([30, 40, 50, 60]);
  });

  test('fail together, and those that come later do not', async () => {
    const { work, end } = controlled();
    const shared = new SharedCalls(work, { maxItems: 10, maxUnderWay: 1 });
    const failing = Promise.allSettled([shared.call(1), shared.call(2)]);
    await turn();
    const later = shared.call(3);
    end(0, new Error('down'));
    expect((await failing).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await turn();
    end(1);
    expect(await later).toBe(30);
  });
});
