//! The query parameters of `POST /topics/{topic}` and of `POST /keep-alive`: names without regard to
//! case, the first of several equal ones counts, anything unknown is passed over with a hint for the
//! journal.
//!
//! Sources: the parameter tables of tencentcloud.com/document/product/1294/76451 and /76754. That the MQTT 5
//! properties travel in the query, that `UserProp.N` may start at any number, and the exact
//! spelling of a boolean are assumed.

use std::borrow::Cow;
use std::collections::{BTreeMap, HashSet};

use bytes::Bytes;
use mqttstack_base::message::{Properties, Qos, TopicName};
use mqttstack_kit::form;

use super::error::Error;

/// The longest MQTT string, in bytes of UTF-8.
const MAX_STRING: usize = 65_535;

/// What the query says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Parameters {
    /// `qos`, 1 where absent. 2 is taken, as the broker takes it (assumed).
    pub qos: Qos,
    /// `retained`, false where absent.
    pub retain: bool,
    /// `client_id`.
    pub client_id: Option<String>,
    /// `username`.
    pub username: Option<String>,
    /// The MQTT 5 properties.
    pub properties: Properties,
    /// Hints about what was passed over.
    pub hints: Vec<String>,
}

impl Default for Parameters {
    fn default() -> Self {
        Self {
            qos: Qos::AtLeastOnce,
            retain: false,
            client_id: None,
            username: None,
            properties: Properties::default(),
            hints: Vec::new(),
        }
    }
}

#[derive(Default)]
struct Pair {
    key: Option<String>,
    value: Option<String>,
}

/// Reads the query.
pub(super) fn parse(raw_query: &str) -> Result<Parameters, Error> {
    let mut parameters = Parameters::default();
    let mut pairs = BTreeMap::<u32, Pair>::new();
    let (fields, hints) = fields(raw_query)?;
    parameters.hints = hints;
    for Field { name, lower, value } in fields {
        take(&mut parameters, &mut pairs, &name, &lower, value)?;
    }
    parameters.properties.user_properties = user_properties(pairs)?;
    Ok(parameters)
}

/// What the query of `POST /keep-alive` says.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct KeepAlive {
    /// `client-id`.
    pub client_id: String,
    /// `interval`, 30 to 1200 seconds.
    pub interval: u16,
    /// Hints about what was passed over.
    pub hints: Vec<String>,
}

/// Reads the query of `POST /keep-alive`.
pub(super) fn keep_alive(raw_query: &str) -> Result<KeepAlive, Error> {
    let (mut client_id, mut interval) = (None, None);
    let (fields, mut hints) = fields(raw_query)?;
    for Field { name, lower, value } in fields {
        match &*lower {
            "client-id" => client_id = optional("client-id", value)?,
            "interval" => interval = Some(seconds(&value)?),
            _ => hints.push(unknown(&name)),
        }
    }
    let missing = |name| Error::Parameter {
        name: String::from(name),
        problem: "it is missing".to_owned(),
    };
    Ok(KeepAlive {
        client_id: client_id.ok_or_else(|| missing("client-id"))?,
        interval: interval.ok_or_else(|| missing("interval"))?,
        hints,
    })
}

fn seconds(value: &str) -> Result<u16, Error> {
    let all_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = value.parse().ok().filter(|_| all_digits);
    seconds
        .filter(|seconds| (30..=1_200).contains(seconds))
        .ok_or_else(|| {
            invalid(
                "interval",
                format!("{value:?} is not a number of seconds from 30 to 1200"),
            )
        })
}

/// One parameter.
struct Field {
    name: String,
    lower: String,
    value: String,
}

/// The parameters, each name once, and hints about those that came again.
fn fields(raw_query: &str) -> Result<(Vec<Field>, Vec<String>), Error> {
    let mut fields = Vec::new();
    let mut hints = Vec::new();
    let mut seen = HashSet::new();
    // A `+` is a space (assumed, as in Java's URL decoder).
    let decode = |text| form::decode_field(text).map(Cow::into_owned);
    for (name, value) in form::fields(raw_query) {
        let name = decode(name).map_err(|_| invalid(name, "its name is not UTF-8"))?;
        let value =
            decode(value).map_err(|_| invalid(&name, "its value is not percent-encoded UTF-8"))?;
        let lower = name.to_ascii_lowercase();
        if seen.insert(lower.clone()) {
            fields.push(Field { name, lower, value });
        } else {
            let hint = format!("parameter {name} came more than once: the first one counts");
            hints.push(hint);
        }
    }
    Ok((fields, hints))
}

fn unknown(name: &str) -> String {
    format!("parameter {name} is not known and was passed over")
}

