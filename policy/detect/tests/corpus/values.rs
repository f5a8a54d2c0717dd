//! Values of every type, valid by construction, and the names of fields they stand under.

use rand::RngExt as _;

use super::Random;
use super::digits::*;

/// A value as it stands in an event.
pub struct Value {
    pub class: &'static str,
    pub text: String,
    /// Names of fields that speak of it.
    pub keys: &'static [&'static str],
    /// Words before it in prose.
    pub word: &'static str,
    /// Nothing but its field's name or a word tells it from other numbers.
    pub needs_key: bool,
}

fn value(
    class: &'static str,
    text: String,
    keys: &'static [&'static str],
    word: &'static str,
    needs_key: bool,
) -> Value {
    Value { class, text, keys, word, needs_key }
}

pub fn pick<'a>(rng: &mut Random, from: &[&'a str]) -> &'a str {
    from[rng.random_range(0..from.len())]
}

fn chance(rng: &mut Random, percent: u32) -> bool {
    rng.random_range(0..100) < percent
}

struct Date {
    year: u32,
    month: u32,
    day: u32,
}

fn date(rng: &mut Random) -> Date {
    Date { year: rng.random_range(1940..2005), month: rng.random_range(1..13), day: rng.random_range(1..29) }
}

impl Date {
    fn ymd(&self) -> String {
        format!("{:02}{:02}{:02}", self.year % 100, self.month, self.day)
    }
    fn dmy(&self) -> String {
        format!("{:02}{:02}{:02}", self.day, self.month, self.year % 100)
    }
}

/// Digits in groups of these sizes.
fn grouped(text: &str, sizes: &[usize], separator: &str) -> String {
    let mut rest = text;
    let mut parts = Vec::new();
    for size in sizes {
        let (part, behind) = rest.split_at(*size);
        parts.push(part);
        rest = behind;
    }
    parts.join(separator)
}

pub const COUNT: usize = 56;

/// A value of the type of that number.
pub fn make(rng: &mut Random, number: usize) -> Value {
    match number {
        0..=2 => card(rng),
        3 => iban_value(rng),
        4 => mail(rng),
        5 | 6 => phone(rng),
        7 => {
            let text =
                format!("1{}{}", pick(rng, &["38", "39", "50", "58", "86", "77", "99"]), digits(rng, 8));
            let text = if chance(rng, 30) { format!("+86 {text}") } else { text };
            value("contact.phone.cn-mobile", text, &["手机", "mobile", "phone"], "手机", false)
        }
        8..=10 => person(rng, number),
        11..=14 => americas(rng, number),
        15..=20 => asia(rng, number),
        21..=33 => europe(rng, number),
        34..=41 => more_government(rng, number),
        42..=47 => secret(rng, number),
        _ => network(rng, number),
    }
}

fn card(rng: &mut Random) -> Value {
    let (prefix, length) = [
        ("4", 16),
        ("51", 16),
        ("55", 16),
        ("2221", 16),
        ("2720", 16),
        ("2500", 16),
        ("34", 15),
        ("37", 15),
        ("6011", 16),
        ("65", 16),
        ("36", 14),
        ("3530", 16),
        ("62", 16),
        ("2202", 16),
    ][rng.random_range(0..14)];
    let body = digits(rng, length - prefix.len() - 1);
    let text = with_luhn(&format!("{prefix}{body}"));
    let sizes: &[usize] = match length {
        16 => &[4, 4, 4, 4],
        15 => &[4, 6, 5],
        _ => &[4, 6, 4],
    };
    let text = match rng.random_range(0..4) {
        0 => grouped(&text, sizes, " "),
        1 => grouped(&text, sizes, "-"),
        _ => text,
    };
    value("payment.card", text, &["cardNumber", "pan", "credit_card", "卡号", "ccNumber"], "card", false)
}

fn iban_value(rng: &mut Random) -> Value {
    let (country, account) = match rng.random_range(0..5) {
        0 => ("DE", digits(rng, 18)),
        1 => ("GB", format!("{}{}", letters(rng, "ABCDEFGHIJKLM", 4), digits(rng, 14))),
        2 => ("NL", format!("{}{}", letters(rng, "ABCDEFGHIJKLM", 4), digits(rng, 10))),
        3 => ("ES", digits(rng, 20)),
        _ => ("FR", format!("{}{}{}", digits(rng, 10), letters(rng, "ABC123456789", 11), digits(rng, 2))),
    };
    let text = iban(country, &account);
    let text = if chance(rng, 40) {
        text.as_bytes().chunks(4).map(String::from_utf8_lossy).collect::<Vec<_>>().join(" ")
    } else {
        text
    };
    value("payment.iban", text, &["iban", "bankAccount", "kontonummer"], "IBAN", false)
}

