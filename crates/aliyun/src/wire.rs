//! How answers look on the wire: XML or JSON, chosen by the request, with the header fields
//! that every answer of the gateway carries. Refusals get their words from `error.rs`.

use std::borrow::Cow;

use base64::Engine;
use base64::prelude::BASE64_STANDARD_NO_PAD;
use jiff::fmt::rfc2822::DateTimePrinter;
use mqttstack_base::exchange::{Answer, Receipt};
use quick_xml::escape::partial_escape;
use serde::{Deserialize, Serialize, Serializer};
use sha2::{Digest, Sha256};

use super::envelope::{Envelope, Scheme};
use super::parameters::Parameters;
use super::settings::Settings;

/// What the gateway puts before every XML document (captured: quoted in public issue threads).
const XML_DECLARATION: &str = "<?xml version='1.0' encoding='UTF-8'?>";

/// The format of an answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Format {
    /// XML.
    Xml,
    /// JSON.
    Json,
}

/// A `Format` parameter that is neither XML nor JSON; answered in the default format.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct UnknownFormat(pub(super) Format);

impl Format {
    /// The format that a request asks for: V1 by `Format` (any case), V3 by `Accept`.
    pub(super) fn wanted(
        envelope: &Envelope<'_>,
        parameters: &Parameters<'_>,
        settings: &Settings,
    ) -> Result<Self, UnknownFormat> {
        if matches!(envelope.scheme, Scheme::V3 { .. } | Scheme::V3Bearer(_)) {
            return Ok(Self::from_accept(envelope.accept).unwrap_or(settings.default_format_v3));
        }
        match parameters.get("Format") {
            "" => Ok(settings.default_format_v1),
            text if text.eq_ignore_ascii_case("xml") => Ok(Self::Xml),
            text if text.eq_ignore_ascii_case("json") => Ok(Self::Json),
            _ => Err(UnknownFormat(settings.default_format_v1)),
        }
    }

    /// The first media type of an `Accept` list that is XML or JSON.
    fn from_accept(accept: &str) -> Option<Self> {
        accept.split(',').find_map(|range| {
            let media_type = range.split(';').next().unwrap_or_default().trim();
            let (_, subtype) = media_type.split_once('/')?;
            if subtype.eq_ignore_ascii_case("xml") {
                Some(Self::Xml)
            } else if subtype.eq_ignore_ascii_case("json") {
                Some(Self::Json)
            } else {
                None
            }
        })
    }

    /// The content type, byte for byte: the newest Python SDK reads an XML error only under
    /// exactly this text (measured).
    pub(super) const fn content_type(self) -> &'static str {
        match self {
            Self::Xml => "text/xml;charset=utf-8",
            Self::Json => "application/json;charset=utf-8",
        }
    }

    /// A document: `root` names the XML element, JSON has no root.
    pub(super) fn document(self, root: &str, fields: &[Field<'_>]) -> String {
        match self {
            Self::Xml => {
                let mut xml = String::with_capacity(256);
                xml.push_str(XML_DECLARATION);
                element(&mut xml, root, |xml| {
                    for field in fields {
                        field.write_xml(xml);
                    }
                });
                xml
            }
            // Names and values are text: this cannot fail.
            Self::Json => serde_json::to_string(&Fields(fields)).unwrap_or_default(),
        }
    }
}

fn element(xml: &mut String, name: &str, content: impl FnOnce(&mut String)) {
    xml.extend(["<", name, ">"]);
    content(xml);
    xml.extend(["</", name, ">"]);
}

/// One field of a document.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    name: &'static str,
    value: Value<'a>,
}

/// What a field holds.
#[derive(Debug, Clone)]
pub(super) enum Value<'a> {
    /// Text; escaped in XML.
    Text(Cow<'a, str>),
    /// Text that stands in a CDATA section in XML, as the gateway writes `Recommend`.
    Cdata(Cow<'a, str>),
    /// A number; JSON writes it as one.
    Number(i64),
    /// A truth value; JSON writes it as one.
    Bool(bool),
    /// Fields of its own.
    Object(Vec<Field<'a>>),
    /// Any number of values. XML repeats the field for each, without an element around them.
    List(Vec<Value<'a>>),
}

impl<'a> From<&'a str> for Value<'a> {
    fn from(text: &'a str) -> Self {
        Self::Text(text.into())
    }
}

impl From<String> for Value<'_> {
    fn from(text: String) -> Self {
        Self::Text(text.into())
    }
}

impl<'a> From<Cow<'a, str>> for Value<'a> {
    fn from(text: Cow<'a, str>) -> Self {
        Self::Text(text)
    }
}

impl From<i64> for Value<'_> {
    fn from(number: i64) -> Self {
        Self::Number(number)
    }
}

impl From<bool> for Value<'_> {
    fn from(value: bool) -> Self {
        Self::Bool(value)
    }
}

impl<'a> From<Vec<Field<'a>>> for Value<'a> {
    fn from(fields: Vec<Field<'a>>) -> Self {
        Self::Object(fields)
    }
}

impl<'a> Field<'a> {
    /// A field.
    pub(super) fn new(name: &'static str, value: impl Into<Value<'a>>) -> Self {
        Self {
            name,
            value: value.into(),
        }
    }

    /// A field that stands in a CDATA section in XML.
    pub(super) fn cdata(name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self::new(name, Value::Cdata(value.into()))
    }

