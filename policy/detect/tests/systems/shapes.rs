//! A value in the formats of real systems: clinical messages, payment webhooks, customer records, logs, mark-up, tables
//! and query strings, most of them as text inside JSON.

use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use rand::RngExt as _;
use serde_json::{Value as Json, json};

use super::Random;
use super::values::{Value, pick};

/// How a value is shown.
pub struct Shown {
    pub event: Json,
    /// The value as it stands in the event's text.
    pub text: String,
}

/// What a shape can show.
#[derive(Clone, Copy, PartialEq, Eq)]
pub enum Fits {
    /// Whatever its field's name tells.
    Named,
    /// What is known without a name.
    Alone,
    /// The same, and nothing but ASCII.
    AloneAscii,
}

type Make = fn(&mut Random, &Value, &str) -> Shown;

fn plain(event: Json, value: &Value) -> Shown {
    Shown { event, text: value.text.clone() }
}

fn encoded(event: Json, text: String) -> Shown {
    Shown { event, text }
}

fn percent(text: &str) -> String {
    let kept = |byte: u8| byte.is_ascii_alphanumeric() || b"-._~".contains(&byte);
    text.bytes()
        .map(|byte| if kept(byte) { char::from(byte).to_string() } else { format!("%{byte:02X}") })
        .collect()
}

