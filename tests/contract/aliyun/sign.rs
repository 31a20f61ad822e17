//! Calls of Aliyun, signed as the vendor's pages say it: version 1 (HMAC-SHA1 over the sorted
//! parameters) and version 3 (ACS3 over a canonical request).

use std::collections::BTreeMap;

use crate::exchange::Sent;
use crate::sign::{Hash, base64, encoded, form_encoded, hex, rsa_sha256};

pub(crate) const CLOCK: &str = "2026-11-21T22:51:00Z";
pub(crate) const HOST: &str = "127.0.0.1:21000";
pub(crate) const INSTANCE: &str = "post-cn-test0001";
const SECRET: &str = "testsecret";

pub(crate) const THROWAWAY: &str = include_str!("../../../fixtures/aliyun/keys/throwaway.pem");

/// Parameters by name, in the order in which they are sent.
pub(crate) type Parameters = Vec<(String, String)>;

pub(crate) fn canonical(parameters: &Parameters) -> String {
    let sorted: BTreeMap<_, _> = parameters.iter().cloned().collect();
    let pairs: Vec<String> = sorted
        .iter()
        .map(|(name, value)| format!("{}={}", encoded(name), encoded(value)))
        .collect();
    pairs.join("&")
}

/// A value put in the place of a parameter's, or behind them all; `None` takes it out.
pub(crate) fn set(parameters: &mut Parameters, name: &str, value: Option<&str>) {
    let at = parameters.iter().position(|(known, _)| known == name);
    match (at, value) {
        (Some(at), Some(value)) => value.clone_into(&mut parameters[at].1),
        (Some(at), None) => drop(parameters.remove(at)),
        (None, Some(value)) => parameters.push((name.to_owned(), value.to_owned())),
        (None, None) => (),
    }
}

/// A call with signature version 1: everything in the query, or in a form.
#[derive(Debug, Clone)]
pub(crate) struct V1 {
    pub(crate) method: String,
    pub(crate) host: String,
    pub(crate) path: String,
    pub(crate) parameters: Parameters,
    /// In the place of the right signature; an empty one is not sent.
    pub(crate) signature: Option<String>,
    /// Put behind the signed query.
    pub(crate) tail: String,
    pub(crate) in_form: bool,
}

impl V1 {
    /// A good SendMessage.
    pub(crate) fn new(format: &str) -> Self {
        let parameters = [
            ("AccessKeyId", "testid"),
            ("Action", "SendMessage"),
            ("Format", &format.to_uppercase()),
            ("InstanceId", INSTANCE),
            ("MqttTopic", "TopicA"),
            ("Payload", "hello"),
            ("SignatureMethod", "HMAC-SHA1"),
            ("SignatureNonce", "0123456789abcdef0123456789abcdef"),
            ("SignatureVersion", "1.0"),
            ("Timestamp", CLOCK),
            ("Version", "2020-04-20"),
        ];
        Self {
            method: "POST".to_owned(),
            host: HOST.to_owned(),
            path: "/".to_owned(),
            parameters: parameters
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            signature: None,
            tail: String::new(),
            in_form: false,
        }
    }

    pub(crate) fn set(mut self, name: &str, value: &str) -> Self {
        set(&mut self.parameters, name, Some(value));
        self
    }

    pub(crate) fn string_to_sign(&self) -> String {
        let method = if self.in_form { "POST" } else { &self.method };
        format!("{method}&%2F&{}", encoded(&canonical(&self.parameters)))
    }

    /// The right signature, or with `SHA256withRSA` that of the throw-away key.
    pub(crate) fn signature(&self) -> String {
        let text = self.string_to_sign();
        let by_rsa = ("SignatureMethod".to_owned(), "SHA256withRSA".to_owned());
        if self.parameters.contains(&by_rsa) {
            return base64(&rsa_sha256(THROWAWAY, &text));
        }
        let key = format!("{SECRET}&");
        base64(&Hash::Sha1.hmac(key.as_bytes(), text.as_bytes()))
    }

    pub(crate) fn sent(&self) -> Sent {
        let signature = self.signature.clone().unwrap_or_else(|| self.signature());
        let mut all = self.parameters.clone();
        if !signature.is_empty() {
            all.push(("Signature".to_owned(), signature));
        }
        let code = if self.in_form { form_encoded } else { encoded };
        let pairs: Vec<String> = all
            .iter()
            .map(|(name, value)| format!("{}={}", code(name), code(value)))
            .collect();
        let text = pairs.join("&") + &self.tail;
        let sent = Sent {
            method: self.method.clone(),
            ..Sent::default()
        };
        let sent = sent.header("Host", &self.host);
        if self.in_form {
            let kind = "application/x-www-form-urlencoded; charset=utf-8";
            let sent = sent.header("Content-Type", kind);
            return Sent {
                target: self.path.clone(),
                body: text.into_bytes(),
                ..sent
            };
        }
        Sent {
            target: format!("{}?{text}", self.path),
            ..sent.header("Accept", "*/*")
        }
    }
}

