//! Published examples of every class, and what is one digit off.

use meshbridge_detect::{Class, ClassSet, Confidence, Finding, Scanner};

fn scan(value: &str, key: Option<&str>, least: Confidence) -> Vec<Finding> {
    let mut found = Vec::new();
    Scanner::new().scan_value(value, key, &ClassSet::ALL, least, &mut found).expect("no layers to speak of");
    found
}

/// The value is found as a whole, without any help.
#[track_caller]
fn alone(class: &str, value: &str) {
    found(class, value, None, value);
    // In prose, beside a character of a script without spaces, and as an object's number or text.
    found(class, &format!("see {value}; thanks"), None, value);
    found(class, &format!("号{value}。"), None, value);
}

/// The value is found as a whole where the name of its field speaks of the class.
#[track_caller]
fn under(key: &str, class: &str, value: &str) {
    found(class, value, Some(key), value);
}

#[track_caller]
fn found(class: &str, text: &str, key: Option<&str>, value: &str) {
    let class = Class::named(class).expect(class);
    let found = scan(text, key, Confidence::Medium);
    let at = text.find(value).expect("it is in the text") as u32;
    let range = at..at + value.len() as u32;
    assert!(
        found.iter().any(|finding| finding.range == range
            && (finding.class == class || finding.alternatives.contains(class) && key.is_none())),
        "{class} {text:?} under {key:?}: {found:?}"
    );
}

/// Not found as `class` even where the name of the field says so.
#[track_caller]
fn never(key: &str, class: &str, value: &str) {
    let class = Class::named(class).expect(class);
    let found = scan(value, Some(key), Confidence::Medium);
    assert!(
        !found.iter().any(|finding| finding.class == class || finding.alternatives.contains(class)),
        "{class} {value:?} under {key:?}: {found:?}"
    );
}

/// Nothing at all, without help.
#[track_caller]
fn nothing(value: &str) {
    let found = scan(value, None, Confidence::Medium);
    assert!(found.is_empty(), "{value:?}: {found:?}");
}

#[test]
fn payment() {
    for card in [
        "4111111111111111",
        "4111 1111 1111 1111",
        "5555-5555-5555-4444",
        "2223003122003222",
        "2720992593319364",
        "378282246310005",
        "3782 822463 10005",
        "6011111111111117",
        "6500000000000002",
        "30569309025904",
        "3056 930902 5904",
        "3530111333300000",
        "6200000000000005",
        "6212345678901232",
        "2200770239097761",
        "4 1 1 1 1 1 1 1 1 1 1 1 1 1 1 1",
    ] {
        alone("payment.card", card);
    }
    under("card", "payment.card", "4222222222222");
    under("卡号", "payment.card", "6212345678901230");
    never("card", "payment.card", "4111111111111112");
    never("card", "payment.card", "1234567890123452");
    never("card", "payment.card", "0000000000000000");
    for iban in [
        "DE89370400440532013000",
        "DE89 3704 0044 0532 0130 00",
        "GB82 WEST 1234 5698 7654 32",
        "FR1420041010050500013M02606",
        "NO9386011117947",
        "MT84MALT011000012345MTLCAST001S",
        "SA0380000000608010167519",
        "nl91abna0417164300",
    ] {
        alone("payment.iban", iban);
    }
    never("iban", "payment.iban", "DE88370400440532013000");
    never("iban", "payment.iban", "XX89370400440532013000");
    under("bic", "payment.bic", "DEUTDEFF500");
    under("swiftCode", "payment.bic", "BNPAFRPP");
    never("bic", "payment.bic", "DEUTXXFF");
    nothing("BNPAFRPP");
    under("routing_number", "payment.aba", "021000021");
    never("routing_number", "payment.aba", "021000022");
    nothing("021000021");
}