/// Each with its name, what it can show, and how.
pub const SHAPES: &[(&str, Fits, Make)] = &[
    ("fhir identifier", Fits::Alone, |_, v, _| {
        plain(
            json!({"resourceType": "Patient", "active": true, "identifier": [
            {"use": "official", "system": "urn:oid:2.16.840.1.113883.4.1", "value": v.text}]}),
            v,
        )
    }),
    ("custom object of a crm", Fits::Named, |_, v, key| {
        plain(
            json!({"sobject": "Lead", "Id": "00Q5e00000AbCdEFGH", "fields": {format!("{key}__c"): v.text}}),
            v,
        )
    }),
    ("prefixed column", Fits::Named, |rng, v, key| {
        let prefix = pick(rng, &["cust_", "x-", "bill_to_", "src.", "meta_"]);
        plain(
            json!({"op": "u", "after": {format!("{prefix}{key}"): v.text}, "ts_ms": 1_712_000_000_123_u64}),
            v,
        )
    }),
    ("upper-case column", Fits::Named, |_, v, key| {
        let key: String = key
            .chars()
            .flat_map(|c| {
                let breaks = c.is_ascii_uppercase().then_some('_');
                breaks.into_iter().chain(std::iter::once(c.to_ascii_uppercase()))
            })
            .collect();
        let key = key.trim_start_matches('_');
        plain(json!({"table": "T_PARTNER", "row": {key: v.text, "MANDT": "100"}}), v)
    }),
    ("name and value", Fits::Named, |rng, v, key| {
        let (name, value) = [("name", "value"), ("key", "value"), ("field", "newValue"), ("id", "text")]
            [rng.random_range(0..4)];
        plain(json!({"attributes": [{name: "channel", value: "web"}, {name: key, value: v.text}]}), v)
    }),
    ("form answer", Fits::Named, |_, v, key| {
        plain(json!({"form": "F-7", "answers": [{"question": key, "type": "text", "answer": v.text}]}), v)
    }),
    ("graphql variables", Fits::Named, |_, v, key| {
        plain(
            json!({"query": "mutation($input: I!) { update(input: $input) { ok } }",
            "variables": {"input": {key: v.text}}}),
            v,
        )
    }),
    ("list of values", Fits::Named, |_, v, key| {
        plain(json!({"changes": {key: {"old": null, "new": [v.text]}}}), v)
    }),
    ("hl7 segment", Fits::AloneAscii, |_, v, _| {
        let text = format!(
            "MSH|^~\\&|ADT|EAST|LAB|EAST|202603011230||ADT^A01|MSG00{}|P|2.5\rPID|1||{}^^^HOSP^MR||||||",
            7, v.text
        );
        plain(json!({"payload": text}), v)
    }),
    ("syslog", Fits::AloneAscii, |rng, v, _| {
        let pid = rng.random_range(100..32_000);
        plain(
            json!({"message": format!(
            "<34>1 2026-03-01T12:30:11.003Z web-3 sshd {pid} ID47 - lookup of {} failed", v.text)}),
            v,
        )
    }),
    ("logfmt", Fits::AloneAscii, |_, v, key| {
        plain(
            json!({"line": format!("level=info ts=1712000000.123 caller=api.go:112 {key}=\"{}\" dur=12ms", v.text)}),
            v,
        )
    }),
    ("log with braces", Fits::AloneAscii, |_, v, _| {
        plain(
            json!({"log": format!("DEBUG [pool-2-thread-7] Request{{id=17, subject={}, retry=false}}", v.text)}),
            v,
        )
    }),
    ("table with commas", Fits::AloneAscii, |_, v, _| {
        plain(json!({"csv": format!("id,ref,amount\n1,{},20.00\n2,,7.50\n", v.text)}), v)
    }),
    ("table with semicolons", Fits::AloneAscii, |_, v, _| {
        plain(json!({"attachment": {"kind": "export", "text": format!("17;\"{}\";20,00\n", v.text)}}), v)
    }),
    ("table with tabs", Fits::AloneAscii, |_, v, _| {
        plain(json!({"tsv": format!("17\t{}\tOK\n", v.text)}), v)
    }),
    ("query string", Fits::AloneAscii, |_, v, key| {
        let text = percent(&v.text);
        encoded(
            json!({"url": format!("https://shop.example.com/api/v2/find?lang=de&{}={text}&page=2", percent(key))}),
            text,
        )
    }),
    ("form body", Fits::AloneAscii, |_, v, key| {
        let text = percent(&v.text).replace("%20", "+");
        encoded(json!({"body": format!("a=1&{}={text}&b=2", percent(key))}), text)
    }),
    ("html cell", Fits::AloneAscii, |_, v, _| {
        plain(json!({"html": format!("<tr><td class=\"k\">7</td><td>{}</td></tr>", v.text)}), v)
    }),
    ("html input", Fits::AloneAscii, |_, v, key| {
        plain(json!({"html": format!("<input type=\"text\" name=\"{key}\" value=\"{}\"/>", v.text)}), v)
    }),
    ("xml element", Fits::AloneAscii, |_, v, key| {
        plain(json!({"xml": format!("<?xml version=\"1.0\"?><doc><{key}>{}</{key}></doc>", v.text)}), v)
    }),
    ("sql", Fits::AloneAscii, |_, v, key| {
        plain(json!({"db.statement": format!("UPDATE t SET {key} = '{}' WHERE id = 17", v.text)}), v)
    }),
    ("stack trace", Fits::AloneAscii, |_, v, _| {
        plain(
            json!({"error": {"stack": format!(
            "IllegalArgumentException: bad input '{}'\n\tat com.acme.Shop.put(Shop.java:71)", v.text)}}),
            v,
        )
    }),
    ("header line", Fits::AloneAscii, |_, v, _| {
        plain(json!({"headers": [format!("X-Subject: {}", v.text), "Accept: */*"]}), v)
    }),
    ("yaml", Fits::AloneAscii, |_, v, key| {
        plain(json!({"manifest": format!("kind: Record\nspec:\n  {key}: '{}'\n  n: 2\n", v.text)}), v)
    }),
    ("markdown", Fits::AloneAscii, |_, v, _| {
        plain(json!({"text": format!("| field | value |\n|---|---|\n| x | **{}** |", v.text)}), v)
    }),
    ("chinese", Fits::AloneAscii, |_, v, _| {
        plain(json!({"留言": format!("您好，我的资料是{}，请尽快处理。", v.text)}), v)
    }),
    ("japanese", Fits::AloneAscii, |_, v, _| plain(json!({"メモ": format!("照会先（{}）まで", v.text)}), v)),
    ("arabic", Fits::AloneAscii, |_, v, _| plain(json!({"ملاحظة": format!("البيانات {} للعميل", v.text)}), v)),
    ("thai", Fits::AloneAscii, |_, v, _| plain(json!({"หมายเหตุ": format!("ข้อมูล{}ครับ", v.text)}), v)),
    ("greek quotes", Fits::AloneAscii, |_, v, _| {
        plain(json!({"σχόλιο": format!("στοιχεία «{}»", v.text)}), v)
    }),
    ("base64 of json", Fits::AloneAscii, |_, v, key| {
        let text = STANDARD.encode(json!({key: v.text}).to_string());
        encoded(json!({"message": {"data": text, "messageId": "17"}}), text)
    }),
    ("base64url of text", Fits::AloneAscii, |_, v, _| {
        let text = URL_SAFE_NO_PAD.encode(format!("subject {} ok??>>", v.text));
        encoded(json!({"state": text}), text)
    }),
    ("json in json in json", Fits::Named, |_, v, key| {
        let inner = json!({key: v.text}).to_string();
        let text = json!({"Message": inner}).to_string();
        let shown = json!(json!(v.text).to_string().trim_matches('"')).to_string();
        encoded(json!({"Records": [{"body": text}]}), shown.trim_matches('"').to_owned())
    }),
    ("no-break spaces", Fits::AloneAscii, |rng, v, _| {
        let space = pick(rng, &["\u{a0}", "\u{202f}", "\u{2009}"]);
        let text = v.text.replace(' ', space);
        encoded(json!({"note": format!("siehe {text} bitte")}), text)
    }),
    ("typographic dashes", Fits::AloneAscii, |rng, v, _| {
        let text = if v.class.starts_with("secret") {
            v.text.clone()
        } else {
            v.text.replace('-', pick(rng, &["\u{2010}", "\u{2011}", "\u{2013}"]))
        };
        encoded(json!({"note": format!("see {text} please")}), text)
    }),
    ("invisible characters", Fits::AloneAscii, |rng, v, _| {
        let hidden = pick(rng, &["\u{200b}", "\u{ad}", "\u{2060}", "\u{feff}"]);
        let middle = v.text.len() / 2;
        let text = format!("{}{hidden}{}", &v.text[..middle], &v.text[middle..]);
        encoded(json!({"note": format!("see {text} please")}), text)
    }),
    ("marks of direction", Fits::AloneAscii, |_, v, _| {
        plain(json!({"note": format!("\u{200f}\u{202a}{}\u{202c}", v.text)}), v)
    }),
    ("duplicate key", Fits::Named, |_, v, key| plain(json!({"dup": {key: v.text}}), v)),
];