fn take(
    parameters: &mut Parameters,
    pairs: &mut BTreeMap<u32, Pair>,
    name: &str,
    lower: &str,
    value: String,
) -> Result<(), Error> {
    let properties = &mut parameters.properties;
    match lower {
        "qos" => parameters.qos = qos(&value)?,
        "retained" => parameters.retain = flag("retained", &value)?,
        "client_id" => parameters.client_id = optional("client_id", value)?,
        "username" => parameters.username = optional("username", value)?,
        "responsetopic" => properties.response_topic = Some(response_topic(value)?),
        "correlationdata" => {
            properties.correlation_data = Some(Bytes::from(string("CorrelationData", value)?));
        }
        "contenttype" => properties.content_type = Some(string("ContentType", value)?),
        "payloadformatindicator" => {
            properties.payload_format_indicator = Some(indicator(&value)?);
        }
        "messageexpiryinterval" => properties.message_expiry_interval = expiry(&value)?,
        _ => match user_property(lower) {
            Some((n, "key")) => pair(pairs, n)?.key = Some(string(name, value)?),
            Some((n, "value")) => pair(pairs, n)?.value = Some(string(name, value)?),
            _ => parameters.hints.push(unknown(name)),
        },
    }
    Ok(())
}

fn invalid(name: &str, problem: impl Into<String>) -> Error {
    Error::Parameter {
        name: name.to_owned(),
        problem: problem.into(),
    }
}

/// The longest text that MQTT can carry, without the null character.
fn string(name: &str, value: String) -> Result<String, Error> {
    if value.len() > MAX_STRING {
        return Err(invalid(name, "it is longer than 65535 bytes"));
    }
    if value.contains('\0') {
        return Err(invalid(name, "it contains the null character"));
    }
    Ok(value)
}

fn optional(name: &str, value: String) -> Result<Option<String>, Error> {
    string(name, value).map(|value| Some(value).filter(|value| !value.is_empty()))
}

fn qos(value: &str) -> Result<Qos, Error> {
    match value {
        "0" => Ok(Qos::AtMostOnce),
        "1" => Ok(Qos::AtLeastOnce),
        "2" => Ok(Qos::ExactlyOnce),
        _ => Err(invalid("qos", format!("{value:?} is not 0, 1 or 2"))),
    }
}

fn flag(name: &str, value: &str) -> Result<bool, Error> {
    if value.eq_ignore_ascii_case("true") {
        Ok(true)
    } else if value.eq_ignore_ascii_case("false") {
        Ok(false)
    } else {
        Err(invalid(name, format!("{value:?} is not true or false")))
    }
}

fn indicator(value: &str) -> Result<bool, Error> {
    match value {
        "0" => Ok(false),
        "1" => Ok(true),
        _ => Err(invalid(
            "PayloadFormatIndicator",
            format!("{value:?} is not 0 or 1"),
        )),
    }
}

/// Zero means that the message never expires, as the cloud API's data types say.
fn expiry(value: &str) -> Result<Option<u32>, Error> {
    let all_digits = !value.is_empty() && value.bytes().all(|byte| byte.is_ascii_digit());
    let seconds = value.parse::<u32>().ok().filter(|_| all_digits);
    let seconds = seconds.ok_or_else(|| {
        invalid(
            "MessageExpiryInterval",
            format!("{value:?} is not a number of seconds from 0 to 4294967295"),
        )
    })?;
    Ok(Some(seconds).filter(|seconds| *seconds > 0))
}

fn response_topic(value: String) -> Result<String, Error> {
    TopicName::parse(value)
        .map(|topic| topic.to_string())
        .map_err(|error| invalid("ResponseTopic", error.to_string()))
}

/// `userprop.7.key` is `(Some(7), "key")`; a number that is none is `None`.
fn user_property(lower: &str) -> Option<(Option<u32>, &str)> {
    let (n, half) = lower.strip_prefix("userprop.")?.rsplit_once('.')?;
    let all_digits = n.bytes().all(|byte| byte.is_ascii_digit());
    Some((n.parse().ok().filter(|_| all_digits), half))
}

fn pair(pairs: &mut BTreeMap<u32, Pair>, n: Option<u32>) -> Result<&mut Pair, Error> {
    let n = n.ok_or_else(|| invalid("UserProp.N", "N is not a number"))?;
    Ok(pairs.entry(n).or_default())
}

