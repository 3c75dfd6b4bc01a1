#!/usr/bin/env node
import { runBin } from './cli/bin.ts';

await runBin('labtest');