#[test]
fn contact() {
    for mail in ["jane.doe+x@mail.example.co.uk", "li@example.com", "o'brien@example.org"] {
        alone("contact.email", mail);
    }
    found("contact.email", "<mailto:li@example.com?subject=x>", None, "li@example.com");
    found("contact.email", "a=1&to=li@example.com&x=y", None, "li@example.com");
    found("contact.email", "jörg@bücher.example", None, "jörg@bücher.example");
    for text in [
        "icon@2x.png",
        "lodash@4.17.21",
        "git@github.com:acme/shop.git",
        "getty@tty1.service",
        "a@b",
        "@media",
        "x@y.z1",
    ] {
        nothing(text);
    }
    for phone in [
        "+49 30 901820",
        "+1 415-555-2671",
        "+1 (415) 555-2671",
        "+44 (0)20 7946 0958",
        "(415) 555-2671",
        "415-555-2671",
        "06 12 34 56 78",
        "090-1234-5678",
        "+91 98765 43210",
        "+852 5123 4567",
        "+247 62345",
        "+290 2345",
        "+500 51234",
        "+676 20123",
        "+677 20123",
        "+678 22123",
        "+682 21234",
        "+683 4012",
        "+685 20123",
        "+686 30123",
        "+688 20123",
        "+690 4012",
        "+49 151 2345678901",
        "+381 11 12345",
        "+359 2 123456",
        "+352 27 12 34 56 789",
    ] {
        alone("contact.phone", phone);
    }
    under("phone", "contact.phone", "4155552671");
    under("telefon", "contact.phone", "030 901820");
    under("Mobile", "contact.phone", "0151 23456789");
    found("contact.phone", "call me at 030 901820 today", None, "030 901820");
    alone("contact.phone.cn-mobile", "+86 138 0013 8000");
    found("contact.phone.cn-mobile", "联系电话13800138000，谢谢", None, "13800138000");
    under("手机", "contact.phone.cn-mobile", "13800138000");
    under("address", "contact.address", "221B Baker Street, London");
    under("住所", "contact.address", "東京都千代田区丸の内1丁目");
    under("strasse", "contact.address", "Unter den Linden 77");
    never("ipAddress", "contact.address", "10.20.30.40");
    never("address", "contact.address", "0x52908400098527886E0F7030069857D2E4169EE7");
}

#[test]
fn people_and_places() {
    for (key, name) in [
        ("firstName", "Anna"),
        ("氏名", "山田太郎"),
        ("姓名", "李娜"),
        ("fullName", "Jean-Luc O'Neill"),
        ("nachname", "Müller"),
        ("apellidos", "García Márquez"),
        ("фамилия", "Иванов"),
    ] {
        under(key, "person.name", name);
    }
    for (key, other) in
        [("productName", "Anna"), ("firstName", "unknown"), ("firstName", "x1"), ("fileName", "Anna")]
    {
        never(key, "person.name", other);
    }
    for (key, date) in [
        ("dob", "1987-05-12"),
        ("birthDate", "12/05/1987"),
        ("geburtsdatum", "12.05.1987"),
        ("出生日期", "1987年5月12日"),
        ("dateOfBirth", "May 12, 1987"),
        ("date_of_birth", "12 May 1987"),
        ("fechaNacimiento", "12-05-87"),
        ("birthday", "19870512"),
        ("生年月日", "1987/05/12"),
        ("dob", "1987-05-12T00:00:00Z"),
    ] {
        under(key, "person.birth-date", date);
    }
    found("person.birth-date", "born on 1987-05-12 in Ulm", None, "1987-05-12");
    never("createdAt", "person.birth-date", "1987-05-12");
    never("dob", "person.birth-date", "1987-15-42");
    under("location", "geo.point", "52.5200,13.4050");
    never("location", "geo.point", "warehouse 7");
}

