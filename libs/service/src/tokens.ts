/** Injection tokens of what has no class of its own. */
export const LOGGER = Symbol('mayfly:logger');
export const METRICS = Symbol('mayfly:metrics');
export const NATS_CONNECTION = Symbol('mayfly:nats-connection');
export const KEY_FILES = Symbol('mayfly:key-files');
