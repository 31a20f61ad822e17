// Node's own fetch, which keeps its connections. It trusts the authority in NODE_EXTRA_CA_CERTS.
'use strict';

const { serve } = require('./agent');

async function perform(command) {
  let body = command.body;
  if (command.chunked) {
    // A body without a known length goes out in chunks.
    body = new Blob([body]).stream();
  }
  const { method, headers } = command;
  const answer = await fetch(command.url, { method, headers, body, duplex: 'half' });
  return {
    status: answer.status,
    headers: Object.fromEntries(answer.headers),
    body: await answer.text(),
  };
}

serve(perform, (error) => ({ type: error.name, message: `${error.message} ${error.cause}` }));