fn mail(rng: &mut Random) -> Value {
    let name = pick(
        rng,
        &["anna", "j.smith", "li_na", "marta.kowalska", "o.brien+shop", "x99", "tanaka-k", "Lena.Vogt"],
    );
    let domain = pick(
        rng,
        &["example.com", "mail.example.org", "example.co.uk", "acme.io", "uni-ulm.example.de", "a.museum"],
    );
    let number = rng.random_range(0..1000);
    value(
        "contact.email",
        format!("{name}{number}@{domain}"),
        &["email", "eMail", "contact_email", "邮箱", "mailTo"],
        "mail",
        false,
    )
}

fn phone(rng: &mut Random) -> Value {
    let text = match rng.random_range(0..8) {
        0 => format!("+49 {} {}", pick(rng, &["30", "89", "151", "171"]), digits(rng, 7)),
        1 => format!("+1 {}-{}-{}", rng.random_range(201..989), rng.random_range(212..989), digits(rng, 4)),
        2 => format!("({}) {}-{}", rng.random_range(212..989), rng.random_range(212..989), digits(rng, 4)),
        3 => format!("+44 7{} {}", digits(rng, 3), digits(rng, 6)),
        4 => format!("+33 6 {}", grouped(&digits(rng, 8), &[2, 2, 2, 2], " ")),
        5 => format!("+81-90-{}-{}", digits(rng, 4), digits(rng, 4)),
        6 => format!("+55 11 9{}-{}", digits(rng, 4), digits(rng, 4)),
        _ => format!("+91{}{}", rng.random_range(6..10), digits(rng, 9)),
    };
    value("contact.phone", text, &["phone", "telefon", "contactNumber", "tel", "電話"], "phone", false)
}

fn person(rng: &mut Random, number: usize) -> Value {
    match number {
        8 => {
            let text = pick(
                rng,
                &[
                    "Anna Schmidt",
                    "李娜",
                    "山田 太郎",
                    "José García",
                    "O'Neill",
                    "김민준",
                    "Иван Петров",
                    "Jean-Luc",
                ],
            );
            value(
                "person.name",
                text.into(),
                &["firstName", "lastName", "full_name", "姓名", "氏名", "customerName"],
                "",
                true,
            )
        }
        9 => {
            let Date { year, month, day } = date(rng);
            let text = match rng.random_range(0..5) {
                0 => format!("{year}-{month:02}-{day:02}"),
                1 => format!("{day:02}.{month:02}.{year}"),
                2 => format!("{month:02}/{day:02}/{year}"),
                3 => format!("{year}年{month}月{day}日"),
                _ => format!("{day} {} {year}", pick(rng, &["May", "March", "Dec", "juin", "Mai"])),
            };
            value(
                "person.birth-date",
                text,
                &["dob", "birthDate", "geburtsdatum", "出生日期", "date_of_birth"],
                "born",
                true,
            )
        }
        _ => {
            let text = match rng.random_range(0..3) {
                0 => format!("{} Main Street, Springfield", rng.random_range(1..999)),
                1 => format!("Hauptstraße {}, 10115 Berlin", rng.random_range(1..99)),
                _ => format!("上海市浦东新区世纪大道{}号", rng.random_range(1..999)),
            };
            value("contact.address", text, &["address", "streetAddress", "anschrift", "地址"], "", true)
        }
    }
}

