import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { blockedReason, http, type ErrorCode, type HttpOperation } from '@mayfly/contracts';
import { CommandLine, identityToken } from './fixtures/command-line.ts';
import { FakeGateway } from './fixtures/gateway.ts';
import { revocationId } from './fixtures/revocation.ts';

const { addBlock, removeBlock, listBlocks, revoke, getRevocation, listRevocations } = http.administration;
const { putConfig, getConfig, queryAudit } = http.administration;
const user = ['--user', 'ada@example.com'];
const block = ['block', ...user, '--reason', 'x'];
const revokeUser = ['revoke', ...user, '--reason', 'x'];
const apply = ['apply', '-f', 'mayfly.yaml'];
/** As policy says it. */
const liveLeases =
  '2 live leases are of credentials that this document removes: acme: tool/read (2). End them with it (end_leases), or wait.';

let gateway: FakeGateway;
let line: CommandLine;
beforeEach(async () => {
  gateway = await FakeGateway.start();
  line = new CommandLine({ MAYFLY_URL: gateway.url, MAYFLY_IDENTITY_TOKEN: identityToken() });
  line.write('mayfly.yaml', 'organizations: []\n');
});
afterEach(() => gateway.stop());

describe('what to do about a failure', () => {
  it.each<[string[], HttpOperation, ErrorCode, string, string]>([
    [block, addBlock, 'dependency_unavailable', 'away', 'It may have been accepted: `mayfly blocks` tells'],
    [block, addBlock, 'policy_denied', 'only an administrator may block', 'It takes an administrator;'],
    [['unblock', revocationId], removeBlock, 'not_found', 'No such block.', '`mayfly blocks` lists'],
    [['unblock', revocationId], removeBlock, 'dependency_unavailable', 'away', 'It may have been done'],
    [['blocks'], listBlocks, 'policy_denied', 'no', 'It takes an administrator;'],
    [['blocks'], listBlocks, 'dependency_unavailable', 'away', 'Try again in a moment.'],
    [
      revokeUser,
      revoke,
      'dependency_unavailable',
      'away',
      'accepted: `mayfly revocations` tells. Asking again',
    ],
    [revokeUser, revoke, 'policy_denied', 'no', 'It takes an administrator'],
    [
      ['revoke', revocationId],
      http.leases.deleteLease,
      'not_found',
      'No such lease.',
      '`mayfly leases` lists',
    ],
    [['revoke', revocationId], http.leases.deleteLease, 'dependency_unavailable', 'no', 'been given back'],
    [['revocations'], listRevocations, 'policy_denied', 'no', 'It takes an administrator;'],
    [['revocations', revocationId], getRevocation, 'not_found', 'no', '`mayfly revocations` lists those'],
    [
      ['revocations', revocationId],
      getRevocation,
      'dependency_unavailable',
      'no',
      'goes on ending meanwhile',
    ],
    [apply, putConfig, 'conflict', liveLeases, 'With --end-leases they end'],
    [apply, putConfig, 'conflict', 'The running configuration is version 8.', '`mayfly config get` shows'],
    [apply, putConfig, 'dependency_unavailable', 'away', 'It may have been applied'],
    [apply, putConfig, 'policy_denied', 'no', 'It takes a platform administrator;'],
    [['config', 'get'], getConfig, 'policy_denied', 'no', 'It takes a platform administrator;'],
    [['audit'], queryAudit, 'policy_denied', 'no', 'It takes an auditor or an administrator;'],
  ])('%j, %p refused with %s: %s', async (args, operation, code, reason, advice) => {
    gateway.refuse(operation, code, reason);
    const { stderr } = await line.run(...args);
    expect(stderr).toContain(`(${code})\n  `);
    expect(stderr).toContain(advice);
    expect(stderr).not.toContain('nothing was issued');
    expect(stderr).not.toContain('`mayfly credentials`');
  });

  it.each([
    [block, addBlock, 'It may have been accepted: `mayfly blocks` tells'],
    [revokeUser, revoke, 'It may have been accepted: `mayfly revocations` tells'],
  ] as const)('%j: the answer was lost, so it may have been accepted', async (args, operation, advice) => {
    gateway.handlers.set(operation.name, () => {
      void gateway.stop();
      return new Promise(() => undefined);
    });
    const { status, stderr } = await line.run(...args);
    expect(status).toBe(69);
    expect(stderr).toContain(advice);
  });

  it('is to ask an administrator for who is blocked, whatever the command', async () => {
    gateway.refuse(revoke, 'policy_denied', blockedReason);
    expect((await line.run(...revokeUser)).stderr).toContain('  Ask an administrator');
  });

  it('says of a session that could not be opened that nothing was asked for', async () => {
    gateway.refuse(http.oauth.token, 'dependency_unavailable', 'away');
    expect((await line.run(...block)).stderr).toContain('nothing was asked for yet');
  });
});
