// The script's side of tests/sdk/script.rs: commands on stdin, answers on stdout, a line of JSON
// each.
'use strict';

const readline = require('node:readline');

function tell(what) {
  process.stdout.write(JSON.stringify(what) + '\n');
}

// Performs every command, one after the other; an error is answered with what `describe` sees in
// it.
async function serve(perform, describe) {
  for await (const line of readline.createInterface({ input: process.stdin })) {
    try {
      tell({ result: await perform(JSON.parse(line)) });
    } catch (error) {
      tell({ error: describe(error) });
    }
  }
  process.exit(0);
}

module.exports = { serve, tell };