fn americas(rng: &mut Random, number: usize) -> Value {
    match number {
        11 => {
            let area = rng.random_range(100..660);
            let text =
                format!("{area:03}-{:02}-{:04}", rng.random_range(10..99), rng.random_range(1000..9999));
            value("gov-id.us.ssn", text, &["ssn", "socialSecurityNumber", "SSN"], "SSN", false)
        }
        12 => {
            let base = format!("{}{}", rng.random_range(1..10), digits(rng, 8));
            let first =
                (values(&base).iter().zip((2..=10).rev()).map(|(v, w)| v * w).sum::<i64>() * 10) % 11 % 10;
            let base = format!("{base}{first}");
            let second =
                (values(&base).iter().zip((2..=11).rev()).map(|(v, w)| v * w).sum::<i64>() * 10) % 11 % 10;
            let text = format!("{base}{second}");
            let text = format!("{}-{}", grouped(&text[..9], &[3, 3, 3], "."), &text[9..]);
            value("gov-id.br.cpf", text, &["cpf", "numeroCpf"], "CPF", false)
        }
        13 => {
            let base = format!("{}0001", digits(rng, 8));
            let check = |text: &str| {
                let weights = [2, 3, 4, 5, 6, 7, 8, 9].into_iter().cycle();
                let sum: i64 = values(text).iter().rev().zip(weights).map(|(v, w)| v * w).sum();
                let rest = sum % 11;
                if rest < 2 { 0 } else { 11 - rest }
            };
            let base = format!("{base}{}", check(&base));
            let text = format!("{base}{}", check(&base));
            let text =
                format!("{}.{}.{}/{}-{}", &text[..2], &text[2..5], &text[5..8], &text[8..12], &text[12..]);
            value("gov-id.br.cnpj", text, &["cnpj"], "CNPJ", false)
        }
        _ => {
            let body = until(|| {
                let body = format!("20{}", digits(rng, 8));
                with_sum(&body, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2], 1, 11, 0)
            });
            value("gov-id.ar.cuit", grouped(&body, &[2, 8, 1], "-"), &["cuit", "cuil"], "CUIT", false)
        }
    }
}

fn asia(rng: &mut Random, number: usize) -> Value {
    match number {
        15 | 16 => {
            let Date { year, month, day } = date(rng);
            let area = pick(rng, &["110101", "310104", "440305", "510107", "330106"]);
            let body = format!("{area}{year}{month:02}{day:02}{}", digits(rng, 3));
            // Weights are the powers of two from 2^17 on.
            let sum: i64 =
                values(&body).iter().enumerate().map(|(at, v)| v * ((1_i64 << (17 - at)) % 11)).sum();
            let check = (12 - sum % 11) % 11;
            let last = if check == 10 { "X".to_owned() } else { check.to_string() };
            value(
                "gov-id.cn.resident-id",
                format!("{body}{last}"),
                &["idCard", "身份证号", "residentId"],
                "身份证",
                false,
            )
        }
        17 => {
            let text = with_verhoeff(&format!("{}{}", rng.random_range(2..10), digits(rng, 10)));
            value(
                "gov-id.in.aadhaar",
                grouped(&text, &[4, 4, 4], " "),
                &["aadhaar", "aadhaarNumber"],
                "Aadhaar",
                false,
            )
        }
        18 => {
            let (series, offset, table) = [
                ("S", 0, "JZIHGFEDCBA"),
                ("T", 4, "JZIHGFEDCBA"),
                ("F", 0, "XWUTRQPNMLK"),
                ("G", 4, "XWUTRQPNMLK"),
            ][rng.random_range(0..4)];
            let body = digits(rng, 7);
            let sum = dot(&body, &[2, 7, 6, 5, 4, 3, 2]) + offset;
            let letter = table.as_bytes()[(sum % 11) as usize];
            value(
                "gov-id.sg.nric",
                format!("{series}{body}{}", char::from(letter)),
                &["nric", "NRIC"],
                "NRIC",
                false,
            )
        }
        19 => {
            let text = format!("{}-{}{}", date(rng).ymd(), rng.random_range(1..3), digits(rng, 6));
            value("gov-id.kr.rrn", text, &["rrn", "주민등록번호"], "주민등록번호", false)
        }
        _ => {
            let body = digits(rng, 11);
            let weights = [6, 5, 4, 3, 2, 7, 6, 5, 4, 3, 2];
            let rest = dot(&body, &weights) % 11;
            let check = if rest <= 1 { 0 } else { 11 - rest };
            value(
                "gov-id.jp.my-number",
                format!("{body}{check}"),
                &["myNumber", "マイナンバー"],
                "マイナンバー",
                true,
            )
        }
    }
}

