// mqtt (npm): any number of clients by name, over WebSocket, secure WebSocket, TCP and TLS.
'use strict';

const fs = require('node:fs');
const mqtt = require('mqtt');
const { serve, tell } = require('./agent');

const clients = new Map();

function connect(name, options) {
  const five = options.version === 5;
  const client = mqtt.connect(options.url, {
    protocolVersion: options.version,
    protocolId: options.version === 3 ? 'MQIsdp' : 'MQTT',
    clientId: options.id ?? name,
    clean: options.clean ?? true,
    ca: options.ca && fs.readFileSync(options.ca),
    will: options.will,
    properties: five ? { sessionExpiryInterval: options.session_expiry ?? 0 } : undefined,
    reconnectPeriod: 0,
  });
  clients.set(name, client);
  client.on('message', (topic, payload, packet) => {
    const users = Object.entries(packet.properties?.userProperties ?? {});
    tell({
      message: {
        client: name,
        topic,
        payload: payload.toString('base64'),
        qos: packet.qos,
        retain: packet.retain,
        user_properties: users.flatMap(([key, value]) => [value].flat().map((one) => [key, one])),
      },
    });
  });
  client.on('close', () => tell({ ended: { client: name } }));
  return new Promise((resolve, reject) => {
    client.once('connect', (ack) => {
      resolve({ code: ack.returnCode ?? ack.reasonCode, session_present: ack.sessionPresent });
      client.on('error', () => {});
    });
    client.once('error', reject);
  });
}

async function perform(command) {
  const name = command.client;
  if (command.do === 'connect') return connect(name, command);
  const client = clients.get(name);
  switch (command.do) {
    case 'subscribe': {
      const granted = await client.subscribeAsync(command.filter, { qos: command.qos });
      return granted.map((one) => one.qos);
    }
    case 'publish': {
      const { qos, retain } = command;
      const properties = command.user_properties && {
        userProperties: Object.fromEntries(command.user_properties),
      };
      const payload = Buffer.from(command.payload, 'base64');
      const ack = await client.publishAsync(command.topic, payload, { qos, retain, properties });
      return ack?.reasonCode ?? 0;
    }
    case 'disconnect':
      await client.endAsync();
      return 0;
    case 'vanish':
      client.stream.destroy();
      return null;
    default:
      throw new Error(command.do);
  }
}

serve(perform, (error) => ({ type: error.name, message: error.message }));
