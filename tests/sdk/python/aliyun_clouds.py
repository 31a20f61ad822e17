"""Two generations of the vendor's Python SDK behind one call: an action by its name with its parameters
by theirs, as the vendor's documents spell them."""

import importlib
import importlib.util
import json
import re


class Refused(Exception):
    """What an SDK raised, by the code in it."""

    def __init__(self, code, message):
        super().__init__(f"{code}: {message}")
        self.code = code


class Cloud:
    """One SDK. `call` answers with the body as a dictionary."""

    def has(self, action):
        raise NotImplementedError

    def call(self, action, **parameters):
        raise NotImplementedError

    def refused(self, code, action, **parameters):
        try:
            answer = self.call(action, **parameters)
        except Refused as refusal:
            assert refusal.code == code, (refusal, code)
            return
        raise AssertionError(f"{action} was not refused: {answer}")


class RequestClasses(Cloud):
    """aliyun-python-sdk-core with aliyun-python-sdk-onsmqtt, the old one: thirteen actions."""

    def __init__(self, endpoint, key, secret):
        from aliyunsdkcore.client import AcsClient

        self.host, port = endpoint.split(":")
        self.client = AcsClient(key, secret, "cn-hangzhou", port=int(port))

    @staticmethod
    def _module(action):
        return f"aliyunsdkonsmqtt.request.v20200420.{action}Request"

    def has(self, action):
        return importlib.util.find_spec(self._module(action)) is not None

    def call(self, action, **parameters):
        from aliyunsdkcore.acs_exception.exceptions import ServerException

        request = getattr(importlib.import_module(self._module(action)), f"{action}Request")()
        for name, value in parameters.items():
            setter = f"set_{name}s" if isinstance(value, list) else f"set_{name}"
            getattr(request, setter)(value)
        request.set_endpoint(self.host)
        request.set_accept_format("json")
        try:
            return json.loads(self.client.do_action_with_exception(request))
        except ServerException as error:
            raise Refused(error.get_error_code(), error.get_error_msg()) from error


class ProductClient(Cloud):
    """alibabacloud-onsmqtt20200420, the new one: signature version 1.0 up to 1.0.2, ACS3 since 1.1.0."""

    def __init__(self, endpoint, key, secret):
        from alibabacloud_onsmqtt20200420 import models
        from alibabacloud_onsmqtt20200420.client import Client
        from alibabacloud_tea_openapi.models import Config

        self.models = models
        self.client = Client(
            Config(access_key_id=key, access_key_secret=secret, endpoint=endpoint, protocol="http")
        )

    @staticmethod
    def _method(action):
        return re.sub(r"(?<!^)(?=[A-Z])", "_", action).lower()

    def has(self, action):
        return hasattr(self.client, self._method(action))

    def call(self, action, **parameters):
        request = getattr(self.models, f"{action}Request")().from_map(parameters)
        try:
            return getattr(self.client, self._method(action))(request).body.to_map()
        except Exception as error:
            code = getattr(error, "code", None)
            if code is None:
                raise
            raise Refused(code, error.message) from error


CLOUDS = {"request-classes": RequestClasses, "product-client": ProductClient}
