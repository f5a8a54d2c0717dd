//! Conversions to and from `cloudevents_sdk::Event`.
//!
//! SDK → ours → SDK gives an equal event. The other way, what the SDK cannot hold changes form: extensions of type
//! URI, URI reference, timestamp and binary become strings (their canonical text), the order of extensions is lost,
//! and a `time` is spelled anew in UTC. Events of specification 0.3 are refused.

use bytes::Bytes;
use cloudevents::event::{AttributeValue as SdkValue, ExtensionValue, SpecVersion};
use cloudevents::{AttributesReader, Data, EventBuilder as _, EventBuilderV10};

use crate::attribute::{AttributeValue, parse_time};
use crate::builder::{EventBuilder, InvalidEvent};
use crate::event::{DataKind, Event};

/// An event that one side has and the other cannot hold.
#[derive(Debug, thiserror::Error)]
pub enum ConversionError {
    #[error("only events of specification 1.0 are converted")]
    SpecVersion,
    #[error(transparent)]
    Invalid(#[from] InvalidEvent),
    #[error("the SDK refuses the event: {0}")]
    Sdk(String),
}

impl TryFrom<&cloudevents::Event> for Event {
    type Error = ConversionError;

    fn try_from(event: &cloudevents::Event) -> Result<Event, ConversionError> {
        if event.specversion() != SpecVersion::V10 {
            return Err(ConversionError::SpecVersion);
        }
        let mut builder = EventBuilder::empty();
        for (name, value) in event.iter() {
            builder = match value {
                SdkValue::SpecVersion(_) => builder,
                SdkValue::String(text) => builder.attribute(name, AttributeValue::String(text)),
                SdkValue::URI(uri) => builder.attribute(name, AttributeValue::Uri(uri.as_str())),
                SdkValue::URIRef(uri) => builder.attribute(name, AttributeValue::UriRef(uri.as_str())),
                SdkValue::Binary(bytes) => builder.attribute(name, AttributeValue::Binary(bytes)),
                SdkValue::Boolean(value) => builder.attribute(name, AttributeValue::Boolean(*value)),
                SdkValue::Integer(value) => builder.attribute(name, AttributeValue::Integer(*value)),
                SdkValue::Time(time) => {
                    builder.attribute(name, AttributeValue::Timestamp(&time.to_rfc3339()))
                }
            };
        }
        let builder = match event.data() {
            None => builder,
            Some(Data::Binary(bytes)) => builder.data_binary(Bytes::from(bytes.clone())),
            Some(Data::String(text)) => builder.data_text(Bytes::from(text.clone())),
            Some(Data::Json(value)) => builder.data_json(Bytes::from(value.to_string())),
        };
        Ok(builder.build()?)
    }
}

impl TryFrom<&Event> for cloudevents::Event {
    type Error = ConversionError;

    fn try_from(event: &Event) -> Result<cloudevents::Event, ConversionError> {
        let mut builder = EventBuilderV10::new();
        let mut content_type = None;
        let mut schema = None;
        for (name, value) in event.attributes() {
            let text = value.to_text();
            builder = match name {
                "id" => builder.id(text),
                "source" => builder.source(text),
                "type" => builder.ty(text),
                "subject" => builder.subject(text),
                "time" => {
                    let time = parse_time(&text).ok_or_else(|| ConversionError::Sdk("time".to_owned()))?;
                    let seconds = time.unix_timestamp();
                    let utc = chrono::DateTime::from_timestamp(seconds, time.nanosecond());
                    builder.time(utc.ok_or_else(|| ConversionError::Sdk("time".to_owned()))?)
                }
                "datacontenttype" => {
                    content_type = Some(text.into_owned());
                    builder
                }
                "dataschema" => {
                    let parsed = url::Url::parse(&text);
                    schema = Some(parsed.map_err(|problem| ConversionError::Sdk(problem.to_string()))?);
                    builder
                }
                _ => builder.extension(
                    name,
                    match value {
                        AttributeValue::Boolean(value) => ExtensionValue::Boolean(value),
                        AttributeValue::Integer(value) => ExtensionValue::Integer(value),
                        _ => ExtensionValue::String(text.into_owned()),
                    },
                ),
            };
        }
        let mut built = builder.build().map_err(|problem| ConversionError::Sdk(problem.to_string()))?;
        let data = match event.data_kind() {
            DataKind::None => None,
            DataKind::Json => Some(match serde_json::from_slice(event.data_bytes()) {
                Ok(value) => Data::Json(value),
                Err(_) => Data::Binary(event.data_bytes().to_vec()),
            }),
            DataKind::Text => Some(Data::String(event.data_text().unwrap_or_default().to_owned())),
            DataKind::Binary => Some(Data::Binary(event.data_bytes().to_vec())),
        };
        use cloudevents::AttributesWriter;
        built.set_datacontenttype(content_type);
        built.set_dataschema(schema);
        if let Some(data) = data {
            built.set_data_unchecked(data);
        }
        Ok(built)
    }
}
