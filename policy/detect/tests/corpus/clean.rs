//! Ordinary events free of personal data, full of what looks like it.

use rand::RngExt as _;

use super::Random;
use super::digits::{alnum, digits, hex, letters};
use super::values::pick;

fn timestamp(rng: &mut Random) -> String {
    format!(
        "20{}-{:02}-{:02}T{:02}:{:02}:{:02}.{}Z",
        rng.random_range(20..28),
        rng.random_range(1..13),
        rng.random_range(1..29),
        rng.random_range(0..24),
        rng.random_range(0..60),
        rng.random_range(0..60),
        digits(rng, 3)
    )
}

fn uuid(rng: &mut Random) -> String {
    let text = hex(rng, 32);
    format!("{}-{}-{}-{}-{}", &text[..8], &text[8..12], &text[12..16], &text[16..20], &text[20..])
}

fn gtin(rng: &mut Random) -> String {
    let body = format!("{}{}", pick(rng, &["40", "50", "30", "87", "69", "0"]), digits(rng, 10));
    let body = &body[..12.min(body.len())];
    let sum: u32 = body
        .bytes()
        .rev()
        .enumerate()
        .map(|(at, b)| u32::from(b - b'0') * if at % 2 == 0 { 3 } else { 1 })
        .sum();
    format!("{body}{}", (10 - sum % 10) % 10)
}