fn user_properties(pairs: BTreeMap<u32, Pair>) -> Result<Vec<(String, String)>, Error> {
    let unpaired = |n, present, missing| Error::UnpairedUserProperty {
        n,
        present,
        missing,
    };
    pairs
        .into_iter()
        .map(|(n, pair)| match (pair.key, pair.value) {
            (Some(key), Some(value)) => Ok((key, value)),
            (Some(_), None) => Err(unpaired(n, "Key", "Value")),
            (None, _) => Err(unpaired(n, "Value", "Key")),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_read_without_regard_to_case_and_defaults_hold() {
        let parameters = parse("QoS=0&RETAINED=True&Client_Id=c&userName=u").unwrap();
        assert_eq!(parameters.qos, Qos::AtMostOnce);
        assert!(parameters.retain);
        assert_eq!(parameters.client_id.as_deref(), Some("c"));
        assert_eq!(parameters.username.as_deref(), Some("u"));
        assert_eq!(parse("").unwrap(), Parameters::default());
        assert_eq!(parse("").unwrap().qos, Qos::AtLeastOnce);
    }

    #[test]
    fn user_properties_come_in_the_order_of_their_numbers() {
        let query = "UserProp.10.Key=b&UserProp.10.Value=2&userprop.2.value=1&UserProp.2.Key=b";
        let parsed = parse(query).unwrap().properties.user_properties;
        let expected = [("b".to_owned(), "1".to_owned()), ("b".into(), "2".into())];
        assert_eq!(parsed, expected);
    }

    #[test]
    fn a_repeated_or_unknown_parameter_leaves_a_hint() {
        let parameters = parse("qos=0&QOS=1&retain=true").unwrap();
        assert_eq!(parameters.qos, Qos::AtMostOnce);
        assert_eq!(parameters.hints.len(), 2, "{:?}", parameters.hints);
    }

    #[test]
    fn every_bad_value_names_its_parameter() {
        for (query, needle) in [
            ("qos=3", "qos"),
            ("qos=", "qos"),
            ("qos=+1", "qos"),
            ("retained=1", "retained"),
            ("client_id=%00", "client_id"),
            ("ResponseTopic=a/%23", "ResponseTopic"),
            ("ResponseTopic=", "ResponseTopic"),
            ("PayloadFormatIndicator=2", "PayloadFormatIndicator"),
            ("MessageExpiryInterval=-1", "MessageExpiryInterval"),
            ("MessageExpiryInterval=%2B1", "MessageExpiryInterval"),
            ("MessageExpiryInterval=4294967296", "MessageExpiryInterval"),
            ("UserProp.1.Key=k", "UserProp.1.Value"),
            ("UserProp.1.Value=v", "UserProp.1.Key"),
            ("UserProp.x.Key=k", "N is not a number"),
            ("UserProp.-1.Key=k", "N is not a number"),
            ("ContentType=%ff", "ContentType"),
            ("ContentType=%f", "ContentType"),
            ("ContentType=%", "ContentType"),
        ] {
            let error = parse(query).unwrap_err().to_string();
            assert!(error.contains(needle), "{query}: {error}");
        }
    }

    #[test]
    fn a_keep_alive_needs_a_client_and_an_interval_in_range() {
        let asked = keep_alive("Client-ID=dev%201&interval=0120&interval=5&x=1").unwrap();
        assert_eq!((&*asked.client_id, asked.interval), ("dev 1", 120));
        assert_eq!(asked.hints.len(), 2, "{:?}", asked.hints);
        for (query, needle) in [
            ("", "client-id: it is missing"),
            ("interval=30", "client-id: it is missing"),
            ("client-id=&interval=30", "client-id: it is missing"),
            ("client-id=a", "interval: it is missing"),
            ("client-id=a&interval=", "from 30 to 1200"),
            ("client-id=a&interval=29", "\"29\""),
            ("client-id=a&interval=1201", "\"1201\""),
            ("client-id=a&interval=0", "\"0\""),
            ("client-id=a&interval=-60", "\"-60\""),
            ("client-id=a&interval=60.0", "\"60.0\""),
            ("client-id=a&interval=%2B60", "\"+60\""),
            ("client-id=a&interval=65596", "\"65596\""),
            ("client-id=a&interval=99999999999999999999", "interval"),
            ("client-id=a%00&interval=60", "null character"),
            ("client-id=%ff&interval=60", "UTF-8"),
        ] {
            let error = keep_alive(query).unwrap_err().to_string();
            assert!(error.contains(needle), "{query}: {error}");
        }
    }

    #[test]
    fn an_expiry_of_zero_never_expires() {
        let properties = parse("MessageExpiryInterval=0").unwrap().properties;
        assert_eq!(properties.message_expiry_interval, None);
    }

    proptest::proptest! {
        #[test]
        fn no_query_breaks_the_reading(query in ".*", encoded in "([%&=.+]|[0-9a-fA-F]|UserProp|Key)*") {
            let _ = parse(&query);
            let _ = parse(&encoded);
        }
    }
}
