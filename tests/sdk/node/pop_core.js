// @alicloud/pop-core: signature version 1.0, by GET (its default) or by POST.
'use strict';

const { RPCClient } = require('@alicloud/pop-core');
const { serve } = require('./agent');

async function send(command) {
  const client = new RPCClient({
    accessKeyId: command.key,
    accessKeySecret: command.secret,
    endpoint: `http://${command.endpoint}`,
    apiVersion: '2020-04-20',
  });
  const parameters = {
    InstanceId: command.instance,
    MqttTopic: command.topic,
    Payload: command.payload,
  };
  for (const name of Object.keys(parameters)) {
    if (parameters[name] === undefined) delete parameters[name];
  }
  return client.request('SendMessage', parameters, { method: command.variant });
}

function describe(error) {
  return {
    type: error.name,
    code: error.code,
    message: error.message,
    request_id: error.data && error.data.RequestId,
  };
}

serve(send, describe);