/// One member of an ordinary event.
pub fn member(rng: &mut Random) -> String {
    let key = |rng: &mut Random, keys: &[&str]| pick(rng, keys).to_owned();
    match rng.random_range(0..44) {
        0 => format!(r#""orderId":"ORD-{}-{}""#, rng.random_range(2019..2027), digits(rng, 6)),
        1 => {
            let key = key(rng, &["orderNumber", "order_id", "order", "invoiceNo"]);
            format!(r#""{key}":"{}{}""#, rng.random_range(1..10), digits(rng, 15))
        }
        2 => format!(r#""{}":"{}""#, key(rng, &["createdAt", "updated_at", "time", "ts"]), timestamp(rng)),
        3 => format!(
            r#""version":"{}.{}.{}.{}""#,
            rng.random_range(0..30),
            rng.random_range(0..30),
            rng.random_range(0..99),
            rng.random_range(0..250)
        ),
        4 => {
            format!(r#""{}":"{}""#, key(rng, &["id", "sessionId", "correlationId", "uuid", "ref"]), uuid(rng))
        }
        5 => {
            format!(r#""{}":"{}""#, key(rng, &["sha256", "hash", "digest", "checksum", "blob"]), hex(rng, 64))
        }
        6 => format!(r#""commit":"{}""#, hex(rng, 40)),
        7 => format!(
            r#""sku":"{}-{}-{}""#,
            letters(rng, "ABCDEFGHKLMNP", 3),
            digits(rng, 4),
            letters(rng, "XYZSML", 2)
        ),
        8 => format!(r#""traceparent":"00-{}-{}-01""#, hex(rng, 32), hex(rng, 16)),
        9 => format!(r#""price":{}.{}"#, rng.random_range(1..9999), digits(rng, 2)),
        10 => format!(
            r#""trackingNumber":"{}""#,
            match rng.random_range(0..4) {
                0 => format!("1Z{}{}", alnum(rng, 6).to_uppercase(), digits(rng, 10)),
                1 => digits(rng, 12),
                2 => digits(rng, 22),
                _ => format!("RR{}DE", digits(rng, 9)),
            }
        ),
        11 => format!(r#""isbn":"978-3-{}-{}-{}""#, digits(rng, 2), digits(rng, 6), digits(rng, 1)),
        12 => format!(r#""{}":"{}""#, key(rng, &["gtin", "ean", "barcode", "ean13"]), gtin(rng)),
        13 => format!(r#""timestamp":{}"#, rng.random_range(1_500_000_000_000_u64..1_900_000_000_000)),
        14 => format!(r#""epoch":{}"#, rng.random_range(1_500_000_000_u64..1_900_000_000)),
        15 => format!(r#""quantity":{}"#, rng.random_range(1..5000)),
        16 => format!(
            r#""{}":"{}""#,
            key(rng, &["productName", "title", "description"]),
            pick(
                rng,
                &[
                    "Steel bolt M8 x 40",
                    "Wireless Mouse 2.4 GHz",
                    "USB-C cable 1.5m",
                    "Café Crème 500g",
                    "咖啡豆 250 克"
                ]
            )
        ),
        17 => format!(
            r#""status":"{}""#,
            pick(rng, &["SHIPPED", "PENDING", "PAYMENT_RECEIVED", "in_transit", "DELIVERED"])
        ),
        18 => format!(
            r#""dimensions":{{"x":{}.{},"y":{}.{},"z":{}.{}}}"#,
            rng.random_range(1..99),
            digits(rng, 4),
            rng.random_range(1..99),
            digits(rng, 4),
            rng.random_range(1..99),
            digits(rng, 4)
        ),
        19 => format!(r#""flight":"LH{}","gate":"B{}""#, digits(rng, 3), digits(rng, 2)),
        20 => format!(r#""image":"registry.example.com/shop/api@sha256:{}""#, hex(rng, 64)),
        21 => format!(
            r#""dependency":"{}@{}.{}.{}""#,
            pick(rng, &["lodash", "react", "serde", "left-pad"]),
            rng.random_range(0..20),
            rng.random_range(0..40),
            rng.random_range(0..9)
        ),
        22 => format!(
            r#""userAgent":"Mozilla/5.0 (X11; Linux x86_64) AppleWebKit/537.36 Chrome/{}.0.0.0 Safari/537.36""#,
            rng.random_range(90..140)
        ),
        23 => {
            format!(r#""url":"https://shop.example.com/p/{}?v={}&sort=asc""#, digits(rng, 8), digits(rng, 5))
        }
        24 => format!(
            r#""log":"took {} ms, {} rows, offset {}, partition {}""#,
            rng.random_range(1..9999),
            digits(rng, 5),
            digits(rng, 9),
            digits(rng, 2)
        ),
        25 => format!(r#""snowflake":"{}{}""#, rng.random_range(1..2), digits(rng, 18)),
        26 => format!(
            r#""{}":"{}""#,
            key(rng, &["warehouse", "zone", "shelf"]),
            format_args!("WH{}-A{}-{}", digits(rng, 2), digits(rng, 2), digits(rng, 3))
        ),
        27 => format!(
            r#""amount":"{},{:03}.{}""#,
            rng.random_range(1..999),
            rng.random_range(0..1000),
            digits(rng, 2)
        ),
        28 => format!(r#""token":"{}""#, pick(rng, &["next", "page-2", "none", "csrf"])),
        29 => format!(
            r#""metrics":{{"p50":{}.{},"p99":{}.{},"count":{}}}"#,
            digits(rng, 1),
            digits(rng, 6),
            rng.random_range(1..99),
            digits(rng, 6),
            digits(rng, 7).trim_start_matches('0').len()
        ),
        30 => format!(r#""batch":"LOT{}{}""#, rng.random_range(20..28), digits(rng, 6)),
        31 => format!(r#""etag":"\"{}\"""#, hex(rng, 32)),
        32 => format!(r##""color":"#{}","label":"{}""##, hex(rng, 6), pick(rng, &["new", "sale", "eol"])),
        33 => format!(
            r#""window":"{:02}:{:02}-{:02}:{:02}""#,
            rng.random_range(0..24),
            rng.random_range(0..60),
            rng.random_range(0..24),
            rng.random_range(0..60)
        ),
        34 => format!(r#""serialNumber":"SN{}{}""#, letters(rng, "ABCDEFGH", 2), digits(rng, 8)),
        35 => format!(
            r#""{}":"{}""#,
            key(rng, &["partNumber", "articleNo", "model"]),
            format_args!("{}-{}-{}", digits(rng, 3), digits(rng, 2), digits(rng, 4))
        ),
        36 => format!(
            r#""readings":[{},{},{},{}]"#,
            digits_number(rng, 5),
            digits_number(rng, 6),
            digits_number(rng, 4),
            digits_number(rng, 7)
        ),
        37 => format!(r#""bin":"{}""#, base64_of(rng, 33)),
        38 => format!(r#""range":"bytes={}-{}""#, digits_number(rng, 6), digits_number(rng, 7)),
        39 => format!(
            r#""path":"/var/log/app-{}{:02}{:02}.log""#,
            rng.random_range(2019..2027),
            rng.random_range(1..13),
            rng.random_range(1..29)
        ),
        40 => format!(r#""transactionId":"{}""#, alnum(rng, 24)),
        41 => format!(r#""seq":{}"#, digits_number(rng, 11)),
        42 => format!(
            r#""cls":"std::vec::Vec<{}>","unit":"nginx@{}.service""#,
            letters(rng, "TUVK", 1),
            digits(rng, 1)
        ),
        _ => format!(
            r#""kind":"{}","retries":{}"#,
            pick(rng, &["created", "updated", "removed"]),
            rng.random_range(0..9)
        ),
    }
}

fn digits_number(rng: &mut Random, count: usize) -> String {
    format!("{}{}", rng.random_range(1..10), digits(rng, count - 1))
}

fn base64_of(rng: &mut Random, count: usize) -> String {
    use base64::Engine as _;
    let bytes: Vec<u8> = (0..count).map(|_| rng.random_range(0..=255)).collect();
    base64::engine::general_purpose::STANDARD.encode(bytes)
}

/// An event with `member` among ordinary ones.
pub fn around(rng: &mut Random, member: &str) -> String {
    let mut members: Vec<String> = (0..rng.random_range(2..6)).map(|_| self::member(rng)).collect();
    let place = rng.random_range(0..=members.len());
    members.insert(place, member.to_owned());
    envelope(rng, &members)
}

pub fn event(rng: &mut Random) -> String {
    let members: Vec<String> = (0..rng.random_range(4..9)).map(|_| member(rng)).collect();
    envelope(rng, &members)
}

fn envelope(rng: &mut Random, members: &[String]) -> String {
    format!(
        r#"{{"specversion":"1.0","id":"{}","source":"/eu-1/shop","type":"com.acme.orders.created","time":"{}","data":{{{}}}}}"#,
        uuid(rng),
        timestamp(rng),
        members.join(",")
    )
}
