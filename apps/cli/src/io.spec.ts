import { PassThrough } from 'node:stream';
import { describe, expect, it } from '@jest/globals';
import { outliveReader } from './io.ts';

const errorOf = (code: string) => Object.assign(new Error(code), { code });

describe('an output that nobody reads', () => {
  it.each(['EPIPE', 'EIO'])('%s is no error', (code) => {
    const stream = new PassThrough();
    outliveReader(stream);
    expect(() => stream.emit('error', errorOf(code))).not.toThrow();
  });

  it('but a disk that is full is one', () => {
    const stream = new PassThrough();
    outliveReader(stream);
    expect(() => stream.emit('error', errorOf('ENOSPC'))).toThrow('ENOSPC');
  });
});
