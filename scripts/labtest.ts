#!/usr/bin/env node
import { runBin } from './cli/main.ts';

await runBin('labtest');
