/** The OpenAPI 3.1 page, made from the contracts and from nothing else. */
import { errorTable, httpOperations, OAuthError, Problem, type HttpOperation } from '@mayfly/contracts';
import { z } from 'zod';

/** Codes that any operation may answer with. */
const everywhere = ['invalid_request', 'dependency_unavailable', 'internal'] as const;

export function openApiDocument(publicUrl: string, version: string): object {
  const paths: Record<string, Record<string, object>> = {};
  for (const operation of httpOperations) {
    (paths[operation.http.path] ??= {})[operation.http.method.toLowerCase()] = describeOperation(operation);
  }
  return {
    openapi: '3.1.0',
    info: {
      title: 'Mayfly',
      version,
      description: 'Credentials for agents: scoped by policy, alive for minutes, sealed to the asker.',
      license: { name: 'Apache-2.0', identifier: 'Apache-2.0' },
    },
    servers: [{ url: publicUrl }],
    paths,
    components: {
      securitySchemes: {
        session: {
          type: 'http',
          scheme: 'bearer',
          bearerFormat: 'JWT',
          description: 'Session token of POST /v1/token',
        },
      },
      schemas: {
        Problem: jsonSchema(Problem, 'output'),
        OAuthError: jsonSchema(OAuthError, 'output'),
        Json: JSON.parse(JSON.stringify(anyJson).replaceAll('"#"', '"#/components/schemas/Json"')) as object,
      },
    },
  };
}

function describeOperation(operation: HttpOperation): object {
  const { http } = operation;
  const input = jsonSchema(operation.input, 'input') as {
    properties?: Record<string, object>;
    required?: string[];
  };
  const inPath = [...http.path.matchAll(/\{(\w+)\}/g)].map((match) => match[1] ?? '');
  const readsQuery = http.method === 'GET' || http.method === 'DELETE';
  const properties = Object.entries(input.properties ?? {});
  const required = new Set(input.required ?? []);
  const parameters = properties
    .filter(([name]) => inPath.includes(name) || readsQuery)
    .map(([name, schema]) => ({
      name,
      in: inPath.includes(name) ? 'path' : 'query',
      required: inPath.includes(name) || required.has(name),
      schema,
    }));
  const bodyFields = properties.filter(([name]) => !inPath.includes(name));
  const mediaType = http.body === 'form' ? 'application/x-www-form-urlencoded' : 'application/json';
  return {
    operationId: operation.name,
    summary: operation.summary,
    ...(operation.description === undefined ? {} : { description: operation.description }),
    tags: [http.tag],
    security: http.auth === 'session' ? [{ session: [] }] : [],
    ...(parameters.length > 0 ? { parameters } : {}),
    ...(readsQuery || bodyFields.length === 0
      ? {}
      : {
          requestBody: {
            required: true,
            content: {
              [mediaType]: {
                schema: {
                  type: 'object',
                  properties: Object.fromEntries(bodyFields),
                  required: bodyFields.map(([name]) => name).filter((name) => required.has(name)),
                  additionalProperties: false,
                },
              },
            },
          },
        }),
    responses: {
      ...Object.fromEntries(
        [http.status, http.alsoStatus ?? http.status].map((status) => [
          status,
          {
            description: 'Success',
            content: { 'application/json': { schema: jsonSchema(operation.output, 'output') } },
          },
        ]),
      ),
      ...errorResponses(operation),
    },
  };
}

function errorResponses(operation: HttpOperation): Record<string, object> {
  const oauth = operation.http.errors === 'oauth';
  const byStatus = new Map<number, string[]>();
  for (const code of [...everywhere, ...operation.errors]) {
    const { status } = errorTable[code];
    byStatus.set(status, [...(byStatus.get(status) ?? []), code]);
  }
  return Object.fromEntries(
    [...byStatus].map(([status, codes]) => [
      status,
      {
        description: codes.join(', '),
        content: {
          [oauth ? 'application/json' : 'application/problem+json']: {
            schema: { $ref: `#/components/schemas/${oauth ? 'OAuthError' : 'Problem'}` },
          },
        },
      },
    ]),
  );
}

/**
 * A schema inside the page: it needs no dialect of its own, because OpenAPI 3.1 speaks 2020-12, and what it refers to is found among the
 * components of the page (https://spec.openapis.org/oas/v3.1.1.html#components-object), not in a `$defs` of its own, which would be
 * looked for at the root of the page.
 */
function jsonSchema(schema: z.ZodType, io: 'input' | 'output'): object {
  const { $defs = {}, ...described } = describe(schema, io);
  delete described['$schema'];
  let text = JSON.stringify(described);
  for (const [name, definition] of Object.entries($defs as Record<string, object>)) {
    const own = JSON.stringify(`#/$defs/${name}`);
    const content = JSON.stringify(definition).replaceAll(own, '"#"');
    const component = components.get(content);
    if (component === undefined) throw new Error('a schema that others refer to has no name in the page');
    text = text.replaceAll(own, JSON.stringify(`#/components/schemas/${component}`));
  }
  return JSON.parse(text) as object;
}

function describe(schema: z.ZodType, io: 'input' | 'output'): Record<string, unknown> {
  return z.toJSONSchema(schema, { io, unrepresentable: 'any', target: 'draft-2020-12' });
}

/** Any JSON value, which refers to itself. */
const { $schema, ...anyJson } = describe(z.json(), 'output');
void $schema;
/** Names of the schemas that refer to themselves, by their text. */
const components = new Map([[JSON.stringify(anyJson), 'Json']]);