    /// A list, one value for each item.
    pub(super) fn list<V: Into<Value<'a>>>(
        name: &'static str,
        items: impl IntoIterator<Item = V>,
    ) -> Self {
        Self::new(
            name,
            Value::List(items.into_iter().map(Into::into).collect()),
        )
    }

    fn write_xml(&self, xml: &mut String) {
        if let Value::List(values) = &self.value {
            for value in values {
                element(xml, self.name, |xml| value.write_xml(xml));
            }
        } else {
            element(xml, self.name, |xml| self.value.write_xml(xml));
        }
    }
}

impl Value<'_> {
    fn write_xml(&self, xml: &mut String) {
        match self {
            Self::Cdata(text) if !text.contains("]]>") => {
                xml.extend(["<![CDATA[", text, "]]>"]);
            }
            Self::Text(text) | Self::Cdata(text) => xml.push_str(&partial_escape(&**text)),
            Self::Number(number) => xml.push_str(&number.to_string()),
            Self::Bool(value) => xml.push_str(if *value { "true" } else { "false" }),
            Self::Object(fields) => {
                for field in fields {
                    field.write_xml(xml);
                }
            }
            // No list of the vendor holds lists.
            Self::List(values) => {
                for value in values {
                    value.write_xml(xml);
                }
            }
        }
    }
}

impl Serialize for Value<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        match self {
            Self::Text(text) | Self::Cdata(text) => serializer.serialize_str(text),
            Self::Number(number) => serializer.serialize_i64(*number),
            Self::Bool(value) => serializer.serialize_bool(*value),
            Self::Object(fields) => Fields(fields).serialize(serializer),
            Self::List(values) => serializer.collect_seq(values),
        }
    }
}

struct Fields<'a>(&'a [Field<'a>]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|field| (field.name, &field.value)))
    }
}

/// The answer of an action that succeeded: `<ActionResponse>` with its `RequestId` first.
pub(super) fn success(
    format: Format,
    root: &str,
    fields: &[Field<'_>],
    receipt: &Receipt,
) -> Answer {
    answer(200, format, format.document(root, fields), receipt)
}

/// What every answer of the gateway lets the page of any origin read (captured: seven answers of
/// other products printed in public, 2022 to 2025; the second field since October 2023).
const ANY_ORIGIN: [(&str, &str); 2] = [
    ("Access-Control-Allow-Origin", "*"),
    ("Access-Control-Expose-Headers", "*"),
];

/// The form of the gateway's (captured): the first digit of the body's length, 22 characters of
/// Base64, the last digit. The characters are a hash of the body there too, by another algorithm.
fn entity_tag(document: &str) -> String {
    let length = document.len().to_string();
    let digest = Sha256::digest(document);
    let hash = BASE64_STANDARD_NO_PAD.encode(&digest[..16]);
    let (first, last) = (length.chars().next(), length.chars().last());
    first.into_iter().chain(hash.chars()).chain(last).collect()
}

/// 32 hexadecimal digits (captured); here those of the request id, so that either finds the
/// request.
fn trace_id(receipt: &Receipt) -> String {
    let digits = receipt.id.chars().filter(char::is_ascii_hexdigit);
    digits.map(|digit| digit.to_ascii_lowercase()).collect()
}

/// An answer with the header fields that all of them carry.
pub(super) fn answer(status: u16, format: Format, document: String, receipt: &Receipt) -> Answer {
    let date = DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&receipt.now)
        .unwrap_or_default();
    let answer = Answer::new(status)
        .header("Content-Type", format.content_type())
        .header("Date", date);
    ANY_ORIGIN
        .into_iter()
        .fold(answer, |answer, (name, value)| answer.header(name, value))
        .header("x-acs-request-id", receipt.id.clone())
        .header("x-acs-trace-id", trace_id(receipt))
        .header("ETag", entity_tag(&document))
        .body(document)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_first_xml_or_json_range_of_accept_decides() {
        for (accept, format) in [
            ("application/json", Some(Format::Json)),
            ("text/xml", Some(Format::Xml)),
            ("*/*, application/XML;q=0.9", Some(Format::Xml)),
            ("text/html, application/json, text/xml", Some(Format::Json)),
            ("*/*", None),
            ("", None),
        ] {
            assert_eq!(Format::from_accept(accept), format, "{accept}");
        }
    }

    #[test]
    fn text_is_escaped_and_cdata_is_not() {
        let fields = [
            Field::new("Message", "a<b&\"c\" don't"),
            Field::cdata("Recommend", "https://x/?q=1&r=2"),
        ];
        assert_eq!(
            Format::Xml.document("Error", &fields),
            "<?xml version='1.0' encoding='UTF-8'?><Error><Message>a&lt;b&amp;\"c\" don't\
             </Message><Recommend><![CDATA[https://x/?q=1&r=2]]></Recommend></Error>"
        );
        assert_eq!(
            Format::Json.document("Error", &fields),
            r#"{"Message":"a<b&\"c\" don't","Recommend":"https://x/?q=1&r=2"}"#
        );
    }

    #[test]
    fn xml_repeats_the_items_of_a_list_and_json_keeps_their_types() {
        let fields = [
            Field::list("Data", [vec![Field::new("N", 1)], vec![Field::new("N", 2)]]),
            Field::list("None", Vec::<&str>::new()),
            Field::new("Online", true),
        ];
        assert_eq!(
            Format::Xml.document("R", &fields),
            "<?xml version='1.0' encoding='UTF-8'?><R><Data><N>1</N></Data><Data><N>2</N></Data>\
             <Online>true</Online></R>"
        );
        assert_eq!(
            Format::Json.document("R", &fields),
            r#"{"Data":[{"N":1},{"N":2}],"None":[],"Online":true}"#
        );
    }
}
