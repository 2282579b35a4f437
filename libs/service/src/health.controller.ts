/** What every service serves over HTTP: `/healthz` (alive), `/readyz` (may take work), `/metrics` (Prometheus). */
import { Controller, Get, Header, HttpException, Inject, ServiceUnavailableException } from '@nestjs/common';
import type { Registry } from 'prom-client';
import { Readiness } from './readiness.ts';
import { METRICS } from './tokens.ts';

@Controller()
export class HealthController {
  constructor(
    private readonly readiness: Readiness,
    @Inject(METRICS) private readonly metrics: Registry,
  ) {}

  @Get('healthz')
  alive(): { status: 'ok' } {
    return { status: 'ok' };
  }

  @Get('readyz')
  async ready(): Promise<{ status: 'ready'; checks: Record<string, boolean> }> {
    const { ready, checks } = await this.readiness.check();
    if (ready) return { status: 'ready', checks };
    throw new HttpException({ status: 'not ready', checks }, new ServiceUnavailableException().getStatus());
  }

  @Get('metrics')
  @Header('content-type', 'text/plain; version=0.0.4; charset=utf-8')
  async prometheus(): Promise<string> {
    return this.metrics.metrics();
  }
}
