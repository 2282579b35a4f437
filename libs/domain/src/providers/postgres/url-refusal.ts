/** Why a connection URL is refused. Thrown inside the parser only; `parseConnectionUrl` answers with it. */
export class UrlRefusal extends Error {
  override readonly name = 'UrlRefusal';

  /** `reason` goes on from "the URL is refused: ". It never quotes the URL, which holds a password: not a value, a host or a name. */
  constructor(readonly reason: string) {
    super(reason);
  }
}
