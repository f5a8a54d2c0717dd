//! What looks like personal data and is none, as real systems write it.

use rand::RngExt as _;

use super::Random;
use super::digits::{alnum, base32, digits, hex, letters, with_luhn, with_verhoeff};
use super::values::pick;

type Make = fn(&mut Random) -> String;

fn upper(rng: &mut Random, count: usize) -> String {
    letters(rng, "ABCDEFGHIJKLMNOPQRSTUVWXYZ", count)
}

fn day(rng: &mut Random) -> String {
    format!("20{}-{:02}-{:02}", rng.random_range(19..29), rng.random_range(1..13), rng.random_range(1..29))
}

fn some(rng: &mut Random, from: u64, to: u64) -> u64 {
    rng.random_range(from..to)
}

fn ean(rng: &mut Random, prefix: &str, length: usize) -> String {
    let body = format!("{prefix}{}", digits(rng, length - 1 - prefix.len()));
    let weighed = body.bytes().rev().enumerate();
    let sum: u32 = weighed.map(|(at, b)| u32::from(b - b'0') * if at % 2 == 0 { 3 } else { 1 }).sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// Each with its name, as a member of a JSON object.
pub const LOOKALIKES: &[(&str, Make)] = &[
    ("arn", |rng| format!(r#""arn":"arn:aws:iam::{}:role/deploy""#, digits(rng, 12))),
    ("cloud account", |rng| format!(r#""accountId":"{}""#, digits(rng, 12))),
    ("project number", |rng| format!(r#""projectNumber":{}"#, some(rng, 100_000_000_000, 999_999_999_999))),
    ("object id", |rng| format!(r#""_id":{{"$oid":"{}"}}"#, hex(rng, 24))),
    ("ulid", |rng| format!(r#""eventId":"01{}""#, base32(rng, 24))),
    ("ksuid", |rng| format!(r#""requestId":"{}""#, alnum(rng, 27))),
    ("stripe ids", |rng| format!(r#""id":"evt_{}","customer":"cus_{}""#, alnum(rng, 24), alnum(rng, 14))),
    ("payment intent", |rng| format!(r#""payment_intent":"pi_{}""#, alnum(rng, 24))),
    ("psp reference", |rng| format!(r#""pspReference":"{}""#, digits(rng, 16))),
    ("merchant reference", |rng| format!(r#""merchantReference":"{}-{}""#, digits(rng, 3), digits(rng, 7))),
    ("marketplace order", |rng| {
        format!(r#""orderId":"{}-{}-{}""#, digits(rng, 3), digits(rng, 7), digits(rng, 7))
    }),
    ("asin", |rng| format!(r#""asin":"B0{}""#, letters(rng, "0123456789BCDFGHJKLMNPQRSTVWXYZ", 8))),
    ("ean", |rng| format!(r#""ean":"{}""#, ean(rng, "40", 13))),
    ("isbn", |rng| format!(r#""isbn":"{}""#, ean(rng, "978", 13))),
    ("upc number", |rng| format!(r#""upc":{}"#, ean(rng, "7", 12))),
    ("sscc", |rng| format!(r#""sscc":"{}""#, ean(rng, "00", 18))),
    ("gs1", |rng| format!(r#""scan":"(01){}(10)AB{}(17)27{:02}31""#, ean(rng, "0", 14), digits(rng, 4), 12)),
    ("container", |rng| format!(r#""container":"{}U{}""#, upper(rng, 3), digits(rng, 7))),
    ("customs code", |rng| format!(r#""hsCode":"{}.{}.{}""#, digits(rng, 4), digits(rng, 2), digits(rng, 2))),
    ("awb", |rng| format!(r#""awb":"{}-{}""#, digits(rng, 3), digits(rng, 8))),
    ("parcel", |rng| format!(r#""parcelNo":"{}""#, digits(rng, 14))),
    ("invoice", |rng| format!(r#""invoice":"RE-{}-{}""#, some(rng, 2019, 2027), digits(rng, 6))),
    ("plain invoice", |rng| format!(r#""documentNumber":"{}""#, digits(rng, 10))),
    ("ledger", |rng| format!(r#""glAccount":"{}","costCenter":"{}""#, digits(rng, 8), digits(rng, 10))),
    ("material", |rng| format!(r#""MATNR":"{:0>18}""#, digits(rng, 8))),
    ("idoc", |rng| format!(r#""DOCNUM":"{:0>16}""#, digits(rng, 7))),
    ("loinc", |rng| {
        format!(
            r#""code":{{"coding":[{{"system":"http://loinc.org","code":"{}-{}"}}]}}"#,
            digits(rng, 5),
            digits(rng, 1)
        )
    }),
    ("snomed", |rng| {
        let code = with_verhoeff(&format!("{}{}", some(rng, 1, 10), digits(rng, 7)));
        format!(r#""code":{{"coding":[{{"system":"http://snomed.info/sct","code":"{code}"}}]}}"#)
    }),
    ("ndc", |rng| format!(r#""ndc":"{}-{}-{}""#, digits(rng, 5), digits(rng, 4), digits(rng, 2))),
    ("cas", |rng| format!(r#""cas":"{}-{}-{}""#, digits(rng, 5), digits(rng, 2), digits(rng, 1))),
    ("oid", |rng| {
        format!(r#""system":"urn:oid:2.16.840.1.{}.4.{}""#, some(rng, 1, 999_999), some(rng, 1, 99))
    }),
    ("hl7 time", |rng| {
        format!(
            r#""payload":"MSH|^~\\&|A|B|C|D|20260{}1{}||ORU^R01|{}|P|2.5""#,
            some(rng, 1, 10),
            digits(rng, 6),
            digits(rng, 9)
        )
    }),
    ("micros", |rng| format!(r#""ts_us":{}"#, some(rng, 1_600_000_000_000_000, 1_900_000_000_000_000))),
    ("nanos", |rng| {
        format!(r#""time_unix_nano":"{}""#, some(rng, 1_600_000_000_000_000_000, 1_900_000_000_000_000_000))
    }),
    ("epoch in text", |rng| {
        format!(
            r#""msg":"flushed at {} after {}""#,
            some(rng, 1_600_000_000, 1_900_000_000),
            some(rng, 1_600_000_000_000, 1_900_000_000_000)
        )
    }),
    ("compact time", |rng| {
        format!(
            r#""build":"20{}{:02}{:02}{}""#,
            some(rng, 19, 28),
            some(rng, 1, 13),
            some(rng, 1, 29),
            digits(rng, 6)
        )
    }),
    ("serial of a zone", |rng| {
        format!(
            r#""soa":"ns1.example.com. 20{}{:02}{:02}01 7200 3600 1209600 3600""#,
            some(rng, 19, 28),
            some(rng, 1, 13),
            some(rng, 1, 29)
        )
    }),
    ("offset of a zone", |rng| format!(r#""at":"{} 12:30:11 +0{}00""#, day(rng), some(rng, 0, 10))),
    ("periods", |rng| format!(r#""valid":"{}/{}","open":"08:00-12:00 13:30-18:00""#, day(rng), day(rng))),
    ("date ranges", |rng| {
        format!(r#""text":"from {} to {}, week {}""#, day(rng), day(rng), some(rng, 1, 53))
    }),
    ("semver", |rng| {
        format!(
            r#""text":"upgraded libfoo {}.{}.{}.{} to {}.{}.{}-rc.1+build.{}""#,
            some(rng, 0, 9),
            some(rng, 0, 20),
            some(rng, 0, 20),
            some(rng, 0, 99),
            some(rng, 0, 9),
            some(rng, 0, 20),
            some(rng, 0, 20),
            digits(rng, 4)
        )
    }),
    ("assembly", |rng| {
        format!(
            r#""assembly":"Acme.Core, Version={}.{}.{}.{}, Culture=neutral""#,
            some(rng, 1, 9),
            some(rng, 0, 20),
            some(rng, 0, 20),
            some(rng, 0, 99)
        )
    }),
    ("user agent", |rng| {
        format!(
            r#""ua":"AcmeApp/{}.{}.{}.{} (iPhone; iOS 17.{})""#,
            some(rng, 1, 9),
            some(rng, 0, 20),
            some(rng, 0, 20),
            some(rng, 0, 99),
            some(rng, 0, 9)
        )
    }),
    ("chrome", |rng| {
        format!(
            r#""client":"Mozilla/5.0 (Windows NT 10.0) Chrome/{}.0.{}.{} Safari/537.36""#,
            some(rng, 90, 140),
            some(rng, 1_000, 9_999),
            some(rng, 10, 250)
        )
    }),
    ("git", |rng| {
        format!(r#""text":"Merge {} into {} (#{})""#, hex(rng, 40), hex(rng, 7), some(rng, 1, 9_999))
    }),
    ("fingerprint", |rng| {
        let pairs: Vec<String> = (0..16).map(|_| hex(rng, 2)).collect();
        format!(r#""fingerprint":"MD5:{}""#, pairs.join(":"))
    }),
    ("sha-1 fingerprint", |rng| {
        let pairs: Vec<String> = (0..20).map(|_| hex(rng, 2).to_uppercase()).collect();
        format!(r#""thumbprint":"{}""#, pairs.join(":"))
    }),
    ("ssh key", |rng| format!(r#""text":"Accepted publickey SHA256:{}""#, alnum(rng, 43))),
    ("integrity", |rng| format!(r#""integrity":"sha512-{}==""#, alnum(rng, 86))),
    ("addresses of memory", |rng| format!(r#""frame":"0x{} in main + {}""#, hex(rng, 16), some(rng, 1, 999))),
    ("frames", |rng| {
        format!(
            r#""stack":"at a.b.C.d(C.java:{})\n\tat e.F$1.run(F.java:{})""#,
            some(rng, 1, 999),
            some(rng, 1, 9_999)
        )
    }),
    ("amounts", |rng| {
        format!(
            r#""text":"Summe EUR {}.{}.{},{} netto""#,
            some(rng, 1, 999),
            digits(rng, 3),
            digits(rng, 3),
            digits(rng, 2)
        )
    }),
    ("spaced amounts", |rng| {
        format!(
            r#""text":"{} {} {},{} kr""#,
            some(rng, 1, 999),
            digits(rng, 3),
            digits(rng, 3),
            digits(rng, 2)
        )
    }),
    ("long decimals", |rng| {
        format!(r#""score":0.{},"ratio":{}.{}"#, digits(rng, 16), some(rng, 1, 9), digits(rng, 15))
    }),
    ("exponents", |rng| {
        format!(
            r#""x":{}.{}e{},"y":-{}E-{}"#,
            some(rng, 1, 9),
            digits(rng, 9),
            some(rng, 1, 20),
            some(rng, 1, 9),
            some(rng, 1, 9)
        )
    }),
    ("vectors", |rng| {
        let of = |rng: &mut Random| format!("-0.{}", digits(rng, 8));
        format!(r#""embedding":[{},{},{},{}]"#, of(rng), of(rng), of(rng), of(rng))
    }),
    ("path of a drawing", |rng| {
        format!(
            r#""d":"M{} {} L{} {} C{} {}, {} {}, {} {} Z""#,
            some(rng, 1, 999),
            some(rng, 1, 999),
            some(rng, 1, 999),
            some(rng, 1, 999),
            some(rng, 1, 999),
            some(rng, 1, 999),
            some(rng, 1, 999),
            some(rng, 1, 999),
            some(rng, 1, 999),
            some(rng, 1, 999)
        )
    }),
    ("box", |rng| {
        format!(
            r#""bbox":[{}.{},{}.{},{},{}]"#,
            some(rng, 0, 90),
            digits(rng, 2),
            some(rng, 0, 90),
            digits(rng, 2),
            some(rng, 90, 999),
            some(rng, 90, 999)
        )
    }),
    ("tile", |rng| {
        format!(r#""tile":"/{}/{}/{}.png""#, some(rng, 1, 19), some(rng, 1, 99_999), some(rng, 1, 99_999))
    }),
    ("shell", |rng| {
        format!(
            r#""cmd":"ssh deploy@web-{} 'systemctl restart app@{}.service'""#,
            some(rng, 1, 99),
            some(rng, 1, 9)
        )
    }),
    ("scoped package", |rng| {
        format!(r#""dep":"@acme/ui@{}.{}.{}""#, some(rng, 0, 9), some(rng, 0, 20), some(rng, 0, 20))
    }),
    ("image at digest", |rng| format!(r#""ref":"ghcr.example/acme/api:v1.2@sha256:{}""#, hex(rng, 64))),
    ("retina", |rng| format!(r#""src":"/img/hero-{}@2x.png""#, digits(rng, 8))),
    ("license key", |rng| {
        format!(r#""license":"{}-{}-{}-{}""#, base32(rng, 5), base32(rng, 5), base32(rng, 5), base32(rng, 5))
    }),
    ("part number", |rng| format!(r#""part":"{}-{}-{}""#, digits(rng, 3), digits(rng, 3), digits(rng, 4))),
    ("lot", |rng| format!(r#""lot":"{}{}{}""#, upper(rng, 1), digits(rng, 7), upper(rng, 1))),
    ("seat", |rng| format!(r#""pnr":"{}","seat":"{}{}""#, base32(rng, 6), some(rng, 1, 60), upper(rng, 1))),
    ("ticket", |rng| {
        format!(r#""text":"see INC{} and CHG{}, PRJ-{}""#, digits(rng, 7), digits(rng, 7), digits(rng, 4))
    }),
    ("counter line", |rng| {
        format!(
            r#""log":"rx {} tx {} drop {} in {} us""#,
            digits(rng, 12),
            digits(rng, 11),
            digits(rng, 9),
            digits(rng, 6)
        )
    }),
    ("access log", |rng| {
        format!(
            r#""log":"\"GET /p/{} HTTP/1.1\" 200 {} \"-\" rt=0.{}""#,
            digits(rng, 9),
            digits(rng, 6),
            digits(rng, 3)
        )
    }),
    ("cron", |rng| format!(r#""schedule":"{} {} * * 1-5""#, some(rng, 0, 60), some(rng, 0, 24))),
    ("duration", |rng| {
        format!(
            r#""took":"PT{}H{}M{}.{}S""#,
            some(rng, 0, 24),
            some(rng, 0, 60),
            some(rng, 0, 60),
            digits(rng, 3)
        )
    }),
    ("kafka", |rng| {
        format!(
            r#""topic":"orders-{}","offset":{},"partition":{}"#,
            some(rng, 1, 9),
            some(rng, 1_000_000_000, 99_999_999_999),
            some(rng, 0, 64)
        )
    }),
    ("snowflake number", |rng| {
        format!(r#""tweet":{}"#, some(rng, 1_000_000_000_000_000_000, 1_900_000_000_000_000_000))
    }),
    ("luhn serial", |rng| format!(r#""serial":"{}""#, with_luhn(&format!("9{}", digits(rng, 14))))),
    ("sensor", |rng| {
        format!(
            r#""sensorId":"{}","values":"{} {} {} {}""#,
            hex(rng, 12),
            digits(rng, 4),
            digits(rng, 4),
            digits(rng, 4),
            digits(rng, 4)
        )
    }),
    ("hex dump", |rng| {
        let bytes: Vec<String> = (0..16).map(|_| hex(rng, 2)).collect();
        format!(r#""dump":"{}""#, bytes.join(" "))
    }),
    ("trace", |rng| format!(r#""x-b3":"{}-{}-1""#, hex(rng, 32), hex(rng, 16))),
    ("jira", |rng| {
        format!(
            r#""summary":"[{}] {} fails with code {}""#,
            format_args!("OPS-{}", digits(rng, 4)),
            pick(rng, &["login", "export", "sync"]),
            digits(rng, 5)
        )
    }),
    ("score line", |rng| {
        format!(
            r#""text":"+{} / -{} lines, {} files""#,
            some(rng, 1, 9_999),
            some(rng, 1, 9_999),
            some(rng, 1, 99)
        )
    }),
    ("chinese order", |rng| format!(r#""订单号":"{}","运单":"SF{}""#, digits(rng, 18), digits(rng, 13))),
    ("japanese slip", |rng| {
        format!(r#""伝票番号":"{}-{}-{}""#, digits(rng, 4), digits(rng, 4), digits(rng, 4))
    }),
    ("arabic count", |rng| format!(r#""نص":"عدد {} من {}""#, digits(rng, 6), digits(rng, 9))),
    ("tax rate", |rng| format!(r#""vat":"{}%","vatId":"ATU{}""#, some(rng, 1, 27), digits(rng, 8))),
    ("guid without dashes", |rng| format!(r#""correlation":"{}""#, hex(rng, 32).to_uppercase())),
    ("url path", |rng| {
        format!(
            r#""href":"https://cdn.example.com/a/{}/{}/{}.webp""#,
            digits(rng, 4),
            digits(rng, 10),
            hex(rng, 12)
        )
    }),
    ("message id", |rng| format!(r#""Message-ID":"<{}.{}@mx.example.com>""#, digits(rng, 14), hex(rng, 8))),
];
