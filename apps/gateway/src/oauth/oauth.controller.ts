/** The OAuth endpoints: sessions by token exchange, their end, introspection of tool tokens, metadata. */
import { Controller } from '@nestjs/common';
import {
  accessTokenType,
  bus,
  http,
  jwtTokenType,
  tokenExchangeGrantType,
  type InputOf,
  type OutputOf,
} from '@mayfly/contracts';
import { BusClient } from '@mayfly/messaging';
import { generateSealingKeyPair, loadSealingPublicKey, sealTo } from '@mayfly/tokens';
import { AuthenticatedCaller, Input, Route, SourceIp, type Caller } from '../http/route.ts';
import { PolicyGate } from '../policy-gate.ts';

const { heartbeat, introspect, jwks, revokeToken, serverMetadata, token } = http.oauth;

export class OAuthUrls {
  constructor(
    /** Where agents reach the gateway, without a trailing slash. */
    readonly publicUrl: string,
    /** File with minting's public sealing key: tool tokens travel to it sealed. */
    readonly mintingSealingKeyFile: string,
  ) {}
}

@Controller()
export class OAuthController {
  constructor(
    private readonly gate: PolicyGate,
    private readonly client: BusClient,
    private readonly urls: OAuthUrls,
  ) {}

  @Route(token)
  async token(
    @Input() request: InputOf<typeof token>,
    @SourceIp() sourceIp: string,
  ): Promise<OutputOf<typeof token>> {
    const replyKey = await generateSealingKeyPair();
    const { access_token, expires_in, session_id } = await this.client.call(bus.policy.exchangeToken, {
      subject_token: await this.gate.seal(request.subject_token),
      subject_token_type: request.subject_token_type,
      ...(request.recipient_key === undefined ? {} : { recipient_key: request.recipient_key }),
      ...(request.heartbeat_seconds === undefined ? {} : { heartbeat_seconds: request.heartbeat_seconds }),
      reply_key: replyKey.publicJwk,
      source_ip: sourceIp,
    });
    return {
      access_token: await replyKey.open(access_token),
      issued_token_type: accessTokenType,
      token_type: 'Bearer',
      expires_in,
      session_id,
    };
  }

  @Route(heartbeat)
  heartbeat(
    @AuthenticatedCaller() caller: Caller,
    // Nothing is in it, and nothing else may be.
    @Input() nothing: InputOf<typeof heartbeat>,
  ): Promise<OutputOf<typeof heartbeat>> {
    void nothing;
    return this.gate.heartbeat(caller);
  }

  @Route(revokeToken)
  async revoke(
    @Input() request: InputOf<typeof revokeToken>,
    @SourceIp() sourceIp: string,
  ): Promise<OutputOf<typeof revokeToken>> {
    const { assertion } = await this.client.call(bus.policy.endSession, {
      token: await this.gate.seal(request.token),
      source_ip: sourceIp,
    });
    if (assertion !== undefined) await this.client.call(bus.revocation.endSession, { assertion });
    return {};
  }

  @Route(introspect)
  async introspect(
    @AuthenticatedCaller() caller: Caller,
    @Input() request: InputOf<typeof introspect>,
  ): Promise<OutputOf<typeof introspect>> {
    const assertion = await this.gate.assertionFor(caller, { action: 'introspect' });
    const verified = await this.client.call(bus.minting.verifyToolToken, {
      assertion,
      token: await sealTo(await loadSealingPublicKey(this.urls.mintingSealingKeyFile), request.token),
    });
    if (!verified.valid) return { active: false };
    const { live } = await this.client.call(bus.revocation.leaseStatus, {
      assertion,
      lease_id: verified.claims.jti,
    });
    return live ? { ...verified.claims, active: true, token_type: 'Bearer' } : { active: false };
  }

  @Route(jwks)
  keys(): Promise<OutputOf<typeof jwks>> {
    return this.client.call(bus.minting.toolTokenKeys, {});
  }

  @Route(serverMetadata)
  metadata(): OutputOf<typeof serverMetadata> {
    const { publicUrl } = this.urls;
    return {
      issuer: publicUrl,
      token_endpoint: `${publicUrl}/v1/token`,
      revocation_endpoint: `${publicUrl}/v1/token/revoke`,
      introspection_endpoint: `${publicUrl}/v1/introspect`,
      jwks_uri: `${publicUrl}/.well-known/jwks.json`,
      grant_types_supported: [tokenExchangeGrantType],
      token_endpoint_auth_methods_supported: ['none'],
      subject_token_types_supported: [jwtTokenType],
      service_documentation: `${publicUrl}/openapi.json`,
    };
  }
}