/// A call with signature version 3: parameters in the query, the rest in header fields.
#[derive(Debug, Clone)]
pub(crate) struct V3 {
    pub(crate) algorithm: String,
    pub(crate) method: String,
    pub(crate) key_id: String,
    pub(crate) secret: String,
    pub(crate) parameters: Parameters,
    pub(crate) body: String,
    /// The signed fields and those that are not.
    pub(crate) fields: Parameters,
    pub(crate) unsigned: Vec<String>,
    /// In the place of the right one.
    pub(crate) authorization: Option<String>,
}

impl V3 {
    /// A good SendMessage.
    pub(crate) fn new(format: &str) -> Self {
        let accept = format!("application/{format}");
        let fields = [
            ("host", HOST),
            ("x-acs-action", "SendMessage"),
            ("x-acs-version", "2020-04-20"),
            ("x-acs-date", CLOCK),
            ("x-acs-signature-nonce", "0123456789abcdef0123456789abcdef"),
            ("accept", &accept),
        ];
        let owned = |(name, value): (&str, &str)| (name.to_owned(), value.to_owned());
        let parameters = [
            ("InstanceId", INSTANCE),
            ("MqttTopic", "TopicA"),
            ("Payload", "hello"),
        ];
        Self {
            algorithm: "ACS3-HMAC-SHA256".to_owned(),
            method: "POST".to_owned(),
            key_id: "testid".to_owned(),
            secret: SECRET.to_owned(),
            parameters: parameters.map(owned).into(),
            body: String::new(),
            fields: fields.map(owned).into(),
            unsigned: Vec::new(),
            authorization: None,
        }
    }

    pub(crate) fn field(mut self, name: &str, value: Option<&str>) -> Self {
        set(&mut self.fields, name, value);
        self
    }

    fn hash(&self, text: &str) -> String {
        let hash = if self.algorithm.ends_with("SM3") {
            Hash::Sm3
        } else {
            Hash::Sha256
        };
        hex(&hash.of(text.as_bytes()))
    }

    /// The fields as they are sent, the body's hash among them unless there is another.
    fn all_fields(&self) -> Parameters {
        let mut fields = self.fields.clone();
        let name = "x-acs-content-sha256";
        if !fields.iter().any(|(known, _)| known == name) {
            fields.push((name.to_owned(), self.hash(&self.body)));
        }
        fields
    }

    fn signed(&self) -> Vec<String> {
        let names = self.all_fields().into_iter().map(|(name, _)| name);
        let mut names: Vec<_> = names.filter(|name| !self.unsigned.contains(name)).collect();
        names.sort();
        names
    }

    pub(crate) fn canonical_request(&self) -> String {
        let values: BTreeMap<_, _> = self.all_fields().into_iter().collect();
        let signed = self.signed();
        let lines = signed
            .iter()
            .map(|name| [name, ":", values[name].trim(), "\n"].concat());
        let block: String = lines.collect();
        [
            &*self.method,
            "/",
            &canonical(&self.parameters),
            &block,
            &signed.join(";"),
            &self.hash(&self.body),
        ]
        .join("\n")
    }

    pub(crate) fn string_to_sign(&self, canonical_request: &str) -> String {
        format!("{}\n{}", self.algorithm, self.hash(canonical_request))
    }

    pub(crate) fn signature(&self, text: &str) -> String {
        let hash = match &*self.algorithm {
            "ACS3-RSA-SHA256" => return hex(&rsa_sha256(THROWAWAY, text)),
            "ACS3-HMAC-SM3" => Hash::Sm3,
            _ => Hash::Sha256,
        };
        hex(&hash.hmac(self.secret.as_bytes(), text.as_bytes()))
    }

    /// Signed with `signature`.
    pub(crate) fn sent_with(&self, signature: &str) -> Sent {
        let authorization = self.authorization.clone().unwrap_or_else(|| {
            format!(
                "{} Credential={},SignedHeaders={},Signature={signature}",
                self.algorithm,
                self.key_id,
                self.signed().join(";")
            )
        });
        let pairs: Vec<String> = self
            .parameters
            .iter()
            .map(|(name, value)| format!("{}={}", form_encoded(name), form_encoded(value)))
            .collect();
        let query = pairs.join("&");
        let mut headers = self.all_fields();
        headers.push(("Authorization".to_owned(), authorization));
        Sent {
            method: self.method.clone(),
            target: if query.is_empty() {
                "/".to_owned()
            } else {
                format!("/?{query}")
            },
            headers,
            body: self.body.clone().into_bytes(),
            ..Sent::default()
        }
    }

    pub(crate) fn sent(&self) -> Sent {
        let text = self.string_to_sign(&self.canonical_request());
        self.sent_with(&self.signature(&text))
    }
}
