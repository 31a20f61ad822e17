//! How answers look on the wire: XML or JSON, chosen by the request, with the header fields
//! that every answer of the gateway carries. Refusals get their words from `error.rs`.

use std::borrow::Cow;

use jiff::fmt::rfc2822::DateTimePrinter;
use quick_xml::escape::partial_escape;
use serde::{Deserialize, Serialize, Serializer};

use super::envelope::{Envelope, Scheme};
use super::parameters::Parameters;
use super::settings::Settings;
use crate::exchange::{Answer, Receipt};

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

    /// A flat document: `root` names the XML element, JSON has no root.
    pub(super) fn document(self, root: &str, fields: &[Field<'_>]) -> String {
        match self {
            Self::Xml => {
                let mut xml = String::with_capacity(256);
                xml.push_str(XML_DECLARATION);
                element(&mut xml, root, |xml| {
                    for field in fields {
                        element(xml, field.name, |xml| field.write_xml(xml));
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

/// One field of a flat document.
#[derive(Debug, Clone)]
pub(super) struct Field<'a> {
    name: &'static str,
    value: Cow<'a, str>,
    cdata: bool,
}

impl<'a> Field<'a> {
    /// A field whose text is escaped in XML.
    pub(super) fn new(name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self {
            name,
            value: value.into(),
            cdata: false,
        }
    }

    /// A field that stands in a CDATA section in XML, as the gateway writes `Recommend`.
    pub(super) fn cdata(name: &'static str, value: impl Into<Cow<'a, str>>) -> Self {
        Self {
            cdata: true,
            ..Self::new(name, value)
        }
    }

    fn write_xml(&self, xml: &mut String) {
        if self.cdata && !self.value.contains("]]>") {
            xml.extend(["<![CDATA[", &*self.value, "]]>"]);
        } else {
            xml.push_str(&partial_escape(&*self.value));
        }
    }
}

struct Fields<'a>(&'a [Field<'a>]);

impl Serialize for Fields<'_> {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_map(self.0.iter().map(|field| (field.name, &*field.value)))
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

/// An answer with the header fields that all of them carry.
pub(super) fn answer(status: u16, format: Format, document: String, receipt: &Receipt) -> Answer {
    let date = DateTimePrinter::new()
        .timestamp_to_rfc9110_string(&receipt.now)
        .unwrap_or_default();
    Answer::new(status)
        .header("Content-Type", format.content_type())
        .header("Date", date)
        .header("x-acs-request-id", receipt.id.clone())
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
}
