// @alicloud/openapi-client, its generic call: ACS3-HMAC-SHA256. There is no product package.
'use strict';

const OpenApi = require('@alicloud/openapi-client');
const { RuntimeOptions } = require('@alicloud/tea-util');
const { serve } = require('./agent');

async function send(command) {
  const client = new OpenApi.default(
    new OpenApi.Config({
      accessKeyId: command.key,
      accessKeySecret: command.secret,
      endpoint: command.endpoint,
      protocol: 'http',
    }),
  );
  const params = new OpenApi.Params({
    action: 'SendMessage',
    version: '2020-04-20',
    protocol: 'HTTP',
    pathname: '/',
    method: 'POST',
    authType: 'AK',
    style: 'RPC',
    reqBodyType: 'formData',
    bodyType: 'json',
  });
  const query = {
    InstanceId: command.instance,
    MqttTopic: command.topic,
    Payload: command.payload,
  };
  for (const name of Object.keys(query)) {
    if (query[name] === undefined) delete query[name];
  }
  const request = new OpenApi.OpenApiRequest({ query });
  const answer = await client.callApi(params, request, new RuntimeOptions({}));
  return answer.body;
}

function describe(error) {
  return {
    type: error.constructor.name,
    name: error.name,
    code: error.code,
    message: error.message,
    status: error.statusCode ?? error.data?.statusCode,
    request_id: error.data?.RequestId,
    retry_after: error.retryAfter,
  };
}

serve(send, describe);