#[test]
fn government() {
    for (class, value) in [
        ("cn.resident-id", "11010519491231002X"),
        ("gb.nino", "AB123456C"),
        ("gb.nino", "AB 12 34 56 C"),
        ("gb.nhs", "943 476 5919"),
        ("de.tax-id", "86095742719"),
        ("de.tax-id", "65 929 970 489"),
        ("it.codice-fiscale", "RSSMRA85T10A562S"),
        ("it.codice-fiscale", "RSSMRA85T10A56NH"),
        ("es.dni", "12345678Z"),
        ("es.dni", "12.345.678-Z"),
        ("es.nie", "X1234567L"),
        ("es.nie", "X-1234567-L"),
        ("fr.nir", "255081416802538"),
        ("fr.nir", "2 55 08 14 168 025 38"),
        ("br.cpf", "52998224725"),
        ("br.cpf", "529.982.247-25"),
        ("br.cnpj", "11222333000181"),
        ("br.cnpj", "11.222.333/0001-81"),
        ("br.cnpj", "12.ABC.345/01DE-35"),
        ("br.cnpj", "JX.96V.1OB/79M1-20"),
        ("sg.nric", "S1234567D"),
        ("us.ssn", "536-22-1234"),
        ("us.itin", "912-71-1234"),
        ("pl.pesel", "44051401359"),
        ("se.personnummer", "811218-9876"),
        ("se.personnummer", "19811218-9876"),
        ("fi.hetu", "131052-308T"),
        ("fi.hetu", "131052A308T"),
        ("ro.cnp", "1800101221144"),
        ("cz.rc", "780123/3540"),
        ("tr.tckn", "10000000146"),
        ("ch.ahv", "756.9217.0769.85"),
        ("mx.curp", "HEGG560427MVZRRL04"),
        ("ar.cuit", "20-12345678-6"),
        ("cl.rut", "12.345.678-5"),
        ("hk.id", "A123456(3)"),
        ("th.id", "1-2345-67890-12-1"),
        ("za.id", "8001015009087"),
        ("kr.rrn", "880101-1234568"),
    ] {
        alone(&format!("gov-id.{class}"), value);
    }
    for (key, class, value) in [
        ("ssn", "us.ssn", "536221234"),
        ("itin", "us.itin", "912711234"),
        ("nhsNumber", "gb.nhs", "9434765919"),
        ("aadhaar", "in.aadhaar", "234123412346"),
        ("マイナンバー", "jp.my-number", "123456789018"),
        ("bsn", "nl.bsn", "111222333"),
        ("sin", "ca.sin", "046 454 286"),
        ("tfn", "au.tfn", "123 456 782"),
        ("rrn", "kr.rrn", "8801011234568"),
        ("rut", "cl.rut", "12345678-5"),
        ("twid", "tw.id", "A123456789"),
        ("personnummer", "se.personnummer", "198112189876"),
        ("tfn", "au.tfn", "123-456-782"),
        ("hkid", "hk.id", "A1234563"),
        ("rodneCislo", "cz.rc", "7801233540"),
        ("personnummer", "se.personnummer", "8112189876"),
    ] {
        under(key, &format!("gov-id.{class}"), value);
    }
    under("法人番号", "org.jp.corporate-number", "7000012050002");
    for (key, class, value) in [
        ("ssn", "us.ssn", "078-05-1120"),
        ("ssn", "us.ssn", "666-12-3456"),
        ("ssn", "us.ssn", "123-00-4567"),
        ("idcard", "cn.resident-id", "110105194912310021"),
        ("idcard", "cn.resident-id", "11010519491331002X"),
        ("nino", "gb.nino", "DA123456C"),
        ("nino", "gb.nino", "AB123456E"),
        ("nhs", "gb.nhs", "943 476 5918"),
        ("aadhaar", "in.aadhaar", "234123412345"),
        ("aadhaar", "in.aadhaar", "134123412346"),
        ("steuerId", "de.tax-id", "86095742718"),
        ("codiceFiscale", "it.codice-fiscale", "RSSMRA85T10A562T"),
        ("dni", "es.dni", "12345678A"),
        ("nir", "fr.nir", "255081416802539"),
        ("cpf", "br.cpf", "11111111111"),
        ("cpf", "br.cpf", "52998224726"),
        ("tax", "br.cpf", "597867185.00"),
        ("cnpj", "br.cnpj", "11222333000182"),
        ("nric", "sg.nric", "S1234567E"),
        ("pesel", "pl.pesel", "44051401358"),
        ("bsn", "nl.bsn", "111222334"),
        ("hetu", "fi.hetu", "131052-308U"),
        ("ahv", "ch.ahv", "756.9217.0769.84"),
        ("hkid", "hk.id", "A123456(4)"),
        ("rut", "cl.rut", "12.345.678-6"),
    ] {
        never(key, &format!("gov-id.{class}"), value);
    }
    let zone = "P<UTOERIKSSON<<ANNA<MARIA<<<<<<<<<<<<<<<<<<<\nL898902C36UTO7408122F1204159ZE184226B<<<<<10";
    alone("gov-id.passport-mrz", zone);
    alone("gov-id.passport-mrz", &zone.replace('\n', ""));
    never("mrz", "gov-id.passport-mrz", "L898902C36UTO7408122F1204159ZE184226B<<<<<11");
    let card =
        "I<UTOD231458907<<<<<<<<<<<<<<<\n7408122F1204159UTO<<<<<<<<<<<6\nERIKSSON<<ANNA<MARIA<<<<<<<<<<";
    alone("gov-id.passport-mrz", card);
}

