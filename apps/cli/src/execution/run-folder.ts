/**
 * A folder for what one run of the command keeps while it lasts, and the removal of those of runs that were killed.
 *
 * A run is alive while a socket in its folder is listened at: the system closes that with the process, whatever kills it. A process
 * id would be somebody else's after a while, and means nothing in another container that shares the folder; no clock has a say.
 */
import { lstatSync, mkdirSync, mkdtempSync, readdirSync, renameSync, rmSync } from 'node:fs';
import { connect, createServer, type Server } from 'node:net';
import { homedir, tmpdir } from 'node:os';
import { basename, join } from 'node:path';
import { failureOf, systemErrorCode } from '../failure.ts';
import type { Io } from '../io.ts';
import { stepAt, wayTo, whyNotOwn, whyOpenToOthers } from '../trust/way.ts';

const socketName = 'alive';
/** No secret is in a folder until it has this name, and by then it is listened at. */
const runPrefix = 'run-';
const makingPrefix = 'making-';
/** So many leftovers are looked at in one run; the next one goes on. */
const mostLooked = 200;
/** A socket of this machine answers at once; one that does not is somebody's. Milliseconds. */
const answerMs = 1_000;

export class RunFolder {
  private constructor(
    readonly path: string,
    private readonly server: Server,
  ) {}

  /** Makes one in the first place that will do. Throws CommandFailure when there is none. */
  static async make(env: Io['env']): Promise<RunFolder> {
    for (const place of placesFor(env)) {
      const made = await makeIn(place);
      if (made !== undefined) return new RunFolder(made.path, made.server);
    }
    throw failureOf('internal', 'There is no private folder to keep a secret in.', {
      next: 'Set XDG_RUNTIME_DIR to a folder of yours with mode 0700, or leave --file out.',
    });
  }

  remove(): void {
    rmSync(this.path, { recursive: true, force: true });
    this.server.close();
  }
}

/** What was removed of one run: the names of its files, without where they were. */
export interface Leftover {
  readonly folder: string;
  readonly files: readonly string[];
}

/** Removes what runs that are over have left in any of the places. Never throws, and never touches the folder of a live run. */
export async function removeLeftovers(env: Io['env']): Promise<Leftover[]> {
  const removed: Leftover[] = [];
  for (const { path: place } of placesFor(env)) {
    if (whyNotPrivate(place) !== undefined) continue;
    for (const name of namesIn(place).slice(0, mostLooked)) {
      const folder = join(place, name);
      const leftover = await removeIfOver(folder, name);
      if (leftover !== undefined && leftover.files.length > 0) removed.push(leftover);
    }
  }
  return removed;
}

async function removeIfOver(folder: string, name: string): Promise<Leftover | undefined> {
  try {
    const isRun = name.startsWith(runPrefix);
    if (!isRun && !name.startsWith(makingPrefix)) return undefined;
    if (whyNotOwn(stepAt(folder), 'folder') !== undefined) return undefined;
    const state = await stateOf(join(folder, socketName));
    // One that is being made is not listened at yet for a moment; it has no secret in it.
    if (state === 'alive' || (state === 'unmarked' && !isRun)) return undefined;
    const files = namesIn(folder).filter((file) => file !== socketName);
    // Links inside are removed, not followed.
    rmSync(folder, { recursive: true, force: true });
    return { folder, files };
  } catch {
    return undefined;
  }
}

/** In memory where the system has such a folder for each user (XDG Base Directory), else among the temporary files or at home. */
function placesFor(env: Io['env']): Place[] {
  const runtime = env['XDG_RUNTIME_DIR'] ?? '';
  return [
    // Not every environment that names one has it, and it is not for us to make.
    ...(runtime.startsWith('/') ? [{ path: join(runtime, 'mayfly'), withParents: false }] : []),
    { path: join(tmpdir(), `mayfly-${String(process.getuid?.() ?? 'user')}`), withParents: false },
    { path: join(homedir(), '.cache', 'mayfly', 'run'), withParents: true },
  ];
}

interface Place {
  readonly path: string;
  /** Whether the folders above are made, too. */
  readonly withParents: boolean;
}

async function makeIn({
  path: place,
  withParents,
}: Place): Promise<{ path: string; server: Server } | undefined> {
  let making: string | undefined;
  try {
    mkdirSync(place, { recursive: withParents, mode: 0o700 });
  } catch (error) {
    if (systemErrorCode(error) !== 'EEXIST') return undefined;
  }
  if (whyNotPrivate(place) !== undefined) return undefined;
  try {
    making = mkdtempSync(join(place, makingPrefix));
    const server = await listen(join(making, socketName));
    const path = join(place, basename(making).replace(makingPrefix, runPrefix));
    // Renaming takes the socket along, and makes it a run in one step.
    renameSync(making, path);
    return { path, server };
  } catch {
    // A path that is too long for a socket, a full disk: another place may do.
    if (making !== undefined) rmSync(making, { recursive: true, force: true });
    return undefined;
  }
}

/** Somebody else may have made a folder of that name among the temporary files, or be able to put another in its place. */
function whyNotPrivate(place: string): string | undefined {
  try {
    const own = stepAt(place);
    const why = whyNotOwn(own, 'folder') ?? whyOpenToOthers(wayTo(place));
    return why ?? ((own.mode & 0o077) === 0 ? undefined : `${place} can be read by others`);
  } catch {
    return `${place} can't be looked at`;
  }
}

function listen(path: string): Promise<Server> {
  return new Promise((resolve, reject) => {
    // Whoever connects learns that this run lives, and nothing else.
    const server = createServer((socket) => socket.destroy());
    server.once('error', reject);
    server.listen(path, () => resolve(server));
    server.unref();
  });
}

type State = 'alive' | 'over' | 'unmarked';

/** What can't be told counts as alive. */
function stateOf(path: string): Promise<State> {
  return new Promise((resolve) => {
    if (lstatSync(path, { throwIfNoEntry: false }) === undefined) {
      resolve('unmarked');
      return;
    }
    const socket = connect(path);
    const settle = (state: State) => {
      socket.destroy();
      resolve(state);
    };
    socket.setTimeout(answerMs, () => settle('alive'));
    socket.once('connect', () => settle('alive'));
    socket.once('error', (error) => settle(systemErrorCode(error) === 'ECONNREFUSED' ? 'over' : 'alive'));
  });
}

function namesIn(folder: string): string[] {
  try {
    return readdirSync(folder).sort();
  } catch {
    return [];
  }
}
