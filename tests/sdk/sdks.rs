//! The SDKs, how each is run, and by which of its own types it tells an error.

use mqttstack::Emulator;
use serde_json::{Value, json};

use crate::install::Runtime;
use crate::script::Script;

/// One way of calling SendMessage with an SDK.
pub struct Sdk {
    pub runtime: Runtime,
    pub script: &'static str,
    pub variant: &'static str,
    pub errors: Errors,
}

/// How an SDK tells its errors.
pub struct Errors {
    /// The type for a status of 4xx; `None` where each code has a type, `<Code>Error`.
    pub refused: Option<&'static str>,
    /// The type for a status of 5xx.
    pub failed: Option<&'static str>,
    /// The type for an answer with `x-acs-retry-after`.
    pub throttled: Option<&'static str>,
    /// The type when nobody listens, and its code.
    pub unreachable: (&'static str, Option<&'static str>),
    /// The code that a wrong secret is told by.
    pub wrong_secret: &'static str,
}

/// `aliyun-python-sdk-onsmqtt`'s request class: signature 1.0, all in the query. It compares the
/// string to sign of a `SignatureDoesNotMatch` with its own to tell a wrong secret.
pub const ALIYUN_PYTHON: Sdk = Sdk {
    runtime: Runtime::Python,
    script: "aliyun_python_sdk.py",
    variant: "typed",
    errors: Errors {
        refused: Some("ServerException"),
        failed: Some("ServerException"),
        throttled: Some("ServerException"),
        unreachable: ("ClientException", Some("SDK.HttpError")),
        wrong_secret: "InvalidAccessKeySecret",
    },
};

/// `aliyun-python-sdk-core`'s `CommonRequest`: signature 1.0, split. It forgets its own string to
/// sign, so that a wrong secret stays what the cloud called it.
pub const ALIYUN_PYTHON_COMMON: Sdk = Sdk {
    variant: "common",
    errors: Errors {
        wrong_secret: "SignatureDoesNotMatch",
        ..ALIYUN_PYTHON.errors
    },
    ..ALIYUN_PYTHON
};

/// `alibabacloud-onsmqtt20200420` 1.0.2: signature 1.0, split.
pub const ONSMQTT_V1: Sdk = Sdk {
    runtime: Runtime::Python,
    script: "alibabacloud_onsmqtt.py",
    variant: "",
    errors: Errors {
        refused: Some("ClientException"),
        failed: Some("ServerException"),
        throttled: Some("ThrottlingException"),
        unreachable: ("UnretryableException", None),
        wrong_secret: "SignatureDoesNotMatch",
    },
};

/// `alibabacloud-onsmqtt20200420` 1.7.1: ACS3-HMAC-SHA256.
pub const ONSMQTT_V3: Sdk = Sdk {
    runtime: Runtime::PythonNewest,
    ..ONSMQTT_V1
};

/// `@alicloud/pop-core` by GET, its default: signature 1.0, all in the query.
pub const POP_CORE_GET: Sdk = Sdk {
    runtime: Runtime::Node,
    script: "pop_core.js",
    variant: "GET",
    errors: Errors {
        refused: None,
        failed: None,
        throttled: None,
        unreachable: ("Error", Some("ECONNREFUSED")),
        wrong_secret: "SignatureDoesNotMatch",
    },
};

/// `@alicloud/pop-core` by POST: signature 1.0, all in the body.
pub const POP_CORE_POST: Sdk = Sdk {
    variant: "POST",
    ..POP_CORE_GET
};

/// `@alicloud/openapi-client`'s generic call: ACS3-HMAC-SHA256. It has one type of error.
pub const OPENAPI_CLIENT: Sdk = Sdk {
    runtime: Runtime::Node,
    script: "openapi_client.js",
    variant: "",
    errors: Errors {
        refused: Some("Error"),
        failed: Some("Error"),
        throttled: Some("Error"),
        unreachable: ("Error", Some("ECONNREFUSED")),
        wrong_secret: "SignatureDoesNotMatch",
    },
};

impl Sdk {
    pub async fn start(&self) -> Script {
        Script::start(self.runtime, self.script).await
    }

    /// A SendMessage that succeeds. An entry that is removed is a parameter that is not given.
    pub fn call(&self, emulator: &Emulator) -> Value {
        json!({
            "variant": self.variant,
            "endpoint": emulator.http_url().unwrap().strip_prefix("http://").unwrap(),
            "key": "testid",
            "secret": "testsecret",
            "instance": "post-cn-test0001",
            "topic": "demo/a",
            "payload": "hello",
        })
    }
}
