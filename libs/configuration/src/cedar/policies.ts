/** The hand-written policies of a document: split, identified, and checked against the schema and the names of the document. */
import type { PolicyJson } from '@cedar-policy/cedar-wasm/nodejs';
import type { CredentialConfig } from '../configuration.ts';
import { showKey, type Path } from '../document/problems.ts';
import { unseenInPolicies } from '../document/unseen.ts';
import type { YamlSource } from '../document/yaml.ts';
import { withCedar } from './engine.ts';
import { literalsOf, nameProblem, type KnownNames } from './names.ts';
import { cedarName, cedarSchema } from './schema.ts';
import { misspellings } from './spellings.ts';
import { splitPolicies } from './split.ts';

/** One policy. */
export interface CheckedPolicy {
  /** Stable: the `@id`, or `policies[0]` by position; for an organization's own `<organization>.policies[0]`. Unique in the document. */
  readonly id: string;
  /** Cedar text of exactly this policy. */
  readonly text: string;
  /** Its parsed form; slices are made by its head. */
  readonly json: PolicyJson;
}

export interface CheckedPolicies {
  /** Of the whole document: they hold in every organization. */
  readonly general: readonly CheckedPolicy[];
  /** Of one organization each. */
  readonly byOrganization: ReadonlyMap<string, readonly CheckedPolicy[]>;
}

interface WrittenPolicies {
  readonly general: string | undefined;
  readonly byOrganization: readonly {
    readonly organization: string;
    readonly path: Path;
    readonly text: string;
  }[];
  readonly names: KnownNames;
}

