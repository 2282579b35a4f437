/** Nest's own messages through Mayfly's logger: `NestFactory.create(module, { logger: new NestLogger(logger) })`. */
import type { LoggerService } from '@nestjs/common';
import type { Logger } from './logger.ts';
import { isAnswer } from './answer-code.ts';
import { errorType } from './error-type.ts';
import { isError } from './redaction.ts';

/** Parts of Nest that tell of every module and route at start: of use only when debugging. */
const chatty = new Set([
  'NestFactory',
  'InstanceLoader',
  'RoutesResolver',
  'RouterExplorer',
  'NestApplication',
]);

export class NestLogger implements LoggerService {
  constructor(private readonly logger: Logger) {}

  log(message: unknown, ...rest: unknown[]): void {
    this.write('info', message, rest);
  }

  /** Nest passes `(message, stack?, context?)` here, or an Error as the message. */
  error(message: unknown, ...rest: unknown[]): void {
    this.write('error', message, rest);
  }

  warn(message: unknown, ...rest: unknown[]): void {
    this.write('warn', message, rest);
  }

  debug(message: unknown, ...rest: unknown[]): void {
    this.write('debug', message, rest);
  }

  verbose(message: unknown, ...rest: unknown[]): void {
    this.write('trace', message, rest);
  }

  fatal(message: unknown, ...rest: unknown[]): void {
    this.write('fatal', message, rest);
  }

  private write(level: Level, message: unknown, rest: readonly unknown[]): void {
    const last = rest.at(-1);
    const context = typeof last === 'string' && !last.includes('\n') ? last : undefined;
    const others = context === undefined ? rest : rest.slice(0, -1);
    const err = isError(message) ? message : others.find(isError);
    const stack = err === undefined ? others.find((item) => typeof item === 'string') : undefined;
    const fields = {
      ...(context === undefined ? {} : { context }),
      ...(err === undefined ? {} : { err }),
      ...(stack === undefined ? {} : { stack }),
      ...(typeof message === 'object' && message !== null && !isError(message) ? { data: message } : {}),
    };
    const quiet = level === 'info' && context !== undefined && chatty.has(context);
    this.logger[quiet ? 'debug' : level](fields, isError(message) ? messageOf(message) : textOf(message));
  }
}

type Level = 'fatal' | 'error' | 'warn' | 'info' | 'debug' | 'trace';

/** The text of a server stays out of logs. */
function messageOf(error: Error): string {
  return isAnswer(error) ? errorType(error) : error.message;
}

function textOf(message: unknown): string {
  return typeof message === 'string' ? message : 'nest';
}