fn europe(rng: &mut Random, number: usize) -> Value {
    match number {
        21 => {
            let prefix = pick(rng, &["AB", "CE", "JK", "PR", "WX", "SH"]);
            let text = format!("{prefix}{}{}", digits(rng, 6), pick(rng, &["A", "B", "C", "D"]));
            let text = if chance(rng, 50) { grouped(&text, &[2, 2, 2, 2, 1], " ") } else { text };
            value("gov-id.gb.nino", text, &["nino", "nationalInsuranceNumber"], "NI number", false)
        }
        22 => {
            let text = until(|| with_sum(&digits(rng, 9), &[10, 9, 8, 7, 6, 5, 4, 3, 2], 1, 11, 0));
            value(
                "gov-id.gb.nhs",
                grouped(&text, &[3, 3, 4], " "),
                &["nhsNumber", "nhs_number"],
                "NHS number",
                false,
            )
        }
        23 => {
            let mut all: Vec<char> = "123456789".chars().collect();
            for at in (1..all.len()).rev() {
                all.swap(at, rng.random_range(0..=at));
            }
            let twice = all[8];
            all.insert(rng.random_range(1..9), twice);
            let text = with_mod_11_10(&all.into_iter().collect::<String>());
            value("gov-id.de.tax-id", text, &["steuerId", "taxId", "IdNr"], "Steuer-ID", false)
        }
        24 => codice_fiscale(rng),
        25 => {
            let number = rng.random_range(10_000_000..99_999_999_u32);
            let letter = b"TRWAGMYFPDXBNJZSQVHLCKE"[(number % 23) as usize];
            value(
                "gov-id.es.dni",
                format!("{number}{}", char::from(letter)),
                &["dni", "DNI", "nif"],
                "DNI",
                false,
            )
        }
        26 => {
            let number = rng.random_range(0..9_999_999_u32);
            let letter = b"TRWAGMYFPDXBNJZSQVHLCKE"[((10_000_000 + number) % 23) as usize];
            value(
                "gov-id.es.nie",
                format!("Y{number:07}{}", char::from(letter)),
                &["nie", "NIE"],
                "NIE",
                false,
            )
        }
        27 => {
            let Date { year, month, .. } = date(rng);
            let body = format!(
                "{}{:02}{month:02}{:02}{:03}{:03}",
                rng.random_range(1..3),
                year % 100,
                rng.random_range(1..96),
                rng.random_range(1..900),
                rng.random_range(1..900)
            );
            let key = 97 - body.parse::<u64>().expect("digits") % 97;
            let text = format!("{body}{key:02}");
            let text = if chance(rng, 50) { grouped(&text, &[1, 2, 2, 2, 3, 3, 2], " ") } else { text };
            value("gov-id.fr.nir", text, &["nir", "numeroSecu", "securiteSociale"], "NIR", false)
        }
        28 => {
            let Date { year, month, day } = date(rng);
            let month = if year >= 2000 { month + 20 } else { month };
            let body = format!("{:02}{month:02}{day:02}{}", year % 100, digits(rng, 4));
            let text =
                with_sum(&body, &[1, 3, 7, 9, 1, 3, 7, 9, 1, 3], 1, 10, 0).expect("mod 10 always has one");
            value("gov-id.pl.pesel", text, &["pesel", "numerPesel"], "PESEL", false)
        }
        29 => {
            let text = until(|| {
                let body = format!("{}{}", rng.random_range(1..10), digits(rng, 7));
                with_sum(&body, &[9, 8, 7, 6, 5, 4, 3, 2], -1, 11, 0)
            });
            value("gov-id.nl.bsn", text, &["bsn", "burgerservicenummer"], "BSN", true)
        }
        30 => {
            let text = with_luhn(&format!("{}{}", date(rng).ymd(), digits(rng, 3)));
            value(
                "gov-id.se.personnummer",
                grouped(&text, &[6, 4], "-"),
                &["personnummer"],
                "personnummer",
                false,
            )
        }
        31 => {
            let (date, serial) = (date(rng), rng.random_range(2..900));
            let (sign, date) = (if date.year >= 2000 { "A" } else { "-" }, date.dmy());
            let number: u64 = format!("{date}{serial:03}").parse().expect("digits");
            let check = b"0123456789ABCDEFHJKLMNPRSTUVWXY"[(number % 31) as usize];
            value(
                "gov-id.fi.hetu",
                format!("{date}{sign}{serial:03}{}", char::from(check)),
                &["hetu"],
                "hetu",
                false,
            )
        }
        32 => {
            let text = until(|| {
                let body = format!("{}{}", date(rng).dmy(), digits(rng, 3));
                let body = with_sum(&body, &[3, 7, 6, 1, 8, 9, 4, 5, 2], 1, 11, 0)?;
                with_sum(&body, &[5, 4, 3, 2, 7, 6, 5, 4, 3, 2], 1, 11, 0)
            });
            value("gov-id.no.fodselsnummer", text, &["fodselsnummer", "fnr"], "fødselsnummer", false)
        }
        _ => {
            let text =
                with_sum(&format!("756{}", digits(rng, 9)), &[1, 3, 1, 3, 1, 3, 1, 3, 1, 3, 1, 3], 1, 10, 0)
                    .expect("mod 10 always has one");
            value("gov-id.ch.ahv", grouped(&text, &[3, 4, 4, 2], "."), &["ahv", "ahvNummer"], "AHV", false)
        }
    }
}

