/** Names with everything in them that can go wrong in a name, as long as PostgreSQL lets them be (63 bytes); told apart by their beginning. */
export function odd(beginning: string): string {
  return `${beginning} "'.\n;--$$ {{name}} /*é%@?`.padEnd(62, '.').slice(0, 62);
}
