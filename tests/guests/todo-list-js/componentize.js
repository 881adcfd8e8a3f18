// Makes the component: node componentize.js WIT SOURCE COMPONENT
//
// Only what reaches a network is left out; everything else of the engine stays, and with it
// every part of WASI that JavaScript's standard library drags in.

import { writeFile } from 'node:fs/promises';
import { componentize } from '@bytecodealliance/componentize-js';

const [wit, source, file] = process.argv.slice(2);
const { component } = await componentize({
  witPath: wit,
  worldName: 'reducer',
  sourcePath: source,
  disableFeatures: ['http', 'fetch-event'],
});
await writeFile(file, component);