fn codice_fiscale(rng: &mut Random) -> Value {
    let odd = "BAKPLCQDREVOSFTGUHMINJWZYX";
    let consonants = "BCDFGLMNPRSTVZ";
    let Date { year, day, .. } = date(rng);
    let day = day + if chance(rng, 50) { 40 } else { 0 };
    let body = format!(
        "{}{:02}{}{day:02}{}{}",
        letters(rng, consonants, 6),
        year % 100,
        pick(rng, &["A", "C", "H", "M", "T"]),
        pick(rng, &["H", "F", "L"]),
        digits(rng, 3)
    );
    // In the table of the decree, a character in an odd place is worth the place of its letter in this order.
    let sum: usize = body
        .chars()
        .enumerate()
        .map(|(at, c)| {
            let rank = c.to_digit(10).map_or_else(|| c as usize - 'A' as usize, |digit| digit as usize);
            if at % 2 == 1 {
                return rank;
            }
            let letter = char::from(b'A' + rank as u8);
            odd.find(letter).expect("a letter")
        })
        .sum();
    let text = format!("{body}{}", char::from(b'A' + (sum % 26) as u8));
    value("gov-id.it.codice-fiscale", text, &["codiceFiscale", "fiscalCode"], "codice fiscale", false)
}

fn more_government(rng: &mut Random, number: usize) -> Value {
    match number {
        34 => {
            let body = format!("1{}{:02}{}", date(rng).ymd(), rng.random_range(1..47), digits(rng, 3));
            let rest = dot(&body, &[2, 7, 9, 1, 4, 6, 3, 5, 8, 2, 7, 9]) % 11;
            let check = if rest == 10 { 1 } else { rest };
            value("gov-id.ro.cnp", format!("{body}{check}"), &["cnp", "codNumericPersonal"], "CNP", false)
        }
        35 => {
            let text = until(|| {
                let body = format!("{}{}", date(rng).ymd(), digits(rng, 3));
                (0..10)
                    .map(|last| format!("{body}{last}"))
                    .find(|all| all.parse::<u64>().expect("digits") % 11 == 0)
            });
            value(
                "gov-id.cz.rc",
                grouped(&text, &[6, 4], "/"),
                &["rodneCislo", "rodne_cislo"],
                "rodné číslo",
                false,
            )
        }
        36 => {
            let body = format!("{}{}", rng.random_range(1..10), digits(rng, 8));
            let v = values(&body);
            let tenth = ((v[0] + v[2] + v[4] + v[6] + v[8]) * 7 + (v[1] + v[3] + v[5] + v[7]) * 9) % 10;
            let last = (v.iter().sum::<i64>() + tenth) % 10;
            value("gov-id.tr.tckn", format!("{body}{tenth}{last}"), &["tcKimlikNo", "tckn"], "TCKN", false)
        }
        37 => {
            let text = with_luhn(&format!("{}{}", rng.random_range(1..8), digits(rng, 7)));
            value(
                "gov-id.ca.sin",
                grouped(&text, &[3, 3, 3], " "),
                &["sin", "socialInsuranceNumber"],
                "SIN",
                true,
            )
        }
        38 => {
            let text = until(|| {
                let body = format!("{}{}", rng.random_range(1..10), digits(rng, 7));
                with_sum(&body, &[1, 4, 3, 7, 5, 8, 6, 9], 10, 11, 0)
            });
            value("gov-id.au.tfn", grouped(&text, &[3, 3, 3], " "), &["tfn", "taxFileNumber"], "TFN", true)
        }
        39 => {
            let body = rng.random_range(5_000_000..25_000_000_u32).to_string();
            let sum: i64 = values(&body)
                .iter()
                .rev()
                .zip([2, 3, 4, 5, 6, 7].into_iter().cycle())
                .map(|(v, w)| v * w)
                .sum();
            let check = match 11 - sum % 11 {
                11 => "0".to_owned(),
                10 => "K".to_owned(),
                check => check.to_string(),
            };
            let (millions, rest) = body.split_at(body.len() - 6);
            let text = format!("{millions}.{}.{}-{check}", &rest[..3], &rest[3..]);
            value("gov-id.cl.rut", text, &["rut", "RUT"], "RUT", false)
        }
        40 => {
            let text = with_luhn(&format!("{}{}08", date(rng).ymd(), digits(rng, 4)));
            value("gov-id.za.id", text, &["idNumber", "rsaId"], "ID number", false)
        }
        _ => {
            let body = format!("{}{}", rng.random_range(1..9), digits(rng, 11));
            let sum: i64 = values(&body).iter().zip((2..=13).rev()).map(|(v, w)| v * w).sum();
            let text = format!("{body}{}", (11 - sum % 11) % 10);
            value(
                "gov-id.th.id",
                grouped(&text, &[1, 4, 5, 2, 1], "-"),
                &["thaiId", "citizenId"],
                "thai ID",
                false,
            )
        }
    }
}