const maxPolicies = 5_000;
const ownIds = /^(?:roles:|.*policies\[)/;

/** `roles:` of a credential as the Cedar permit that it stands for. Without roles there is none. */
export function rolesPermit(credential: CredentialConfig): { id: string; text: string } | undefined {
  const [first, ...others] = credential.roles.map((role) => `Role::${cedarName(role)}`);
  if (first === undefined) return undefined;
  const resource = `resource == Credential::${cedarName(credential.name)}`;
  const text =
    others.length === 0
      ? `permit (principal in ${first}, action == Action::"mint", ${resource});`
      : `permit (principal, action == Action::"mint", ${resource}) when { principal in [${[first, ...others].join(', ')}] };`;
  return { id: rolesPermitId(credential), text };
}

export function rolesPermitId(credential: CredentialConfig): string {
  return `roles:${credential.name}`;
}

/** Undefined when a problem was found; the problems are in `source.problems`. */
export function checkPolicies(written: WrittenPolicies, source: YamlSource): CheckedPolicies | undefined {
  const checker = new Checker(source);
  const general =
    written.general === undefined ? [] : checker.read(written.general, ['policies'], 'policies');
  const byOrganization = written.byOrganization.map(
    ({ organization, path, text }) =>
      [organization, checker.read(text, path, `${organization}.policies`)] as const,
  );
  checker.validate();
  checker.checkNames(general, undefined, written.names);
  for (const [organization, policies] of byOrganization)
    checker.checkNames(policies, organization, written.names);
  return source.problems.any ? undefined : { general, byOrganization: new Map(byOrganization) };
}

interface Place {
  readonly path: Path;
  /** Offset of the policy in the text at `path`. */
  readonly offset: number;
  readonly text: string;
}

class Checker {
  readonly #source: YamlSource;
  /** By policy id. */
  readonly #places = new Map<string, Place>();

  constructor(source: YamlSource) {
    this.#source = source;
  }

  read(text: string, path: Path, idPrefix: string): CheckedPolicy[] {
    const checked: CheckedPolicy[] = [];
    const whole = { path, offset: 0, text };
    const unseen = unseenInPolicies(text);
    if (unseen) {
      this.#report(whole, unseen.offset, unseen.message);
      return checked;
    }
    // Whatever follows the first of them would be no policy but the rest of a comment, a forbid included.
    if (this.#source.foldsLines(path) && text.includes('//')) {
      const advice = 'write the policies as a block that keeps them, "policies: |"';
      this.#report(
        whole,
        0,
        `the line breaks of this text are folded away, so "//" makes a comment of all that follows; ${advice}`,
      );
      return checked;
    }
    const split = splitPolicies(text);
    if (split.length === 0) {
      this.#source.problems.add(
        path,
        '"policies" holds no policy, only space or comments; write one, or remove "policies"',
      );
      return checked;
    }
    for (const [index, policy] of split.entries()) {
      const place = { path, offset: policy.offset, text: policy.text };
      if (this.#places.size >= maxPolicies) {
        this.#report(
          place,
          0,
          `the document has more than ${maxPolicies} policies; use "roles:" for the common case`,
        );
        break;
      }
      if (policy.refusal !== undefined) {
        this.#report(place, 0, policy.refusal);
        continue;
      }
      const answer = withCedar((cedar) => cedar.policyToJson(policy.text));
      if (answer?.type !== 'success') {
        this.#reportError(place, answer?.errors[0]);
        continue;
      }
      const id = this.#identify(answer.json, `${idPrefix}[${index}]`, place);
      this.#places.set(id, place);
      checked.push({ id, text: policy.text, json: answer.json });
    }
    if (checked.length === split.length) this.#compareWithCedar(whole, checked);
    return checked;
  }

  /** Cedar's own parser reads the whole text, too: it must find these policies, each as often, and no other. */
  #compareWithCedar(whole: Place, checked: readonly CheckedPolicy[]): void {
    const answer = withCedar((cedar) => cedar.policySetTextToParts(whole.text));
    if (answer?.type !== 'success') {
      this.#reportError(whole, answer?.errors[0]);
      return;
    }
    const found = [...answer.policies, ...answer.policy_templates].toSorted();
    const ours = checked.map(({ text }) => text).toSorted();
    if (found.length === ours.length && found.every((text, index) => text === ours[index])) return;
    this.#report(
      whole,
      0,
      `Cedar finds ${found.length} policies here where ${ours.length} are told apart; put each policy and each comment on lines of its own`,
    );
  }

  /** Strict validation: what is unknown, has the wrong type, may be absent, or can never apply. */
  validate(): void {
    if (this.#places.size === 0) return;
    const staticPolicies = Object.fromEntries([...this.#places].map(([id, place]) => [id, place.text]));
    const answer = withCedar((cedar) =>
      cedar.validate({ schema: cedarSchema, policies: { staticPolicies } }),
    );
    if (answer?.type !== 'success') {
      this.#source.problems.add(['policies'], 'the policies could not be checked; simplify or split them');
      return;
    }
    const wrong = new Set(answer.validationErrors.map((error) => error.policyId));
    for (const { policyId, error } of [
      ...answer.validationErrors,
      ...answer.validationWarnings.filter((warning) => !wrong.has(warning.policyId)),
    ]) {
      const place = this.#places.get(policyId);
      if (place) this.#reportError(place, error);
    }
  }

  /** A forbid that names what does not exist forbids nothing: a slip of the pen must not pass. */
  checkNames(policies: readonly CheckedPolicy[], organization: string | undefined, names: KnownNames): void {
    for (const policy of policies) {
      const place = this.#places.get(policy.id);
      if (!place) continue;
      for (const literal of literalsOf(policy.json)) {
        const problem = nameProblem(literal, organization, names);
        if (problem === undefined) continue;
        const at = place.text.indexOf(`${literal.type}::${JSON.stringify(literal.id)}`);
        this.#report(place, Math.max(0, at), problem);
      }
      for (const { written, problem } of misspellings(policy.json)) {
        this.#report(place, Math.max(0, place.text.indexOf(JSON.stringify(written))), problem);
      }
    }
  }

  #identify(json: PolicyJson, byPosition: string, place: Place): string {
    const own = json.annotations?.['id'];
    if (own === undefined) return byPosition;
    if (!/^[A-Za-z0-9][A-Za-z0-9_.:/ -]{0,127}$/.test(own) || ownIds.test(own)) {
      this.#report(
        place,
        0,
        '"@id" must be 1 to 128 letters, digits or "_.:/ -", and not begin with "roles:"',
      );
      return byPosition;
    }
    if (this.#places.has(own)) {
      this.#report(
        place,
        0,
        `the policy id ${showKey(own)} stands twice; ids must be unique in the document`,
      );
      return byPosition;
    }
    return own;
  }

  #reportError(
    place: Place,
    error:
      | { message: string; help: string | null; sourceLocations?: { start: number; label: string | null }[] }
      | undefined,
  ): void {
    if (!error) {
      this.#report(place, 0, 'the policy is too complex to be checked; simplify or split it');
      return;
    }
    const location = error.sourceLocations?.[0];
    const message = error.message
      .replace(/^failed to parse polic(?:y|ies)[^:]*: /, '')
      .replace(/^for policy `[^`]*`, /, '');
    const advice =
      error.help ?? (location?.label && location.label.length <= 160 ? location.label : undefined);
    // Cedar counts bytes.
    const start = Buffer.from(place.text)
      .subarray(0, location?.start ?? 0)
      .toString().length;
    this.#report(place, start, `Cedar: ${message}${advice === undefined ? '' : `; ${advice}`}`);
  }

  #report(place: Place, offset: number, message: string): void {
    this.#source.problems.add(
      place.path,
      message,
      this.#source.positionInText(place.path, place.offset + offset),
    );
  }
}
