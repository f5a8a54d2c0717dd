//! Identifiers of people in Europe and elsewhere.

use rand::RngExt as _;

use super::Random;
use super::digits::*;
use super::values::{Date, Value, chance, date, grouped, pick, value};

pub fn europe(rng: &mut Random, number: usize) -> Value {
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

pub fn others(rng: &mut Random, number: usize) -> Value {
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