fn secret(rng: &mut Random, number: usize) -> Value {
    match number {
        42 | 43 => {
            use base64::Engine as _;
            let encode = |text: &str| base64::engine::general_purpose::URL_SAFE_NO_PAD.encode(text);
            let claims = format!(
                r#"{{"sub":"{}","iat":{}}}"#,
                digits(rng, 8),
                rng.random_range(1_600_000_000..1_800_000_000_u32)
            );
            let text = format!(
                "{}.{}.{}",
                encode(r#"{"alg":"RS256","typ":"JWT"}"#),
                encode(&claims),
                alnum(rng, 43)
            );
            value("secret.jwt", text, &["token", "authorization", "accessToken"], "token", false)
        }
        44 => {
            let text = format!("{}{}", ["AK", "IA"].concat(), base32(rng, 16));
            value("secret.aws-key", text, &["accessKeyId", "awsKey"], "key", false)
        }
        45 => {
            let text = format!("{}{}", ["gh", "p_"].concat(), alnum(rng, 36));
            value("secret.github-token", text, &["token", "githubToken"], "token", false)
        }
        46 => {
            let text = format!("{}{}", ["sk_", "live_"].concat(), alnum(rng, 24));
            value("secret.provider-token", text, &["apiKey", "stripeKey"], "key", false)
        }
        _ => {
            let text = format!("{}{}", ["np", "m_"].concat(), alnum(rng, 36));
            value("secret.npm-token", text, &["npmToken"], "token", false)
        }
    }
}

fn network(rng: &mut Random, number: usize) -> Value {
    match number {
        48 => {
            let octets: Vec<String> = (0..3).map(|_| rng.random_range(1..255_u8).to_string()).collect();
            let text = format!("{}.{}", rng.random_range(20..223_u8), octets.join("."));
            value("network.ip", text, &["ip", "clientIp", "remote_addr"], "from", false)
        }
        49 => {
            let groups: Vec<String> =
                (0..6).map(|_| format!("{:x}", rng.random_range(1..65535_u32))).collect();
            value("network.ip", format!("2001:db8:{}", groups.join(":")), &["ip", "ipv6"], "from", false)
        }
        50 => {
            let pairs: Vec<String> = (0..6).map(|_| format!("{:02X}", rng.random_range(0..255_u8))).collect();
            value(
                "network.mac",
                format!("{}:{}", "A4", pairs[1..].join(":")),
                &["mac", "macAddress"],
                "device",
                false,
            )
        }
        51 => {
            let text = format!("0x{}", hex(rng, 40));
            value("crypto.eth", text, &["ethAddress", "walletAddress"], "wallet", true)
        }
        52 => {
            let text = with_luhn(&format!("35{}", digits(rng, 12)));
            value("device.imei", text, &["imei", "IMEI"], "IMEI", true)
        }
        53 => {
            let (bank, place) = (letters(rng, "BCDFGKLMNPRST", 4), letters(rng, "ABCDEFGHKLMN23456789", 2));
            let text = format!("{bank}{}{place}", pick(rng, &["DE", "FR", "GB", "US", "JP"]));
            value("payment.bic", text, &["bic", "swiftCode"], "BIC", true)
        }
        54 => {
            let text = with_lei(&format!("{}00{}", digits(rng, 4), letters(rng, "ABCDEFGHJK0123456789", 12)));
            value("org.lei", text, &["lei"], "LEI", false)
        }
        _ => {
            let body = format!("US{}", digits(rng, 9));
            let expanded: String = values(&body).iter().map(i64::to_string).collect();
            let check = with_luhn(&expanded).pop().expect("a digit");
            value("security.isin", format!("{body}{check}"), &["isin"], "ISIN", true)
        }
    }
}
