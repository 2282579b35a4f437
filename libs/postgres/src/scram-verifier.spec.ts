import { describe, expect, it } from '@jest/globals';
import { createHash, createHmac, pbkdf2Sync } from 'node:crypto';
import { randomPassword, scramVerifier } from './scram-verifier.ts';

describe('scramVerifier', () => {
  // RFC 7677 §3: user "user", password "pencil".
  const salt = Buffer.from('W22ZaJ0SNY7soEsUEjb6gQ==', 'base64');
  const authMessage = [
    'n=user,r=rOprNGfwEbeRWgbNEkqO',
    'r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096',
    'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0',
  ].join(',');

  it("holds the keys that verify the exchange of RFC 7677's example", async () => {
    const verifier = await scramVerifier('pencil', 4096, salt);
    const [, iterations, saltText, storedKey, serverKey] =
      /^SCRAM-SHA-256\$(\d+):([^$]+)\$([^:]+):(.+)$/.exec(verifier) ?? [];
    expect(iterations).toBe('4096');
    expect(saltText).toBe('W22ZaJ0SNY7soEsUEjb6gQ==');

    const hmac = (key: Buffer, text: string) => createHmac('sha256', key).update(text).digest();
    const serverSignature = hmac(Buffer.from(serverKey ?? '', 'base64'), authMessage);
    expect(serverSignature.toString('base64')).toBe('6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=');

    const proof = Buffer.from('dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=', 'base64');
    const signature = hmac(Buffer.from(storedKey ?? '', 'base64'), authMessage);
    const clientKey = Buffer.from(proof.map((byte, index) => byte ^ (signature[index] ?? 0)));
    expect(createHash('sha256').update(clientKey).digest('base64')).toBe(storedKey);
  });

  it('takes the number of iterations that it is told', async () => {
    const verifier = await scramVerifier('pencil', 1, salt);
    const salted = pbkdf2Sync('pencil', salt, 1, 32, 'sha256');
    const serverKey = createHmac('sha256', salted).update('Server Key').digest('base64');
    expect(verifier).toMatch(/^SCRAM-SHA-256\$1:/);
    expect(verifier.endsWith(serverKey)).toBe(true);
  });

  it('salts each verifier anew', async () => {
    expect(await scramVerifier('pencil', 1)).not.toBe(await scramVerifier('pencil', 1));
  });

  it.each(['', 'p\u00e4ssword', 'line\nbreak'])(
    'refuses %j, which SASLprep might change',
    async (password) => {
      await expect(scramVerifier(password)).rejects.toThrow(RangeError);
    },
  );
});

describe('randomPassword', () => {
  it('has 256 bits and needs no quoting in a URL', () => {
    expect(randomPassword()).toMatch(/^[A-Za-z0-9_-]{43}$/);
    expect(randomPassword()).not.toBe(randomPassword());
  });
});
