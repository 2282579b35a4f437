#!/usr/bin/env node
// The compiler writes files that are not executable, and npm links a command only to one that exists: so this is it.
import '../dist/recover/main.js';
