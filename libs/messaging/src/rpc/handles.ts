/** Binds a controller's method to an operation of the bus. */
import type { BusOperation } from '@mayfly/contracts';
import { subjectOf } from '@mayfly/contracts';
import { applyDecorators, Catch, UseFilters } from '@nestjs/common';
import type { RpcExceptionFilter } from '@nestjs/common';
import { MessagePattern, Transport } from '@nestjs/microservices';
import { throwError } from 'rxjs';
import type { Observable } from 'rxjs';

/** What `@Handles` leaves for `RpcServer` in Nest's pattern extras. */
export interface HandlesExtras {
  operation?: BusOperation;
}

/** Nest's own filter logs an error and throws it away; `RpcServer` needs it, to tell a code from a defect. */
@Catch()
export class PassErrorsOn implements RpcExceptionFilter {
  catch(error: unknown): Observable<never> {
    return throwError(() => error);
  }
}

/**
 * The method answers `operation`. Its parameter is the parsed input (`InputOf`), what it returns is the output
 * (`OutputOf`), and it refuses by throwing `MayflyError`.
 */
export function Handles(operation: BusOperation): MethodDecorator {
  const extras: HandlesExtras = { operation };
  return applyDecorators(
    MessagePattern(subjectOf(operation), Transport.NATS, extras as Record<string, unknown>),
    UseFilters(PassErrorsOn),
  );
}
