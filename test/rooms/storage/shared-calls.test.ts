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
/** Several calls wait a turn for more. */
const twoTurns = async (): Promise<unknown> => turn().then(turn);

describe('calls that share work', () => {
  test('go together when they begin in one turn, and while others are under way', async () => {
    const { groups, work, end } = controlled();
    const shared = new SharedCalls(work, { maxItems: 3, maxUnderWay: 1 });
    const first = [shared.call(1), shared.call(2)];
    await twoTurns();
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

  test('go at once when alone, and wait up to four turns for as long as each brings more', async () => {
    const { groups, work, end } = controlled();
    const shared = new SharedCalls(work, { maxItems: 10, maxUnderWay: 1 });
    const alone = shared.call(1);
    await turn();
    expect(groups).toEqual([[1]]);
    end(0);
    await alone;
    const calls = [shared.call(2), shared.call(3)];
    for (let later = 4; later < 9; later += 1) {
      await turn();
      calls.push(shared.call(later));
    }
    expect(groups).toEqual([[1], [2, 3, 4, 5, 6]]);
    end(1);
    await turn();
    expect(groups).toEqual([[1], [2, 3, 4, 5, 6], [7, 8]]);
    end(2);
    expect(await Promise.all(calls)).toEqual([20, 30, 40, 50, 60, 70, 80]);
  });

  test('fail together, and those that come later do not', async () => {
    const { work, end } = controlled();
    const shared = new SharedCalls(work, { maxItems: 10, maxUnderWay: 1 });
    const failing = Promise.allSettled([shared.call(1), shared.call(2)]);
    await twoTurns();
    const later = shared.call(3);
    end(0, new Error('down'));
    expect((await failing).map(({ status }) => status)).toEqual(['rejected', 'rejected']);
    await turn();
    end(1);
    expect(await later).toBe(30);
  });
});
