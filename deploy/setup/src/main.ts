/** Sets a deployment up. */
export {};
