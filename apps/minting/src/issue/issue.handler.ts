/** Bus edge of issuing. */
import { bus, type InputOf, type OutputOf } from '@mayfly/contracts';
import { Handles } from '@mayfly/messaging';
import { Controller } from '@nestjs/common';
import { Payload } from '@nestjs/microservices';
import { IssueLease } from './issue-lease.ts';

@Controller()
export class IssueHandler {
  constructor(private readonly issueLease: IssueLease) {}

  @Handles(bus.minting.issue)
  issue(@Payload() input: InputOf<typeof bus.minting.issue>): Promise<OutputOf<typeof bus.minting.issue>> {
    return this.issueLease.issue(input.grant);
  }
}
