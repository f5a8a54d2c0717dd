//! Between the protobuf format and our event.

use bytes::Bytes;
use meshbridge_event::{AttributeValue, DataKind, Event, EventBuilder};
use time::OffsetDateTime;
use time::format_description::well_known::Rfc3339;

use super::super::publish::Refused;
use super::api::io::cloudevents::v1::CloudEvent;
use super::api::io::cloudevents::v1::cloud_event::cloud_event_attribute_value::Attr;
use super::api::io::cloudevents::v1::cloud_event::{CloudEventAttributeValue, Data};

/// The content type of data that is a protobuf message; its bytes are those of the `Any`.
const PROTOBUF: &str = "application/protobuf";

pub(super) fn from_proto(event: CloudEvent) -> Result<Event, Refused> {
    let wrong = |name: &str, message: &str| Refused {
        attribute: Some(name.to_owned()),
        ..Refused::invalid(format!("attribute `{name}`: {message}"))
    };
    if event.spec_version != "1.0" {
        return Err(wrong("specversion", "only `1.0` is supported"));
    }
    let mut builder = EventBuilder::new(&event.id, &event.source, &event.r#type);
    // A map has no order; sorted, the same event always has the same bytes.
    let mut attributes: Vec<_> = event.attributes.into_iter().collect();
    attributes.sort_by(|(a, _), (b, _)| a.cmp(b));
    let mut content_type = None;
    for (name, value) in attributes {
        let attr = value.attr.ok_or_else(|| wrong(&name, "it has no value"))?;
        builder = match attr {
            Attr::CeBoolean(value) => builder.attribute(&name, AttributeValue::Boolean(value)),
            Attr::CeInteger(value) => builder.attribute(&name, AttributeValue::Integer(i64::from(value))),
            Attr::CeString(text) => {
                if name == "datacontenttype" {
                    content_type = Some(text.clone());
                }
                builder.attribute(&name, AttributeValue::typed(&name, &text))
            }
            Attr::CeBytes(bytes) => builder.attribute(&name, AttributeValue::Binary(&bytes)),
            Attr::CeUri(text) => builder.attribute(&name, AttributeValue::Uri(&text)),
            Attr::CeUriRef(text) => builder.attribute(&name, AttributeValue::UriRef(&text)),
            Attr::CeTimestamp(time) => {
                let nanos = i128::from(time.seconds) * 1_000_000_000 + i128::from(time.nanos);
                let text = OffsetDateTime::from_unix_timestamp_nanos(nanos)
                    .ok()
                    .and_then(|t| t.format(&Rfc3339).ok());
                let text = text.ok_or_else(|| wrong(&name, "the time is out of range"))?;
                builder.attribute(&name, AttributeValue::Timestamp(&text))
            }
        };
    }
    builder = match event.data {
        None => builder,
        Some(Data::BinaryData(bytes)) => {
            builder.data_by_content_type(content_type.as_deref(), Bytes::from(bytes))
        }
        Some(Data::TextData(text)) => {
            let json = meshbridge_event::is_json_content_type(content_type.as_deref());
            let bytes = Bytes::from(text);
            if json {
                builder.data_by_content_type(content_type.as_deref(), bytes)
            } else {
                builder.data_text(bytes)
            }
        }
        Some(Data::ProtoData(any)) => {
            if content_type.is_none() {
                builder = builder.attribute("datacontenttype", AttributeValue::String(PROTOBUF));
            }
            builder.data_binary(Bytes::from(prost::Message::encode_to_vec(&any)))
        }
    };
    builder.build().map_err(|problem| Refused {
        attribute: problem.attribute().map(str::to_owned),
        ..Refused::invalid(problem.to_string())
    })
}

pub(super) fn to_proto(event: &Event) -> CloudEvent {
    let attributes = event
        .attributes()
        .filter(|(name, _)| !matches!(*name, "id" | "source" | "type"))
        .map(|(name, value)| (name.to_owned(), CloudEventAttributeValue { attr: Some(attr(value)) }))
        .collect();
    let bytes = || event.data_bytes().to_vec();
    let data = match event.data_kind() {
        DataKind::None => None,
        DataKind::Json | DataKind::Text => {
            Some(Data::TextData(event.data_text().unwrap_or_default().to_owned()))
        }
        DataKind::Binary => Some(Data::BinaryData(bytes())),
    };
    CloudEvent {
        id: event.id().to_owned(),
        source: event.source().to_owned(),
        spec_version: "1.0".to_owned(),
        r#type: event.ty().to_owned(),
        attributes,
        data,
    }
}

fn attr(value: AttributeValue<'_>) -> Attr {
    match value {
        AttributeValue::Boolean(value) => Attr::CeBoolean(value),
        AttributeValue::Integer(number) => match i32::try_from(number) {
            Ok(number) => Attr::CeInteger(number),
            Err(_) => Attr::CeString(number.to_string()),
        },
        AttributeValue::String(text) => Attr::CeString(text.to_owned()),
        AttributeValue::Binary(bytes) => Attr::CeBytes(bytes.to_vec()),
        AttributeValue::Uri(text) => Attr::CeUri(text.to_owned()),
        AttributeValue::UriRef(text) => Attr::CeUriRef(text.to_owned()),
        AttributeValue::Timestamp(text) => match OffsetDateTime::parse(text, &Rfc3339) {
            Ok(time) => Attr::CeTimestamp(prost_types::Timestamp {
                seconds: time.unix_timestamp(),
                nanos: i32::try_from(time.nanosecond()).unwrap_or_default(),
            }),
            Err(_) => Attr::CeString(text.to_owned()),
        },
    }
}