/// Every tenth number of these shapes satisfies the rule, or there is none.
#[test]
fn what_needs_a_name_is_nothing_without_one() {
    for value in ["US0378331005", "13800138000", "15137120-5", "450-545-269", "A123456789", "198112189876"] {
        nothing(value);
        nothing(&format!("see {value}; thanks"));
    }
}

#[test]
fn network_and_devices() {
    for address in [
        "203.0.113.7",
        "2001:db8::8a2e:370:7334",
        "fe80::1ff:fe23:4567:890a",
        "::ffff:135.46.163.176",
        "::ffff:872e:a3b0",
    ] {
        alone("network.ip", address);
    }
    for text in [
        "1.2.3.4",
        "127.0.0.1",
        "::1",
        "::ffff:127.0.0.1",
        "std::string",
        "dead::beef",
        "v203.0.113.7",
        "256.1.1.1",
        "203.0.113.07",
    ] {
        nothing(text);
    }
    nothing("Mozilla/5.0 Chrome/120.0.0.0 Safari/537.36");
    nothing("version 10.22.33.44");
    for mac in ["00:1A:2B:3C:4D:5E", "00-1a-2b-3c-4d-5e", "001a.2b3c.4d5e"] {
        alone("network.mac", mac);
    }
    under("mac", "network.mac", "001A2B3C4D5E");
    under("mac", "network.mac", "0011.2233.4455");
    for text in [
        "2530.8085.9806",
        "8471.3001.0000",
        "1234.5678.9012.3456",
        "12ab.5678.9012.3456",
        "81-FD-E9-35-1D-5F-C9-37",
    ] {
        nothing(text);
    }
    nothing("00:00:00:00:00:00");
    alone("crypto.btc", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNa");
    alone("crypto.btc", "3J98t1WpEZ73CNmQviecrnyiWrnqRhWNLy");
    alone("crypto.btc", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t4");
    alone("crypto.btc", "bc1p0xlxvlhemja6c4dqv22uapctqupfhlxm9h8z3k2e72q4k9hcz7vqzk5jj0");
    never("btc", "crypto.btc", "1A1zP1eP5QGefi2DMPTfTL5SLmv7DivfNb");
    never("btc", "crypto.btc", "bc1qw508d6qejxtdg4y5r3zarvary0c5xw7kv8f3t5");
    alone("crypto.eth", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAed");
    never("eth", "crypto.eth", "0x5aAeb6053F3E94C9b9A09f33669435E7Ef1BeAeD");
    under("wallet", "crypto.eth", "0x5aaeb6053f3e94c9b9a09f33669435e7ef1beaed");
    under("imei", "device.imei", "490154203237518");
    never("imei", "device.imei", "490154203237519");
    alone("device.imei", "49-015420-323751-8");
    under("vin", "vehicle.vin", "1M8GDM9AXKP042788");
    never("vin", "vehicle.vin", "1M8GDM9AXKP04278Q");
    alone("org.lei", "506700GE1G29325QX363");
    never("lei", "org.lei", "506700GE1G29325QX364");
    under("isin", "security.isin", "US0378331005");
    never("isin", "security.isin", "US0378331006");
}

/// So many characters of an alphabet, as chance gives them.
fn random(state: &mut u64, alphabet: &[u8], length: usize) -> String {
    let mut next = || {
        *state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        char::from(alphabet[(*state >> 33) as usize % alphabet.len()])
    };
    (0..length).map(|_| next()).collect()
}

const BASE64: &[u8] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";

#[test]
fn secret_access_keys_are_found_wherever_their_signs_stand() {
    let mut state = 7;
    for _ in 0..500 {
        let key = random(&mut state, BASE64, 40);
        if key.bytes().any(|byte| byte.is_ascii_digit()) {
            under("aws_secret_access_key", "secret.aws-key", &key);
        }
    }
    let key = ["WKEGEhpjtyyOY/WN", "ThbmnhyGOU00WN", "iX5J8tcDHP"].concat();
    found("secret.aws-key", &format!("aws_secret_access_key={key}"), None, &key);
    never("aws_secret_access_key", "secret.aws-key", &format!("{key}x"));
    never("aws_secret_access_key", "secret.aws-key", &format!("x/{key}"));
}

#[test]
fn a_token_that_begins_as_another_one_does_is_still_found() {
    // Its first word is as long as an id of AWS.
    let token = ["ATA", "TT3xFfGF0aZ3kQ9xT7"].concat() + &"-bLm2VnR5cYp8".repeat(5);
    alone("secret.provider-token", &token);
}

#[test]
fn tokens_with_few_digits_and_short_words_are_found_alone() {
    let body = "aZ_kQxTbLm-VnRcYpWd_hJsGtKqPe-LbNsTu";
    for (prefix, length) in
        [("sq0at p-", 22), ("gl pat-", 20), ("dckr _pat_", 27), ("GOC SPX-", 28), ("AI za", 35)]
    {
        let token = prefix.replace(' ', "") + &body[..length];
        found("secret.provider-token", &token, None, &token);
    }
}

/// Tokens are put together here, so that no file holds anything that looks like one.
#[test]
fn secrets() {
    let body = |length: usize| -> String {
        "aZ3kQ9xT7bLm2VnR5cYp8WdF4hJs6GtK1".chars().cycle().take(length).collect()
    };
    for (class, prefix, length) in [
        ("aws-key", ["AK", "IA"].concat(), 0),
        ("github-token", ["gh", "p_"].concat(), 36),
        ("npm-token", ["np", "m_"].concat(), 36),
        ("provider-token", ["sk_", "live_"].concat(), 24),
        ("provider-token", ["xo", "xb-"].concat(), 40),
        ("provider-token", ["AI", "za"].concat(), 35),
        ("provider-token", ["gl", "pat-"].concat(), 20),
    ] {
        let body = if length == 0 { "QR7STVWX2YZ3ABCD".to_owned() } else { body(length) };
        alone(&format!("secret.{class}"), &format!("{prefix}{body}"));
        nothing(&format!("{prefix}{}", "x".repeat(length.max(16))));
    }
    let jwt =
        ["eyJhbGciOiJIUzI1NiIsInR5cCI6IkpXVCJ9", "eyJzdWIiOiJkZW1vIn0", "c2lnbmF0dXJlLWZvci1hLXRlc3Qtb25seQ"];
    alone("secret.jwt", &jwt.join("."));
    nothing("eyJub3QiOiJhIHRva2VuIn0.abc.def");
    let frame = |what: &str| ["-----", what, " PRIVATE KEY-----"].concat();
    let key = format!("{}\n{}\n{}", frame("BEGIN"), body(64), frame("END"));
    alone("secret.private-key", &key);
    // Without its end it goes to that of the text.
    let cut = format!("{}\n{}", frame("BEGIN RSA"), body(90));
    found("secret.private-key", &cut, None, &cut);
    nothing(&format!("{}...{}", frame("BEGIN"), frame("END")));
    found("secret.url-userinfo", "postgres://app:hunter2@db.example.com/x", None, "app:hunter2");
    nothing("https://app:${PASSWORD}@db.example.com/x");
    nothing("https://example.com:8080/a@b");
}
