import { describe, expect, it } from '@jest/globals';
import { UnreadAnswers } from './unread-answers.ts';

const counted = () => {
  const cut: string[] = [];
  const answers = new UnreadAnswers({ most: 100, mostOfSource: 50 });
  return {
    cut,
    answer: (name: string, bytes: number) => answers.expect(name.charAt(0), bytes, () => cut.push(name)),
  };
};

describe('unread answers', () => {
  it('of one source give up the oldest for its next', () => {
    const { cut, answer } = counted();
    for (const name of ['a1', 'a2', 'a3', 'a4']) answer(name, 20);
    expect(cut).toEqual(['a1', 'a2']);
  });

  it('of the source that has the most make room for those of others', () => {
    const { cut, answer } = counted();
    for (const name of ['a1', 'a2', 'a3', 'b1', 'b2', 'c1']) answer(name, 16);
    answer('d1', 16);
    expect(cut).toEqual(['a1']);
  });

  it('hold nothing once they are read, and one that is larger than all is let through', () => {
    const { cut, answer } = counted();
    for (let count = 0; count < 100; count++) answer('a', 50)();
    answer('a', 60)();
    expect(cut).toEqual([]);
  });
});
