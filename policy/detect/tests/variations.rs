//! Values as those who write events vary them: in sentences, in columns, encoded, and under names that say little.

mod looking;

use meshbridge_detect::{Class, Finding};

use looking::look;

/// `value`, as it is spelled in the event, is covered to its last character, by findings of which one is of the class.
#[track_caller]
fn covered(class: &str, event: &str, value: &str) {
    let class = Class::named(class).expect(class);
    let at = event.find(value).expect("it is in the event") as u32;
    let found = look(event);
    let is_covered = |place: u32| found.iter().any(|finding| finding.range.contains(&place));
    assert!((at..at + value.len() as u32).all(is_covered), "{event}: {found:?}");
    let has = |finding: &Finding| finding.class == class || finding.alternatives.contains(class);
    assert!(found.iter().any(has), "{event}: {found:?}");
}

#[track_caller]
fn clean(event: &str) {
    assert_eq!(look(event), [], "{event}");
}

#[test]
fn a_day_of_birth_may_have_its_ending() {
    for date in
        ["September 26th, 1977", "May 13th 1938", "26th September 1977", "3rd of May 1977", "May 1st, 1980"]
    {
        covered("person.birth-date", &format!(r#"{{"note":"born {date} in Ulm"}}"#), date);
        covered("person.birth-date", &format!(r#"{{"dob":"{date}"}}"#), date);
    }
    clean(r#"{"note":"the 4th of July 1976 was a Sunday; 2nd floor, 3rd row"}"#);
}

#[test]
fn names_of_fields_in_other_languages_and_short_ones() {
    for key in ["född", "fecha_nac", "data_nasc", "nato_il", "né_le", "tgl_lahir", "дата_народження"]
    {
        covered("person.birth-date", &format!(r#"{{"{key}":"1980-02-13"}}"#), "1980-02-13");
    }
    for key in ["contactPerson", "emergency_contact", "nextOfKin", "επώνυμο", "nama_lengkap"] {
        covered("person.name", &format!(r#"{{"{key}":"Anna Schmidt"}}"#), "Anna Schmidt");
    }
    for key in ["komórka", "τηλέφωνο", "тел", "sđt", "nomor_hp"] {
        covered("contact.phone", &format!(r#"{{"{key}":"030 1234567"}}"#), "030 1234567");
    }
    for key in ["lakcím", "διεύθυνση", "alamat", "배송지"] {
        covered("contact.address", &format!(r#"{{"{key}":"12 Main Street"}}"#), "12 Main Street");
    }
    covered("gov-id.tw.id", r#"{"twId":"J142576964"}"#, "J142576964");
}

#[test]
fn the_number_of_everybody_in_chile_has_a_dash_where_a_job_has_none() {
    covered("gov-id.cl.rut", r#"{"run":"25824836-8"}"#, "25824836-8");
    covered("gov-id.cl.rut", r#"{"a":"{\"run\":\"25276350-3\"}"}"#, "25276350-3");
    covered("gov-id.cl.rut", r#"{"note":"RUN 25824836-8"}"#, "25824836-8");
    for event in [
        r#"{"run":258248368}"#,
        r#"{"run":"258248368"}"#,
        r#"{"run_id":"25824836-8"}"#,
        r#"{"part":"25824836-8"}"#,
    ] {
        clean(event);
    }
}

#[test]
fn positions_of_machines_are_no_places_on_the_earth() {
    for event in [
        r#"{"position":[12.345,45.678]}"#,
        r#"{"robot":{"position":[13.40495,52.52001]}}"#,
        r#"{"camera":{"position":[10.5512,-4.2034,88.1045]}}"#,
        r#"{"arm":{"pose":{"position":[100.1234,20.1234]}}}"#,
        r#"{"joint":{"position":[0.1234,1.5678]}}"#,
    ] {
        clean(event);
    }
    covered("geo.point", r#"{"position":[13.40495,52.52001]}"#, "52.52001");
    covered("geo.point", r#"{"coordinates":[13.405,52.52]}"#, "52.52");
    covered("geo.point", r#"{"vehicle":{"position":[-122.4194,37.7749]}}"#, "-122.4194");
}

#[test]
fn versions_of_builds_are_no_addresses() {
    for key in ["number", "id", "name", "version"] {
        clean(&format!(r#"{{"build":{{"{key}":"24.31.118.77"}}}}"#));
    }
    clean(r#"{"build.number":"24.31.118.77"}"#);
    clean(r#"{"ua":"v=1.2.3.4"}"#);
    clean(r#"{"note":"v=10.4.11.97 is out"}"#);
    covered("network.ip", r#"{"query":"a=1&v=192.168.146.245&lang=en"}"#, "192.168.146.245");
}

#[test]
fn codes_that_are_nearly_all_letters_are_looked_at() {
    covered("payment.iban", r#"{"x":"LV71 LACB DKR1 PFXV ZODJ G"}"#, "LV71 LACB DKR1 PFXV ZODJ G");
    let prose = "the account that the customer named on the phone this morning is ";
    covered(
        "payment.iban",
        &format!(r#"{{"x":"{prose}LV71 LACB DKR1 PFXV ZODJ G"}}"#),
        "LV71 LACB DKR1 PFXV ZODJ G",
    );
    covered("gov-id.br.cnpj", r#"{"a":["IF.WWS.LUX/AWTS-54"]}"#, "IF.WWS.LUX/AWTS-54");
    covered("gov-id.br.cnpj", &format!(r#"{{"a":"{prose}IF.WWS.LUX/AWTS-54"}}"#), "IF.WWS.LUX/AWTS-54");
}

#[test]
fn a_resident_id_in_groups_may_end_in_x() {
    covered("gov-id.cn.resident-id", r#"{"x":"110105 19491231 002X"}"#, "110105 19491231 002X");
    covered("gov-id.cn.resident-id", r#"{"x":"号110105-19491231-002x。"}"#, "110105-19491231-002x");
    clean(r#"{"x":"110105 19491231 003X"}"#);
}

#[test]
fn names_and_values_in_other_forms_of_the_same_characters() {
    covered("person.name", r#"{"ｆｉｒｓｔ＿ｎａｍｅ":"Anna"}"#, "Anna");
    covered("gov-id.us.ssn", r#"{"ＳＳＮ":"536221234"}"#, "536221234");
    for card in [
        "⁴¹¹¹¹¹¹¹¹¹¹¹¹¹¹¹",
        "₄₁₁₁ ₁₁₁₁ ₁₁₁₁ ₁₁₁₁",
        "④①①①①①①①①①①①①①①①",
        "႔႑႑႑ ႑႑႑႑ ႑႑႑႑ ႑႑႑႑",
        "𝟺𝟷𝟷𝟷-𝟷𝟷𝟷𝟷-𝟷𝟷𝟷𝟷-𝟷𝟷𝟷𝟷",
    ] {
        covered("payment.card", &format!(r#"{{"x":"{card}"}}"#), card);
    }
    // A note behind a number is no part of it.
    covered("payment.card", r#"{"x":"4111 1111 1111 1111² paid"}"#, "4111 1111 1111 1111");
    clean(r#"{"x":"area 120 m², 10⁵ Pa, CO₂ 412 ppm, x² + y² = 25³"}"#);
}

#[test]
fn members_that_name_each_other_have_many_names() {
    for (name, value) in [
        ("k", "v"),
        ("prop", "val"),
        ("variable", "value"),
        ("tag", "value"),
        ("term", "definition"),
        ("fieldName", "newVal"),
        ("columnName", "columnValue"),
        ("slot", "slotValue"),
    ] {
        covered("contact.phone", &format!(r#"{{"{name}":"phone","{value}":"030 901820"}}"#), "030 901820");
        covered("person.name", &format!(r#"[{{"{value}":"Anna","{name}":"first_name"}}]"#), "Anna");
    }
    clean(r#"{"k":"phone.model","v":"X 15 Pro"}"#);
    // What a customer has is not called like one.
    clean(r#"{"customer":{"attributes":[{"name":"address","value":"0x1f"},{"name":"vip","value":"yes"}]}}"#);
    clean(r#"{"customer":{"attributes":[{"attributeName":"status","attributeValue":"open"}]}}"#);
    clean(r#"{"customer":{"body":"{\"name\": \"retry-count\", \"value\": \"3\"}"}}"#);
    covered("network.ip", r#"{"k":"ip_addr","v":"104.33.132.166"}"#, "104.33.132.166");
    covered("person.name", r#"{"customers":[{"name":"Anna","value":120}]}"#, "Anna");
    covered("person.name", r#"{"customer":{"attributes":{"name":"Anna"}}}"#, "Anna");
    covered("person.name", r#"{"appFirstName":"Anna"}"#, "Anna");
}

#[test]
fn numbers_taken_apart() {
    let card = "4111 1111 1111 1111";
    for separator in ["\\t", "  ", "_", " - ", "--", "\\n", "·", "•"] {
        let card = card.replace(' ', separator);
        covered("payment.card", &format!(r#"{{"x":"{card}"}}"#), &card);
        covered("payment.card", &format!(r#"{{"x":"paid with {card}, thanks"}}"#), &card);
        let account = "DE89 3704 0044 0532 0130 00".replace(' ', separator);
        covered("payment.iban", &format!(r#"{{"x":"{account}"}}"#), &account);
    }
    covered("gov-id.us.ssn", r#"{"ssn":"536_22_1234"}"#, "536_22_1234");
    covered("gov-id.cn.resident-id", r#"{"x":"440524  18800101  0014"}"#, "440524  18800101  0014");
    // Columns of numbers are none, and a card beside them is still one.
    clean(r#"{"x":"7\t4111\t1111\t1111\t1111\t20"}"#);
    covered("payment.card", r#"{"x":"7\t4111111111111111\t20"}"#, "4111111111111111");
    covered("contact.phone", r#"{"tel":"7\t030 901820\t20"}"#, "030 901820");
    clean(r#"{"x":"snapshot_20240101_123456, 10  20  30  40"}"#);
    // A series of groups of four has none in its middle.
    clean(r#"{"x":"9400 1559 3932 2017 0504 39"}"#);
}

#[test]
fn a_name_may_stand_straight_before_its_value() {
    for (class, name, value) in [
        ("payment.iban", "IBAN", "DE89370400440532013000"),
        ("payment.iban", "Acct", "DE89 3704 0044 0532 0130 00"),
        ("payment.card", "Card", "4111111111111111"),
        ("payment.card", "PAN", "4111 1111 1111 1111"),
        ("gov-id.pl.pesel", "PESEL", "44051401359"),
        ("gov-id.us.ssn", "SSN", "536221234"),
        ("gov-id.es.dni", "DNI", "12345678Z"),
        ("vehicle.vin", "VIN", "1M8GDM9AXKP042788"),
        ("contact.phone", "Tel", "+493012345678"),
    ] {
        covered(class, &format!(r#"{{"x":"see {name}{value}, thanks"}}"#), value);
    }
    clean(r#"{"x":"batch ORD4111111111111111, SN536221234, tele+493012345678"}"#);
}

#[test]
fn signs_beside_a_value_are_no_part_of_something_else() {
    covered("payment.card", r#"{"x":"rejected: <4111111111111111>"}"#, "4111111111111111");
    covered("payment.iban", r#"{"x":"to <DE89370400440532013000>"}"#, "DE89370400440532013000");
    covered("contact.phone", r#"{"x":"tel:(+44) 20 7946 0958"}"#, "(+44) 20 7946 0958");
    covered("contact.phone", r#"{"phone":"8 (495) 123-45-67"}"#, "8 (495) 123-45-67");
    covered("network.ip", r#"{"x":"from：120.128.224.10"}"#, "120.128.224.10");
    assert!(look(r#"{"x":"120.128.224.10"}"#).iter().all(|found| found.class == Class::IP));
    covered("contact.email", r#"{"x":"send the package to anna@example.com"}"#, "anna@example.com");
    clean(r#"{"x":"docker image web@registry.example.com"}"#);
    let found = look(r#"{"x":"amqp://svc:s3cr3t!x@db.example.com:5672/q"}"#);
    assert!(found.iter().all(|found| found.class == Class::URL_USERINFO), "{found:?}");
    clean(r#"{"x":"(01)36977413662490(21)23692966"}"#);
    covered("gov-id.ca.sin", r#"{"x":"¿SIN 046 454 286?"}"#, "046 454 286");
}

#[test]
fn paths_of_people_hold_their_numbers() {
    for path in ["https://x.example/customers/VALUE/orders", "/users/VALUE", "account/VALUE"] {
        for (class, value) in [
            ("payment.card", "4111111111111111"),
            ("gov-id.pl.pesel", "44051401359"),
            ("network.ip", "203.0.113.77"),
        ] {
            covered(class, &format!(r#"{{"x":"{}"}}"#, path.replace("VALUE", value)), value);
        }
    }
    covered("gov-id.us.ssn", r#"{"x":"/v1/536-22-1234?a=1"}"#, "536-22-1234");
    covered("network.ip", r#"{"x":"https://x.example/r/108.219.85.124/done"}"#, "108.219.85.124");
    clean(r#"{"x":"https://x.example/orders/4111111111111111, /dl/10.20.30.40/, Chrome/120.45.99.109"}"#);
}

#[test]
fn tags_stand_between_a_name_and_its_value() {
    for text in ["<th>BSN</th><td>111222333</td>", "<label>BSN_nummer</label> <span>111222333</span>"] {
        covered("gov-id.nl.bsn", &format!(r#"{{"x":"{text}"}}"#), "111222333");
    }
    covered("gov-id.nl.bsn", r#"{"x":"<n:bsn xmlns:ns='urn:x'>111222333</n:bsn>"}"#, "111222333");
}

#[test]
fn numbers_of_things_that_only_look_like_those_of_people() {
    // As a number under a name that tells things apart; under others, and as a text, it may be somebody's.
    clean(r#"{"id":16411843884,"workflow_run":{"id":52998224725},"run":"52998224725"}"#);
    covered("gov-id.br.cpf", r#"{"id":"52998224725"}"#, "52998224725");
    covered("gov-id.cl.rut", r#"{"run":"12.345.678-5"}"#, "12.345.678-5");
    covered("gov-id.cl.rut", r#"{"run":"22510543-K"}"#, "22510543-K");
    clean(r#"{"image_tag":"26.34.28.171","sscc":"340123450000000018"}"#);
}
